"""Records in the cluster how an attempt ended: the Release's status, with the attempt in its history.

In: what was written, or why nothing was. Out: an Outcome. State: the status of the Release, written once an attempt,
with the claim as precondition; stored revisions that no status names any more are deleted after it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from towline.shared.errors import Conflict, TowlineError
from towline.shared.model import DriftMode, Health, Moment, Phase, Result, short
from towline.shared.release import HistoryEntry, Quarantine, Release, ReleaseStatus, StoredRevision
from towline.shared.wanted import Wanted
from towline.worker.decision import (
    UNDER_WAY,
    failed,
    hook_failed,
    rollback_failed,
    rolled_back_text,
    was_rolled_back,
)
from towline.worker.drift import is_about
from towline.worker.history import newest_of, rolled_back, with_new, with_refusal, with_step
from towline.worker.hooks import not_undone
from towline.worker.outcome import Counts, Outcome, announce, put_on_record, show_missing, show_release
from towline.worker.stages import Stages
from towline.worker.state import Standing, State
from towline.worker.tools import Tools
from towline.worker.written import Restored, Written


def record(tools: Tools, state: State, wanted: Wanted, written: Written, stages: Stages) -> Outcome:
    """The status after writing: this revision is applied, or failed half-way, and is then to be rolled back."""
    assert state.inputs is not None
    before = written.release.status
    stored = written.stored.model_copy(
        update={
            "ref": wanted.ref,
            "inputs_digest": state.inputs.digest,
            "verification": state.verification,
            "stable_at": _stable_since(before, written.stored),
        }
    )
    entry = entry_with_commit(state, wanted, Result.SYNCED, written.counts, stages)
    steps = f"{written.pending.text}; " if written.pending else ""
    status = before.model_copy(
        update={
            **state.identity,
            **_applied_from(stored, state.now()),
            "stable_until": before.stable_until
            if state.continued
            else stable_until(before, entry, is_known=state.knows_what_ran(wanted)),
            "pending": written.pending,
            "hooks": written.hooks,
            "message": f"applied {short(wanted.revision)}; {steps}waiting until it is healthy",
            "quarantined": None,
            "stored": kept_revisions(before, stored, keep=tools.config.sync.stored_revisions),
            "history": with_step(before.history, entry, is_applied=True)
            if state.continued
            else with_new(before.history, entry),
        }
    )
    outcome = _recorded(tools, state, written, status)
    if before.stored != status.stored and outcome.release is not None:
        state.records.prune_stored(outcome.release, status.stored, search=state.is_unfinished)
    return outcome


def returned(tools: Tools, standing: Standing, wanted: Wanted, restored: Restored, stages: Stages) -> Outcome:
    """The status after an operator had a stored revision brought back: it is verified like any other."""
    written, now = restored.written, standing.now()
    before = written.release.status
    counts = replace(written.counts, notes=(*written.counts.notes, *restored.not_reverted))
    entry = _entry_of_stored(standing, wanted, Result.SYNCED, counts, stages)
    pinned = "; pinned there: unpin it to follow its branch again" if written.release.pinned else ""
    status = before.model_copy(
        update={
            **_applied_from(written.stored, now),
            "stable_until": stable_until(before, entry, is_known=standing.knows_what_ran(wanted)),
            "message": f"went back to {short(wanted.revision)}; waiting until it is healthy{pinned}",
            "quarantined": _left_behind(before.quarantined, wanted.revision, now),
            "history": with_new(before.history, entry),
        }
    )
    return _recorded(tools, standing, written, status)


def _recorded(tools: Tools, standing: Standing, written: Written, status: ReleaseStatus) -> Outcome:
    """Write a status that says `Verifying`; where a part was refused, one that says that it failed half-way."""
    error = written.error
    status = status.model_copy(update={"objects": written.objects, "drift": _still_drifting(status, written)})
    if error is not None:
        applied = replace(written.release, status=status)
        cause = f"half-way: {error}"
        status = failed(applied, cause, now=standing.now(), health=Health.UNKNOWN)
    release = put_on_record(tools, standing, written.release, status)
    announce(standing.records, release, reason="Synced" if error is None else "Failed")
    counts, pending = written.counts, written.pending
    text = status.message if error else _summary(counts) + (f"; {pending.text}" if pending else "")
    result = Result.FAILED if error else Result.SYNCED
    return Outcome(
        result=result, text=text, release=release, counts=counts, is_partial=bool(written.plan.later)
    )


def _still_drifting(status: ReleaseStatus, written: Written) -> tuple[str, ...]:
    """What is said to differ, without the objects that were applied now or do not belong to the release any more."""
    if status.verification.drift is DriftMode.OFF:
        return ()
    applied = {*written.applied.created, *written.applied.changed}
    keys = [one.key for one in written.objects if one.key not in applied]
    return tuple(line for line in status.drift if any(is_about(line, key) for key in keys))


def reverted(tools: Tools, standing: Standing, restored: Restored, stages: Stages) -> Release:
    """The status after a failed revision was rolled back by itself: the stable one is verified now."""
    written, now = restored.written, standing.now()
    before, error = written.release.status, written.error
    status = before.model_copy(update={"objects": written.objects, "drift": _still_drifting(before, written)})
    if error is not None:
        status = rollback_failed(status, f"half-way: {error}")
    elif (bad := before.quarantined) is not None:
        left = (*restored.not_reverted, *not_undone(before.hooks, bad.revision))
        status = status.model_copy(
            update={
                **_applied_from(written.stored, now),
                "phase": Phase.ROLLING_BACK,
                "quarantined": bad.model_copy(update={"reverted_at": now, "not_reverted": left}),
                "history": rolled_back(
                    before.history,
                    bad.revision,
                    seconds=sum(stages.seconds.values()),
                    notes=(*written.counts.notes, *left),
                ),
            }
        )
    release = put_on_record(tools, standing, written.release, status)
    announce(standing.records, release, reason="RollingBack" if error is None else "Failed")
    return release


def _applied_from(stored: StoredRevision, now: datetime) -> dict[str, object]:
    """What the status says of the revision that was just applied."""
    return {
        "revision": stored.revision,
        "ref": stored.ref,
        "inputs_digest": stored.inputs_digest,
        "verification": stored.verification,
        "phase": Phase.VERIFYING,
        "health": Health.PROGRESSING,
        "pending": None,
        "synced_at": now,
    }


def stable_until(before: ReleaseStatus, entry: HistoryEntry, *, is_known: bool) -> datetime | None:
    """Until when a stable revision ran: this attempt ended that, or one before it that never became stable.

    `is_known`: no attempt without a record may have ended it before.
    """
    if not before.stable_revision or not is_known:
        return None
    return entry.started_at if before.revision == before.stable_revision else before.stable_until


def _left_behind(quarantined: Quarantine | None, revision: str, now: datetime) -> Quarantine | None:
    """The quarantine once its objects are gone; none for a revision that an operator wants all the same."""
    if quarantined is None or quarantined.revision == revision:
        return None
    return quarantined.model_copy(update={"reverted_at": quarantined.reverted_at or now})


def _stable_since(before: ReleaseStatus, stored: StoredRevision) -> datetime | None:
    """A revision that is applied once more, with the same objects, is as stable as it was."""
    known = before.stored_of(stored.revision)
    return known.stable_at if known is not None and known.sha256 == stored.sha256 else None


def refused(
    tools: Tools,
    state: State,
    wanted: Wanted,
    error: TowlineError,
    stages: Stages,
    *,
    claimed: Release | None = None,
) -> Outcome:
    """The status when nothing of a revision was written: what ran before runs on, and the release says why.

    A release that does not exist yet is not made for it: only the view shows the error then. `claimed`: the release as this
    attempt claimed it, where its one apply was refused; its stored revision is forgotten.
    """
    entry = entry_with_commit(state, wanted, Result.REFUSED, Counts(), stages)
    outcome = _refused(tools, state, wanted, error, entry, claimed=claimed)
    if outcome.release is not None and outcome.release.status.revision:
        return outcome
    return replace(outcome, unborn=ReleaseStatus(revision=wanted.revision, verification=state.verification))


def return_refused(
    tools: Tools, standing: Standing, wanted: Wanted, error: TowlineError, stages: Stages
) -> Outcome:
    """The same without the commit: an operator wanted a stored revision back, or one that cannot be read."""
    entry = _entry_of_stored(standing, wanted, Result.REFUSED, Counts(), stages)
    return _refused(tools, standing, wanted, error, entry)


def _refused(
    tools: Tools,
    state: Standing,
    wanted: Wanted,
    error: TowlineError,
    entry: HistoryEntry,
    *,
    claimed: Release | None = None,
) -> Outcome:
    # What waited for something to go has written what else it could.
    what = (
        f"nothing more was written: {error}"
        if wanted.waits_since
        else f"nothing was written: {error.explained()}"
    )
    text = f"{short(wanted.revision)} was refused, {what}"
    release = claimed or state.records.read(state.name, state.environment.namespace)
    if release is None:
        show_missing(tools, state.name, wanted, error=text)
        return Outcome(result=Result.REFUSED, text=text)
    entry = entry.model_copy(update={"cause": error.explained()})
    before = release.status
    is_under_way = before.phase in UNDER_WAY
    status = before.model_copy(
        update={
            **state.identity,
            "phase": before.phase if is_under_way else Phase.FAILED,
            "message": f"{text}; {before.message}" if is_under_way else text,
            "history": with_refusal(before.history, entry),
        }
    )
    if was_rolled_back(before) and not is_under_way:
        status = status.model_copy(update={"message": rolled_back_text(status)})
    try:
        release = state.records.write_status(release, status)
    except Conflict:
        text = f"{text} (and another attempt took the release over)"
    else:
        announce(state.records, release, reason="Refused")
        if claimed is not None:
            state.records.prune_stored(release, release.status.stored, search=True)
    show_release(tools, state, release)
    return Outcome(result=Result.REFUSED, text=text, release=release)


def broken_off(tools: Tools, state: State, error: TowlineError) -> Outcome:
    """The status when a further step is refused, and nothing of it was written: the revision failed half-way."""
    assert state.release is not None and state.continued is not None  # there was a step before
    cause, now = f"half-way: {error}", state.now()
    if state.continued.moment is Moment.PRE_SYNC:
        status = hook_failed(state.release, cause, now=now)
    else:
        status = failed(state.release, cause, now=now, health=Health.UNKNOWN)
    release = put_on_record(tools, state, state.release, status)
    announce(state.records, release, reason="Failed")
    return Outcome(result=Result.FAILED, text=status.message, release=release, is_change=False)


def kept_revisions(before: ReleaseStatus, newest: StoredRevision, *, keep: int) -> tuple[StoredRevision, ...]:
    """The newest stored revisions, never without the stable one."""
    others = [one for one in before.stored if one.revision != newest.revision]
    stable = [one for one in others if one.revision == before.stable_revision]
    recent = [one for one in others if one.revision != before.stable_revision]
    return tuple([newest, *stable, *recent][:keep])


def entry_with_commit(
    state: State, wanted: Wanted, result: Result, counts: Counts, stages: Stages
) -> HistoryEntry:
    """The attempt as the history keeps it."""
    commit = {"author": state.commit.author, "subject": state.commit.subject}
    return entry_of(state, wanted, result, counts, stages).model_copy(update=commit)


def _entry_of_stored(
    standing: Standing, wanted: Wanted, result: Result, counts: Counts, stages: Stages
) -> HistoryEntry:
    """The attempt, with what an earlier one at this revision knew of the commit."""
    assert standing.release is not None  # whose stored revision it is
    entry = entry_of(standing, wanted, result, counts, stages)
    known = newest_of(standing.release.status.history, wanted.revision) or entry
    return entry.model_copy(update={"author": known.author, "subject": known.subject})


def entry_of(
    standing: Standing, wanted: Wanted, result: Result, counts: Counts, stages: Stages
) -> HistoryEntry:
    """The attempt as the history keeps it, but for what only the commit knows."""
    return HistoryEntry(
        revision=wanted.revision,
        ref=wanted.ref,
        trigger=wanted.trigger,
        triggered_by=wanted.operator or wanted.delivery,
        result=result,
        received_at=datetime.fromtimestamp(wanted.received_at, UTC),
        started_at=standing.began(wanted, stages),
        stages=stages.rounded(),
        created=counts.created,
        changed=counts.changed,
        left=counts.left,
        pruned=counts.pruned,
        notes=counts.notes,
    )


def _summary(counts: Counts) -> str:
    return (
        f"{counts.created} created, {counts.changed} changed, {counts.left} left as they were, "
        f"{counts.pruned} deleted"
    )
