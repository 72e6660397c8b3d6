"""What a verdict means to a release: pure, from the recorded status and its health now to the status that follows.

    Verifying    healthy -> Healthy (this is the stable revision) · failed or late -> RollingBack, or Failed; only by what
                 failed before it -> Failed, and it is the stable revision all the same; what was stable before it was
                 suspended turns bad as in Healthy
    RollingBack  healthy -> RolledBack, or Failed where a newer commit was refused · failed or late -> Failed; until the
                 objects are brought back nothing is judged
    Healthy      failed -> Failed (reported), or RollingBack within the time that `rollback: {watch}` names
                 an object of it was deleted -> Failed (reported), never RollingBack: no revision is at fault
    Failed       healthy -> Healthy; only what failed by its health, never what was refused, after which the one before
                 that runs on turns bad as in Healthy
    RolledBack   follows in its health, nothing else
    Suspended    nothing

A revision that is brought in steps (`status.pending`) is not stable when it is healthy: its sync goes on. While its hooks run
before anything else of it is written, they alone are judged, whatever the phase of the revision before it.

In: a Release, its health and reason, the time. Out: the new status, or None where nothing is to be said. No state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from towline.shared.choice import previous_stable
from towline.shared.model import WELL, Health, HookState, Moment, Phase, Result, short
from towline.shared.pending import ended_runs, runs_of
from towline.shared.release import (
    MESSAGE_LENGTH,
    AppliedObject,
    Quarantine,
    Release,
    ReleaseStatus,
    StoredRevision,
    cut,
)
from towline.worker.health.release import ReleaseVerdict
from towline.worker.history import ROLLBACK, ended, is_judged_anew, newest_of, not_rolled_back

UNDER_WAY = (
    Phase.VERIFYING,
    Phase.ROLLING_BACK,
)  # what is refused meanwhile does not end what is being verified
BEFORE_IT = "not healthy, as before this revision"


def concluded(release: Release, verdict: ReleaseVerdict, *, now: datetime) -> ReleaseStatus | None:
    """The status when this verdict is final or changes what is known, None otherwise.

    It is the same status where a step is healthy, and the next one is to be taken.
    """
    if is_prepared(release.status):
        return _prepared(release, verdict, now)
    match release.status.phase:
        case Phase.VERIFYING:
            return _verified(release, verdict, now)
        case Phase.ROLLING_BACK if is_brought_back(release.status):
            return _brought_back(release.status, verdict, now)
        case Phase.HEALTHY:
            return _turned_bad(release, verdict, now) if verdict.is_bad else None
        case Phase.FAILED if release.status.health in WELL:  # of what was refused: the one before runs on
            return _turned_bad(release, verdict, now) if verdict.is_bad else None
        case Phase.FAILED:
            return _recovered(release.status, verdict, now)
        case Phase.ROLLED_BACK:
            return _followed(release.status, verdict)
        case _:
            return None


def is_brought_back(status: ReleaseStatus) -> bool:
    """Whether the stable objects were applied again, so that now they are what is judged."""
    return status.quarantined is None or status.quarantined.reverted_at is not None


def was_rolled_back(status: ReleaseStatus) -> bool:
    """Whether what runs is there since the quarantined revision was undone, and not by an operator's word after that."""
    newest = next((one for one in status.history if one.result is not Result.REFUSED), None)
    bad = status.quarantined.revision if status.quarantined else ""
    return newest is not None and newest.revision == bad and ROLLBACK in newest.stages


def is_to_be_brought_back(status: ReleaseStatus) -> bool:
    """Whether a failed revision is to be replaced by the stable one, and is not yet."""
    return status.phase is Phase.ROLLING_BACK and not is_brought_back(status)


def may_wait(status: ReleaseStatus, now: datetime) -> bool:
    """Whether a rollback still waits for what is being deleted: as long as a revision may take to become healthy."""
    since = status.quarantined.since if status.quarantined else None
    return since is not None and now < since + timedelta(seconds=status.verification.timeout_seconds)


