"""One workload to judge: what was seen of it, the limits, the time. Pure.

In: structs and the time. Out: answers that the rules in containers.py and pods.py share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from towline.shared.model import ObjectKey
from towline.shared.pod_limits import PodLimits
from towline.shared.release import cut
from towline.worker.health.fault import Fault, Finding
from towline.worker.health.pod import Event, Pod, ReplicaSet
from towline.worker.health.workload import Workload

MESSAGE_LENGTH = 500  # characters kept of a message; a container may write 4 KB as its last words
CLOCKS_SECONDS = 2.0  # by which a cluster's clock and ours may differ, its whole seconds included

MISSING = re.compile(
    r'\b(secret|configmap|serviceaccount|persistentvolumeclaim) "([-a-z0-9.]{1,253})" not found'
)
KINDS = {
    "secret": "Secret",
    "configmap": "ConfigMap",
    "serviceaccount": "ServiceAccount",
    "persistentvolumeclaim": "PersistentVolumeClaim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a cluster shows of a workload: pods and ReplicaSets of every revision, and Events about any of them."""

    pods: Sequence[Pod] = ()
    replica_sets: Sequence[ReplicaSet] = ()
    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload to judge: `pods` are those of its newest revision."""

    workload: Workload
    seen: Seen
    limits: PodLimits
    now: datetime
    since: datetime | None
    pods: tuple[Pod, ...]

    def lasting(self, fault: Fault, began: datetime | None, seconds: float) -> Finding:
        """The fault when it has lasted that long, else when it will have; none of it before the sync counts."""
        began = max((one for one in (began, self.since) if one is not None), default=self.now)
        remaining = timedelta(seconds=seconds) - max(self.now - began, timedelta(0))
        if remaining <= timedelta(0):
            return Finding(fault=fault)
        return Finding(look_again_at=self.now + remaining)

    def events(self, uid: str, reasons: frozenset[str]) -> list[Event]:
        """The Events about this object with one of these reasons, oldest first.

        Of one second, the better one comes last: NotTriggerScaleUp before TriggeredScaleUp.
        """
        found = [
            one
            for one in self.seen.events
            if one.reason in reasons and uid and one.involved_object.uid == uid
        ]
        return sorted(found, key=lambda one: (one.last or self.now, one.reason))

    def is_since_the_sync(self, pod: Pod) -> bool:
        """Whether everything that this pod has lived through happened after the sync."""
        return not self.is_before_the_sync(pod.metadata.creation_timestamp)

    def is_before_the_sync(self, time: datetime | None) -> bool:
        """Whether something happened before the sync; what has no time did not."""
        if time is None or self.since is None:
            return False
        return (self.since - time).total_seconds() > CLOCKS_SECONDS


def missing_in(message: str, namespace: str) -> ObjectKey | None:
    """The object that a message says is not there, and whose coming would help."""
    match = MISSING.search(message)
    if match is None:
        return None
    return ObjectKey(group="", kind=KINDS[match[1]], namespace=namespace, name=match[2])


def one_line(text: str) -> str:
    """A cluster's text as one line that is not endless."""
    return " ".join(cut(text, MESSAGE_LENGTH).split())
