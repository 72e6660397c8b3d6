"""What became of an attempt, in the history of its release. Pure.

In: the history or the status of a release, and a new attempt, or the outcome of one of its revisions. Out: the history that
says so. No state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from towline.shared.model import Result
from towline.shared.release import HistoryEntry, ReleaseStatus

ROLLBACK = "rollback"  # the stage of an attempt that was undone


def newest_of(history: Sequence[HistoryEntry], revision: str) -> HistoryEntry | None:
    """The newest attempt at this revision."""
    return next((one for one in history if one.revision == revision), None)


def with_told(
    history: Sequence[HistoryEntry], entry: HistoryEntry, told: Mapping[str, object]
) -> tuple[HistoryEntry, ...]:
    """The history in which this entry of it tells these things."""
    return tuple(one.model_copy(update=told) if one is entry else one for one in history)


def with_new(history: Sequence[HistoryEntry], entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """The history with a new attempt; one before it that nobody knows yet to be healthy ended without that.

    The same attempt, run again since its worker died after it was recorded, keeps its entry.
    """
    newest = history[0] if history else None
    if newest is not None and newest.received_at is not None and _wish_of(newest) == _wish_of(entry):
        return (newest.model_copy(update={"result": entry.result, "cause": entry.cause}), *history[1:])
    return (entry, *_superseded(history))


def with_refusal(history: Sequence[HistoryEntry], entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """The history with a refusal, once though its worker died after it was recorded; what it leaves running is as it was."""
    newest = history[0] if history else None
    if newest is not None and newest.result is Result.REFUSED and _wish_of(newest) == _wish_of(entry):
        return (entry, *history[1:])
    return (entry, *history)


def _wish_of(entry: HistoryEntry) -> tuple[object, ...]:
    """What was asked for, when and by whom."""
    return (entry.revision, entry.trigger, entry.triggered_by, entry.received_at)


def _superseded(history: Sequence[HistoryEntry]) -> tuple[HistoryEntry, ...]:
    return tuple(
        one.model_copy(update={"result": Result.SUPERSEDED}) if one.result is Result.SYNCED else one
        for one in history
    )


def with_step(
    history: Sequence[HistoryEntry], step: HistoryEntry, *, is_applied: bool
) -> tuple[HistoryEntry, ...]:
    """The history in which the newest attempt at this revision has one step more: one entry for all steps.

    `is_applied`: it takes the place of the revision before, which hooks that run before do not yet.
    """
    at = next((index for index, one in enumerate(history) if one.revision == step.revision), None)
    if at is None:
        return with_new(history, step)
    known = history[at]
    seconds = {
        name: round(known.stages.get(name, 0.0) + step.stages.get(name, 0.0), 4)
        for name in (*known.stages, *step.stages)
    }
    told = {
        "result": step.result,
        "cause": step.cause,
        "stages": seconds,
        "created": known.created + step.created,
        "changed": known.changed + step.changed,
        "left": step.left,
        "pruned": known.pruned + step.pruned,
        "notes": tuple(dict.fromkeys((*known.notes, *step.notes))),
    }
    before = history[at + 1 :]
    return (
        *history[:at],
        known.model_copy(update=told),
        *(_superseded(before) if is_applied else before),
    )


def ended(
    status: ReleaseStatus,
    revision: str,
    result: Result,
    *,
    now: datetime,
    cause: str = "",
    logs: Sequence[str] = (),
) -> tuple[HistoryEntry, ...]:
    """The history with the outcome of the newest attempt at a revision that is not known to be anything else."""
    entry = newest_of(status.history, revision)
    if entry is None or entry.result not in (Result.SYNCED, Result.HEALTHY):
        return status.history
    stages = dict(entry.stages)
    since = status.pending.since if status.pending else status.synced_at
    if since is not None:
        stages.setdefault("verify", round(max(0.0, (now - since).total_seconds()), 3))
    told = {"result": result, "cause": cause or entry.cause, "logs": tuple(logs), "stages": stages}
    return with_told(status.history, entry, told)


def rolled_back(
    history: Sequence[HistoryEntry], revision: str, *, seconds: float, notes: Sequence[str]
) -> tuple[HistoryEntry, ...]:
    """The history in which the attempt that failed says what its rollback took, and what it could not bring back."""
    entry = newest_of(history, revision)
    if entry is None:
        return tuple(history)
    told = {"stages": {**entry.stages, ROLLBACK: round(seconds, 4)}, "notes": (*entry.notes, *notes)}
    return with_told(history, entry, told)


def is_judged_anew(status: ReleaseStatus) -> bool:
    """Whether this revision is the stable one, and was not applied since it was: its release was resumed."""
    newest = newest_of(status.history, status.revision)
    was_healthy = newest is not None and newest.result is Result.HEALTHY
    return was_healthy and status.revision == status.stable_revision


def not_rolled_back(status: ReleaseStatus, note: str) -> tuple[HistoryEntry, ...]:
    """The history in which the attempt that was to be rolled back has failed, and was not."""
    bad = status.quarantined.revision if status.quarantined else ""
    lost = (Result.FAILED, Result.ROLLED_BACK)
    entry = next((one for one in status.history if one.revision == bad and one.result in lost), None)
    if entry is None:
        return status.history
    return with_told(status.history, entry, {"result": Result.FAILED, "notes": (*entry.notes, note)})