def is_accepted(before: ReleaseStatus, after: ReleaseStatus) -> bool:
    """Whether this conclusion is that the revision that was verified is good, whatever else is not."""
    newest = newest_of(after.history, before.revision)
    return before.phase is Phase.VERIFYING and newest is not None and newest.result is Result.HEALTHY


def is_ill(before: ReleaseStatus, after: ReleaseStatus) -> bool:
    """Whether this conclusion needs a cause: something is not well."""
    return after.health is Health.FAILED or (before.pending is not None and after.pending is None)


def is_prepared(status: ReleaseStatus) -> bool:
    """Whether hooks of a revision run, and nothing else of it is written yet."""
    is_before = status.pending is not None and status.pending.moment is Moment.PRE_SYNC
    return is_before and status.phase is not Phase.SUSPENDED


def to_judge(status: ReleaseStatus) -> tuple[AppliedObject, ...]:
    """What the health of this revision is told by: not what a later step of it is still to change or delete.

    Hooks that run, or have failed, count as objects; before anything else is written there are no others.
    """
    revision = status.pending.revision if status.pending else status.revision
    hooks = tuple(
        AppliedObject.of(one.key, digest=one.revision, owned="")
        for one in runs_of(status.hooks, revision)
        if one.state is not HookState.SUCCEEDED
    )
    if is_prepared(status):
        return hooks
    return (*(one for one in status.objects if one.digest), *hooks)


def deadline_of(status: ReleaseStatus) -> datetime | None:
    """When a release that waits to become healthy counts as failed; None where none was applied."""
    if status.pending is not None:
        return status.pending.since + timedelta(seconds=status.pending.timeout_seconds)
    if status.synced_at is None:
        return None
    return status.synced_at + timedelta(seconds=status.verification.timeout_seconds)


def is_late(status: ReleaseStatus, now: datetime) -> bool:
    """Whether a release that waits to become healthy has had its time."""
    is_open = status.phase in UNDER_WAY or status.pending is not None
    deadline = deadline_of(status)
    return is_open and deadline is not None and now > deadline


def rollback_target(release: Release) -> StoredRevision | None:
    """To what a release whose revision fails goes back by itself, or None: the reason is `why_no_rollback`."""
    if why_no_rollback(release):
        return None
    return _target(release.status)


def why_no_rollback(release: Release) -> str:
    """Why a failed revision stays where it is, for people; "" when it is rolled back."""
    status = release.status
    if not status.verification.rollback:
        return "it is not rolled back: `rollback: false`"
    if release.suspended:
        return "it is not rolled back: the release is suspended"
    if release.pinned and release.pinned == status.revision:
        return "it is not rolled back: an operator pinned this revision"
    if _target(status) is None:
        return "there is no stable revision to go back to"
    return ""


def _target(status: ReleaseStatus) -> StoredRevision | None:
    stable = status.stable
    if stable is not None and stable.revision != status.revision:
        return stable
    return previous_stable(status)


def _prepared(release: Release, verdict: ReleaseVerdict, now: datetime) -> ReleaseStatus | None:
    if verdict.health is Health.HEALTHY:  # a suspended Job has done nothing
        return release.status
    late = _lateness(release.status, now)
    is_final = verdict.health is Health.FAILED or late
    return hook_failed(release, late + verdict.reason, now=now) if is_final else None


def hook_failed(release: Release, cause: str, *, now: datetime, logs: Sequence[str] = ()) -> ReleaseStatus:
    """A hook failed before anything else of its revision was written: that is quarantined, what ran before runs on.

    Where the revision before was only half brought, both go back to the stable one.
    """
    status = release.status
    pending = status.pending
    assert pending is not None  # the revision whose hook it is
    target = rollback_target(release) if pending.over_half else None
    is_back = target is None and is_brought_back(status)
    is_under_way = bool(status.revision) and status.phase in UNDER_WAY and not pending.over_half
    if target is not None:
        phase, then = Phase.ROLLING_BACK, f"; going back to {short(target.revision)}"
    else:
        phase = status.phase if status.phase and is_under_way else Phase.FAILED
        then = f"; {short(status.revision)} runs on" if status.revision else ""
    return status.model_copy(
        update={
            "phase": phase,
            "health": status.health if status.revision else Health.UNKNOWN,
            "stable_revision": target.revision if target else status.stable_revision,
            "message": f"{short(pending.revision)} failed before anything else of it was written: {cause}{then}",
            "pending": None,
            "hooks": ended_runs(status.hooks, pending.revision, HookState.FAILED, now=now),
            "quarantined": Quarantine(
                revision=pending.revision,
                inputs_digest=pending.inputs_digest,
                cause=cause,
                since=now,
                reverted_at=now if is_back else None,
            ),
            "history": ended(status, pending.revision, Result.FAILED, cause=cause, logs=logs, now=now),
        }
    )


