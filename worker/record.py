"""Records in the cluster how an attempt ended: the Release's status, with the attempt in its history.

In: what was written, or why nothing was. Out: an Outcome. State: the status of the Release, written once an attempt,
with the claim as precondition; stored revisions that no status names any more are deleted after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from towline.shared.errors import Conflict, Refused, TowlineError
from towline.shared.model import Health, Phase, Result, short
from towline.shared.release import HistoryEntry, Release, ReleaseStatus, StoredRevision
from towline.shared.wanted import Wanted
from towline.worker.apply import Applied
from towline.worker.outcome import Counts, Outcome, announce, show
from towline.worker.plan import Plan
from towline.worker.prune import Pruned, recorded_after
from towline.worker.stages import Stages
from towline.worker.state import State
from towline.worker.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Everything that one attempt wrote; `pruned` is None when it did not get that far."""

    release: Release
    stored: StoredRevision
    plan: Plan
    applied: Applied
    pruned: Pruned | None

    @property
    def counts(self) -> Counts:
        """For the history."""
        applied = self.applied
        notes = [str(taken) for taken in applied.taken_over]
        notes += [f"{key}: deleted and made anew" for key in applied.recreated]
        notes += [f"{key}: could only be checked after others were applied" for key in applied.deferred]
        notes += [f"{key}: could not be checked before" for key in applied.unverified]
        notes += [str(kept) for kept in self.pruned.kept] if self.pruned else []
        return Counts(
            created=len(applied.created),
            changed=len(applied.changed),
            left=len(applied.left),
            pruned=len(self.pruned.pruned) if self.pruned else 0,
            notes=tuple(notes),
        )

    @property
    def error(self) -> Refused | None:
        """What was refused half-way, if anything."""
        problems = [*self.applied.problems, *(self.pruned.problems if self.pruned else ())]
        return Refused("the API server refused a part of it", problems=problems) if problems else None


def record(tools: Tools, state: State, wanted: Wanted, written: Written, stages: Stages) -> Outcome:
    """The status after writing: this revision is applied, or failed half-way."""
    error = written.error
    result = Result.FAILED if error else Result.SYNCED
    entry = entry_of(state, wanted, result, written.counts, stages, cause=str(error or ""))
    recorded = recorded_after(written.plan, written.applied, written.pruned)
    objects = tuple(sorted(recorded, key=lambda one: one.key))
    before = written.release.status
    stored = kept_revisions(before, written.stored, keep=tools.config.sync.stored_revisions)
    status = before.model_copy(
        update={
            **_identity(state, wanted),
            **(_half_way(wanted, error) if error else _applied(state, wanted)),
            "objects": objects,
            "stored": stored,
            "history": (entry, *before.history),
        }
    )
    release = state.records.write_status(written.release, status)
    if before.stored != stored:
        state.records.prune_stored(release, stored, search=state.is_unfinished)
    text = _summary(written.counts) if error is None else status.message
    if error is not None:
        announce(state.records, release)
    show(tools, state.name, wanted, release)
    return Outcome(result=result, text=text, release=release, counts=written.counts)


def _applied(state: State, wanted: Wanted) -> dict[str, object]:
    assert state.inputs is not None
    return {
        "revision": wanted.revision,
        "phase": Phase.VERIFYING,
        "health": Health.PROGRESSING,
        "message": f"applied {short(wanted.revision)}; waiting until it is healthy",
        "inputs_digest": state.inputs.digest,
        "synced_at": datetime.now(UTC),
    }


def _half_way(wanted: Wanted, error: TowlineError) -> dict[str, object]:
    return {"phase": Phase.FAILED, "message": f"{short(wanted.revision)} failed half-way: {error}"}


def refused(tools: Tools, state: State, wanted: Wanted, error: TowlineError, stages: Stages) -> Outcome:
    """The status when nothing of a revision was written: what ran before runs on, and the release says why.

    A release that does not exist yet is not made for it: only the view shows the error then.
    """
    text = f"{short(wanted.revision)} was refused, nothing was written: {error.explained()}"
    release = state.records.read(state.name, state.environment.namespace)
    if release is not None:
        entry = entry_of(state, wanted, Result.REFUSED, Counts(), stages, cause=str(error))
        before = release.status
        status = before.model_copy(
            update={
                **_identity(state, wanted),
                "phase": Phase.FAILED,
                "message": text,
                "history": (entry, *before.history),
            }
        )
        try:
            release = state.records.write_status(release, status)
        except Conflict:
            text = f"{text} (and another attempt took the release over)"
        else:
            announce(state.records, release)
    show(tools, state.name, wanted, release, error="" if release else text)
    return Outcome(result=Result.REFUSED, text=text, release=release)


def kept_revisions(before: ReleaseStatus, newest: StoredRevision, *, keep: int) -> tuple[StoredRevision, ...]:
    """The newest stored revisions, never without the stable one."""
    others = [one for one in before.stored if one.revision != newest.revision]
    stable = [one for one in others if one.revision == before.stable_revision]
    recent = [one for one in others if one.revision != before.stable_revision]
    return tuple([newest, *stable, *recent][:keep])


def entry_of(
    state: State, wanted: Wanted, result: Result, counts: Counts, stages: Stages, *, cause: str
) -> HistoryEntry:
    """The attempt as the history keeps it."""
    return HistoryEntry(
        revision=wanted.revision,
        ref=wanted.ref,
        author=state.commit.author,
        subject=state.commit.subject,
        trigger=wanted.trigger,
        triggered_by=wanted.operator or wanted.delivery,
        result=result,
        cause=cause,
        started_at=datetime.fromtimestamp(stages.started_at, UTC),
        stages=stages.rounded(),
        created=counts.created,
        changed=counts.changed,
        left=counts.left,
        pruned=counts.pruned,
        notes=counts.notes,
    )


def _identity(state: State, wanted: Wanted) -> dict[str, object]:
    return {
        "environment": state.environment.name,
        "repository": state.repository.name,
        "ref": wanted.ref,
    }


def _summary(counts: Counts) -> str:
    return (
        f"{counts.created} created, {counts.changed} changed, {counts.left} left as they were, "
        f"{counts.pruned} deleted"
    )
