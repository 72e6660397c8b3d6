"""Pods, ReplicaSets and Events as an API server would show them, for tests that judge: what is not given is usual.

def test_an_image(): assert fault(pod(waits("ImagePullBackOff"))).container == "main"
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from towline.shared.model import Object
from towline.shared.pod_limits import USUAL, PodLimits
from towline.worker.health.case import Seen
from towline.worker.health.fault import Fault, Finding
from towline.worker.health.pod import Event, Pod, ReplicaSet
from towline.worker.health.pods import finding
from towline.worker.health.workload import workload_of

SYNC = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)  # when the sync that is judged began
HASH = "6b9c"


def at(seconds: float) -> str:
    """A time, counted from the sync."""
    return (SYNC + timedelta(seconds=seconds)).isoformat()


def deployment(**changes: Any) -> Object:
    """A Deployment whose controller has seen its newest change, at its revision 2."""
    metadata = {
        "name": "cart",
        "namespace": "shop",
        "uid": "d-1",
        "generation": 2,
        "annotations": {"deployment.kubernetes.io/revision": "2"},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "cart"}}}
    usual = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return {**usual, "status": {"observedGeneration": 2}, **changes}


def stateful_set(**changes: Any) -> Object:
    """A StatefulSet whose newest revision is `cart-2`."""
    metadata = {"name": "cart", "namespace": "shop", "uid": "s-1", "generation": 2}
    usual = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {}}
    return {**usual, "status": {"observedGeneration": 2, "updateRevision": "cart-2"}, **changes}


def daemon_set() -> Object:
    """A DaemonSet at the second generation of its template."""
    metadata = {
        "name": "cart",
        "namespace": "shop",
        "uid": "ds-1",
        "generation": 2,
        "annotations": {"deprecated.daemonset.template.generation": "2"},
    }
    usual = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": {}}
    return {**usual, "status": {"observedGeneration": 2}}


def job(*conditions: Mapping[str, str]) -> Object:
    """A Job with these conditions."""
    metadata = {"name": "cart", "namespace": "shop", "uid": "j-1", "generation": 1}
    status = {"conditions": list(conditions)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, "status": status}


def replica_set(revision: str = "2", *, refused: str = "", began: float = 0) -> ReplicaSet:
    """A ReplicaSet of the Deployment, `rs-<revision>`; `refused`: why it may not create pods."""
    conditions = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": refused,
            "lastTransitionTime": at(began),
        }
    ]
    metadata = {
        "name": f"cart-{revision}",
        "namespace": "shop",
        "uid": f"rs-{revision}",
        "annotations": {"deployment.kubernetes.io/revision": revision},
        "ownerReferences": [{"kind": "Deployment", "name": "cart", "uid": "d-1", "controller": True}],
    }
    status = {"conditions": conditions if refused else []}
    return msgspec.convert({"metadata": metadata, "status": status}, ReplicaSet)


def pod(
    *containers: Mapping[str, Any],
    init: tuple[Mapping[str, Any], ...] = (),
    owner: str = "rs-2",
    created: float = 0,
    metadata: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    **status: Any,
) -> Pod:
    """A pod of the newest revision, made with the sync; `status` adds to its status."""
    usual = {
        "name": "cart-2-x",
        "namespace": "shop",
        "uid": "p-1",
        "creationTimestamp": at(created),
        "ownerReferences": [{"kind": "ReplicaSet", "name": "any", "uid": owner, "controller": True}],
    }
    object = {
        "metadata": {**usual, **(metadata or {})},
        "spec": {"restartPolicy": "Always", **(spec or {})},
        "status": {
            "phase": "Pending",
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }
    return msgspec.convert(object, Pod)


def container(
    *, restarts: int = 0, ready: bool = False, last: Mapping[str, Any] | None = None, **state: Any
) -> Object:
    """The status of the container `main`: `waiting={...}`, `running={...}` or `terminated={...}`."""
    return {
        "name": "main",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def ended(
    code: int = 1, reason: str = "Error", *, seconds: float = 0, message: str = "", ran: float = 1
) -> Object:
    """A run of a container that has ended, after so many seconds."""
    times = {"startedAt": at(seconds - ran), "finishedAt": at(seconds)}
    return {"exitCode": code, "reason": reason, "message": message, **times}


def waits(reason: str, message: str = "") -> Object:
    """A container that waits."""
    return container(waiting={"reason": reason, "message": message})


def unschedulable(began: float = 0, message: str = "0/2 nodes are available") -> Object:
    """The condition of a pod that fits on no node."""
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": at(began),
    }


def event(
    reason: str,
    message: str = "",
    *,
    uid: str = "p-1",
    times: int = 1,
    first: float = 0,
    last: float | None = None,
    path: str = "",
) -> Event:
    """An Event about a pod, or another object of this uid."""
    object = {
        "involvedObject": {"uid": uid, "fieldPath": path},
        "reason": reason,
        "message": message,
        "count": times,
        "firstTimestamp": at(first),
        "lastTimestamp": at(first if last is None else last),
    }
    return msgspec.convert(object, Event)


def found(
    *pods: Pod,
    events: tuple[Event, ...] = (),
    sets: tuple[ReplicaSet, ...] = (),
    of: Object | None = None,
    seconds: float = 5,
    limits: PodLimits = USUAL,
) -> Finding:
    """What is found so many seconds after the sync; without `sets`, a Deployment's newest ReplicaSet is well."""
    workload = workload_of(deployment() if of is None else of)
    assert workload is not None
    seen = Seen(pods=pods, replica_sets=sets or (replica_set(),), events=events)
    return finding(workload, seen, now=SYNC + timedelta(seconds=seconds), since=SYNC, limits=limits)


def fault(*pods: Pod, **given: Any) -> Fault:
    """The fault that is found."""
    one = found(*pods, **given).fault
    assert one is not None
    return one