def _verified(release: Release, verdict: ReleaseVerdict, now: datetime) -> ReleaseStatus | None:
    status = release.status
    if verdict.is_well:
        return status if status.pending else stable(status, verdict.health, verdict.reason, now=now)
    late = _lateness(status, now)
    is_anew = is_judged_anew(status)
    if verdict.health is not Health.FAILED and not late and not (is_anew and verdict.is_gone):
        return None
    verdict = replace(verdict, reason=late + verdict.reason)
    if verdict.is_old:
        return status if status.pending else stable(status, Health.FAILED, verdict.reason, now=now)
    return _turned_bad(release, verdict, now) if is_anew else failed(release, verdict.reason, now=now)


def _lateness(status: ReleaseStatus, now: datetime) -> str:
    if not is_late(status, now):
        return ""
    seconds = (status.pending or status.verification).timeout_seconds
    return f"not healthy after {seconds:g} s: "


def stable(status: ReleaseStatus, health: Health, reason: str, *, now: datetime) -> ReleaseStatus:
    """This revision is healthy: the one to go back to from now on. A newer one that was refused meanwhile stays said.

    So is one of which only what failed before it has failed, and that is said too.
    """
    stored = [
        one.model_copy(update={"stable_at": now}) if one.revision == status.revision else one
        for one in status.stored
    ]
    newest = status.history[0] if status.history else None
    behind = refused_text(status)
    if newest is not None and newest.result is Result.FAILED and newest.revision != status.revision:
        behind = f"{short(newest.revision)} failed before it was applied: {newest.cause}"
    ill = "" if health in WELL else f"{BEFORE_IT}: {reason}"
    return status.model_copy(
        update={
            "phase": Phase.FAILED if behind or ill else Phase.HEALTHY,
            "health": health,
            "stable_revision": status.revision,
            "stored": tuple(stored),
            "hooks": ended_runs(status.hooks, status.revision, HookState.SUCCEEDED, now=now),
            "message": "; ".join(one for one in (behind, ill) if one) or reason,
            "history": ended(status, status.revision, Result.HEALTHY, now=now),
        }
    )


def refused_text(status: ReleaseStatus) -> str:
    """What an operator should know of the newest commit where it was refused; "" where it was not."""
    if not status.is_newest_refused:
        return ""
    newest = status.history[0]
    return f"{short(newest.revision)} was refused, nothing was written: {newest.cause}"


def failed(
    release: Release,
    cause: str,
    *,
    now: datetime,
    logs: Sequence[str] = (),
    health: Health = Health.FAILED,
) -> ReleaseStatus:
    """This revision failed: it is to be rolled back, and quarantined until something of the service changes.

    `cause`: why, in words for people. Where it cannot or may not be rolled back it stays as it is, and says why.
    `health`: unknown for one that was applied half-way, so that it never counts as recovered.
    """
    status = release.status
    target = rollback_target(release)
    hooks = ended_runs(status.hooks, status.revision, HookState.FAILED, now=now)
    update: dict[str, object] = {"health": health, "hooks": hooks}
    if target is None:
        result = Result.FAILED
        update |= {
            "phase": Phase.FAILED,
            "message": f"{cause}; {why_no_rollback(release)}",
            # What was refused begins anew when it is tried again; what is only ill may go on when it recovers.
            "pending": status.pending if health is Health.FAILED else None,
        }
    else:
        result = Result.ROLLED_BACK
        update |= {
            "phase": Phase.ROLLING_BACK,
            "pending": None,
            "stable_revision": target.revision,
            "message": f"{short(status.revision)} failed: {cause}; going back to {short(target.revision)}",
            "quarantined": Quarantine(
                revision=status.revision, inputs_digest=status.inputs_digest, cause=cause, since=now
            ),
        }
    update["history"] = ended(status, status.revision, result, cause=cause, logs=logs, now=now)
    return status.model_copy(update=update)


