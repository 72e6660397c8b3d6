"""Judges a whole release as its cluster shows it now: the one place that does.

In: a release and where it is written. Out: a verdict with a reason, the object that decided, and the fault where the pods
of a new revision tell one. Objects are read side by side, pods only of workloads that are not settled, Events only where
they could change what is found. State: none; it only reads, so killed at any line nothing is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from towline.shared.errors import ClusterError, UnknownKind
from towline.shared.model import Health, ObjectKey
from towline.shared.pod_limits import PodLimits
from towline.shared.release import Release, ReleaseStatus
from towline.worker.decision import to_judge
from towline.worker.drift import is_missed
from towline.worker.health.case import Seen
from towline.worker.health.fault import NOTHING, Finding
from towline.worker.health.pods import finding
from towline.worker.health.release import MISSING, Judged, ReleaseVerdict, is_open, release_verdict, since_of
from towline.worker.health.surroundings import Gives, nobody_gives
from towline.worker.health.verdict import Verdict, has_health, judge
from towline.worker.health.workload import Workload, workload_of
from towline.worker.live import read_metadata
from towline.worker.parallel import in_parallel
from towline.worker.seen import seen_of, with_events
from towline.worker.target import Target

WORKLOADS = 20  # whose pods are read; a release with more unsettled ones fails by the first as well
# Faults that an Event could excuse: a node is on its way, or a long pull came before the first try to start.
EXCUSABLE = frozenset(
    {"Unschedulable", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
COMES_SECONDS = 2.0  # when to look again whether the kubelet has seen what was missing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What the pods of a release are judged by."""

    now: datetime
    since: datetime | None
    limits: PodLimits


def verdict_of(
    target: Target, release: Release, *, now: datetime, gives: Gives = nobody_gives
) -> ReleaseVerdict:
    """The health of the release now; only objects are read whose kind has a health of its own. Raises ClusterDown.

    `now`: by the cluster's clock. `gives`: who gives addresses there, asked only when an object has none.
    """
    rules = release.status.verification.health
    keys = [one.key for one in to_judge(release.status) if has_health(one.group, one.kind, rules=rules)]
    read = in_parallel(lambda key: _read(target, release.status, key, gives), keys)
    unsettled = [workload for one, workload in read if workload is not None and is_open(one.verdict)][
        :WORKLOADS
    ]
    moment = _Moment(now=now, since=since_of(release.status), limits=target.environment.pod_limits)
    findings = in_parallel(lambda workload: _found(target, workload, moment), unsettled)
    found = {workload.key: one for workload, one in zip(unsettled, findings, strict=True)}
    judged = [replace(one, found=found.get(one.key, NOTHING)) for one, _ in read]
    return release_verdict(judged, since=moment.since, stable_until=release.status.stable_until)


def _read(
    target: Target, status: ReleaseStatus, key: ObjectKey, gives: Gives
) -> tuple[Judged, Workload | None]:
    """An object's own verdict, and what it is to its pods."""
    is_gone = is_missed(status, key)
    try:
        resource = target.deployer.preferred(key.group, key.kind)
    except UnknownKind as error:  # deleted together with its CustomResourceDefinition, or never made
        unknown = Verdict(health=Health.FAILED, reason=error.message)
        return Judged(key=key, verdict=MISSING if is_gone else unknown, is_gone=is_gone), None
    live = target.deployer.get(resource, key.name, key.namespace)
    if live is None:
        return Judged(key=key, verdict=MISSING, is_gone=is_gone), None
    verdict = judge(live, rules=status.verification.health, gives=gives)
    return Judged(key=key, verdict=verdict), workload_of(live)


def _found(target: Target, workload: Workload, moment: _Moment) -> Finding:
    """What its pods tell; nothing where they may not be read, and then its own verdict counts."""
    try:
        found = _judged(target, workload, moment)
    except ClusterError as error:
        log.warning("verify.pods", object=str(workload.key), error=error.message, hint=error.hint)
        return NOTHING
    missing = found.fault.missing if found.fault else None
    if missing is not None and _is_there(target, missing):
        return Finding(look_again_at=moment.now + timedelta(seconds=COMES_SECONDS))
    return found


def _judged(target: Target, workload: Workload, moment: _Moment) -> Finding:
    """Events are asked for last, since most faults are told by the pods themselves."""

    def judged(seen: Seen) -> Finding:
        return finding(workload, seen, now=moment.now, since=moment.since, limits=moment.limits)

    seen = seen_of(target.deployer, workload)
    found = judged(seen)
    if found.fault is not None and found.fault.reason not in EXCUSABLE:
        return found
    return judged(with_events(target.deployer, workload, seen))


def _is_there(target: Target, key: ObjectKey) -> bool:
    """Whether what a pod lacked has come; the kubelet sees that at its next try only."""
    try:
        return read_metadata(target.deployer, key) is not None
    except ClusterError:
        return False
