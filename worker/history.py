"""What became of an attempt, in the history of its release. Pure.

In: the status of a release, and the outcome of one of its revisions. Out: the history that says so. No state.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from towline.shared.model import Result
from towline.shared.release import HistoryEntry, ReleaseStatus


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
    at = next((n for n, one in enumerate(status.history) if one.revision == revision), None)
    if at is None or status.history[at].result not in (Result.SYNCED, Result.HEALTHY):
        return status.history
    entry = status.history[at]
    stages = dict(entry.stages)
    since = status.pending.since if status.pending else status.synced_at
    if since is not None:
        stages.setdefault("verify", round(max(0.0, (now - since).total_seconds()), 3))
    told = {"result": result, "cause": cause or entry.cause, "logs": tuple(logs), "stages": stages}
    return (*status.history[:at], entry.model_copy(update=told), *status.history[at + 1 :])


def not_rolled_back(status: ReleaseStatus, note: str) -> tuple[HistoryEntry, ...]:
    """The history in which the attempt that was to be rolled back has failed, and was not."""
    bad = status.quarantined.revision if status.quarantined else ""
    lost = (Result.FAILED, Result.ROLLED_BACK)
    at = next((n for n, one in enumerate(status.history) if one.revision == bad and one.result in lost), None)
    if at is None:
        return status.history
    entry = status.history[at]
    told = entry.model_copy(update={"result": Result.FAILED, "notes": (*entry.notes, note)})
    return (*status.history[:at], told, *status.history[at + 1 :])