def _brought_back(status: ReleaseStatus, verdict: ReleaseVerdict, now: datetime) -> ReleaseStatus | None:
    phase = Phase.FAILED if status.is_newest_refused else Phase.ROLLED_BACK
    text = rolled_back_text(status)
    if verdict.is_well:
        return status.model_copy(update={"phase": phase, "health": verdict.health, "message": text})
    late = _lateness(status, now)
    if verdict.health is not Health.FAILED and not late:
        return None
    if not verdict.is_old:
        return rollback_failed(status, late + verdict.reason)
    told = {"phase": phase, "health": Health.FAILED, "message": f"{text}; {BEFORE_IT}: {verdict.reason}"}
    return status.model_copy(update=told)


def rolled_back_text(status: ReleaseStatus) -> str:
    """What an operator should know of a release that was rolled back: from what, why, whether whole, and what was refused."""
    refused = refused_text(status)
    before = f"{cut(refused, MESSAGE_LENGTH // 2)}; " if refused else ""
    bad = status.quarantined
    if bad is None:
        return f"{before}rolled back to {short(status.revision)}"
    partly = f"; partly: {'; '.join(bad.not_reverted)}" if bad.not_reverted else ""
    return (
        f"{before}rolled back to {short(status.revision)}: {short(bad.revision)} failed: {bad.cause}{partly}"
    )


def rollback_failed(status: ReleaseStatus, reason: str) -> ReleaseStatus:
    """The rollback failed too: both causes are said, also in the history, and nothing more is tried by itself."""
    bad = status.quarantined
    because = f" ({short(bad.revision)} had failed: {bad.cause})" if bad else ""
    text = f"going back to {short(status.stable_revision)} failed as well: {reason}"
    return status.model_copy(
        update={
            "phase": Phase.FAILED,
            "health": Health.FAILED,
            "message": f"{text}{because}",
            "history": not_rolled_back(status, text),
        }
    )


def _turned_bad(release: Release, verdict: ReleaseVerdict, now: datetime) -> ReleaseStatus:
    """A stable revision fails: reported, and rolled back only within the time that its team asked for."""
    status = release.status
    watch = status.verification.watch_seconds
    stored = status.stored_of(status.revision)
    since = stored.stable_at if stored else None
    is_watched = watch is not None and since is not None and now <= since + timedelta(seconds=watch)
    if is_watched and not verdict.is_gone:
        return failed(release, verdict.reason, now=now)
    message = f"was healthy and is not any more: {verdict.reason}"
    if status.phase is Phase.FAILED:
        message = f"{message}; {status.message}"
    return status.model_copy(update={"phase": Phase.FAILED, "health": Health.FAILED, "message": message})


def _recovered(status: ReleaseStatus, verdict: ReleaseVerdict, now: datetime) -> ReleaseStatus | None:
    """What failed by its health alone may become healthy by itself; what was refused needs a commit."""
    if status.health is not Health.FAILED or not verdict.is_well or not is_brought_back(status):
        return None
    if was_rolled_back(status):
        return _brought_back(status, verdict, now)
    return status if status.pending else stable(status, verdict.health, verdict.reason, now=now)


def _followed(status: ReleaseStatus, verdict: ReleaseVerdict) -> ReleaseStatus | None:
    if verdict.is_bad and status.health is not Health.FAILED:
        text = f"{rolled_back_text(status)}; not healthy any more: {verdict.reason}"
        return status.model_copy(update={"health": Health.FAILED, "message": text})
    if verdict.is_well and status.health is Health.FAILED:
        return status.model_copy(update={"health": verdict.health, "message": rolled_back_text(status)})
    return None
