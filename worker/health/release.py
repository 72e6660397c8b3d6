"""The health of a whole release, out of its objects' verdicts and of what their pods tell. Pure.

In: each object's verdict and finding, however they were come by: read by a job, or kept by a watcher. Out: one verdict
with the reason, the object that decided, and the fault where pods told one. Nothing raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from towline.shared.model import WELL, Health, ObjectKey, Phase
from towline.shared.release import ReleaseStatus
from towline.worker.health.case import CLOCKS_SECONDS
from towline.worker.health.fault import NOTHING, Fault, Finding
from towline.worker.health.surroundings import ADDRESSED
from towline.worker.health.verdict import ORDER, UNSETTLED, Verdict, worst
from towline.worker.health.workload import WORKLOADS

MISSING = Verdict(health=Health.UNKNOWN, reason="is not there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An object of a release: its own verdict, and what its pods tell, which is nothing where it makes none.

    `is_gone`: it was deleted, and is not about to be put back (worker/drift.py).
    """

    key: ObjectKey
    verdict: Verdict
    found: Finding = NOTHING
    is_gone: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its pods have a say: the troubles of what is healthy are over."""
        return is_open(self.verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseVerdict:
    """The health of a release and why; `object` is what decided, None where all are healthy.

    `reason` and `fault` hold words of the cluster, in which there may be secrets: see worker/cause.py.
    `look_again_at`: from when the same cluster would be judged otherwise. `is_old`: all would be well without objects that
    were the same before what is judged began, and are not its fault. `is_gone`: nothing has failed, but an object was deleted.
    """

    health: Health
    reason: str
    object: ObjectKey | None = None
    fault: Fault | None = None
    look_again_at: datetime | None = None
    is_old: bool = False
    is_gone: bool = False

    @property
    def is_well(self) -> bool:
        """Whether all is as it was asked for."""
        return self.health in WELL

    @property
    def is_bad(self) -> bool:
        """Whether what was well is not any more."""
        return self.health is Health.FAILED or self.is_gone


def is_open(verdict: Verdict) -> bool:
    """Whether the pods behind an object of this verdict are worth a look."""
    return verdict.health in UNSETTLED


def release_verdict(
    judged: Sequence[Judged], *, since: datetime | None = None, stable_until: datetime | None = None
) -> ReleaseVerdict:
    """The verdict of the worst object; a fault at the pods counts before what their workload says minutes later.

    `since`: when the sync that is judged began. `stable_until`: until when a stable revision ran; objects that are as they
    were then count only where all others are well.
    """
    judged = [_excused(_borne(one), since) for one in judged]
    old = [one for one in judged if _is_old(one, stable_until)]
    verdict = _verdict([one for one in judged if one not in old])
    return replace(_verdict(old), is_old=True) if old and verdict.is_well else verdict


def _is_old(one: Judged, stable_until: datetime | None) -> bool:
    """Whether this object is unsettled, and nobody has changed it since a stable revision ran."""
    since = one.verdict.unchanged_since
    if since is None or stable_until is None:
        return False
    return (stable_until - since).total_seconds() > CLOCKS_SECONDS


def _verdict(judged: Sequence[Judged]) -> ReleaseVerdict:
    unsettled = [one for one in judged if one.is_open]
    for one in unsettled:
        fault = one.found.fault
        if fault is not None and not _may_come(fault, unsettled):
            reason = f"{one.key}: {fault.text}"
            return ReleaseVerdict(health=Health.FAILED, reason=reason, object=one.key, fault=fault)
    found = worst((str(one.key), one.verdict) for one in judged)
    times = [one.found.look_again_at for one in unsettled if one.found.look_again_at is not None]
    verdict = ReleaseVerdict(
        health=found.health,
        reason=found.reason,
        object=_decisive(judged),
        look_again_at=min(times, default=None),
    )
    gone = next((one.key for one in judged if one.is_gone), None)
    if gone is None or found.health is Health.FAILED:
        return verdict
    return replace(verdict, reason=f"{gone} is not there: it was deleted", object=gone, is_gone=True)


def _borne(one: Judged) -> Judged:
    """A pod of its own is borne with as long as pods of workloads are, although it shows each trouble at once."""
    is_pod = (one.key.group, one.key.kind) == ("", "Pod")
    if not is_pod or one.verdict.health is not Health.FAILED or one.found.fault is not None:
        return one
    return replace(one, verdict=replace(one.verdict, health=Health.PROGRESSING))


def _excused(one: Judged, since: datetime | None) -> Judged:
    """A run of a CronJob that was due before the sync was another revision's, and stays its last one until the next is due."""
    run = one.verdict.run_of
    if one.verdict.health is not Health.FAILED or not run or since is None:
        return one
    if run > since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"):
        return one
    return replace(one, verdict=Verdict(health=Health.HEALTHY, reason="has not run since the sync"))


def _may_come(fault: Fault, unsettled: Sequence[Judged]) -> bool:
    """Whether what the pods lack may still be made by another object of the release, an ExternalSecret for example."""
    if fault.missing is None:
        return False
    return any(
        one.verdict.health is Health.PROGRESSING
        and (one.key.group, one.key.kind) not in WORKLOADS | ADDRESSED
        for one in unsettled
    )


def _decisive(judged: Sequence[Judged]) -> ObjectKey | None:
    ordered = sorted(judged, key=lambda one: ORDER.index(one.verdict.health))
    return ordered[0].key if ordered and ordered[0].verdict.health is not Health.HEALTHY else None


def since_of(status: ReleaseStatus) -> datetime | None:
    """When what is judged began to be applied: what happened before it is not its fault."""
    if status.phase is Phase.ROLLING_BACK and status.quarantined is not None:
        return status.quarantined.since
    newest = status.history[0] if status.history else None
    if newest is not None and newest.revision == status.revision and newest.started_at is not None:
        return newest.started_at
    return status.synced_at
