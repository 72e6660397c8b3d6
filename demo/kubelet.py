"""The pretended kubelet: pods become ready, or wait for an image that is not there, in the words of a real one.

In: the pods of the cluster. Out: what a kubelet would write next. No container runs. The shop's registry has the images
whose tag is a version number, and no others; all other registries have everything.

State: when each pod was first seen as it is, so that the next step is taken after its time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator

from towline.demo.managed import now
from towline.demo.request import Object, Refusal
from towline.demo.writes import Create, Report, Status, Write, condition, controller_of, name_of

ROLLOUT_SECONDS = 0.3  # from a pod to containers that are ready, or to an image that was not found
RETRY_SECONDS = 0.3  # from the first try to the next; a real kubelet waits for 10 s

# tests/data/kwok has the same rule, for the demo on a real API server.
REGISTRY = "registry.orchard.example/"
VERSION = re.compile(r":[0-9]+(\.[0-9]+)*$")

STARTING, FIRST_TRY, BACK_OFF = "ContainerCreating", "ErrImagePull", "ImagePullBackOff"
NEW, RUNNING, RUNNING_JOB, SUCCEEDED = "Pending", "Running", "Running a Job", "Succeeded"
FINAL = (BACK_OFF, RUNNING, SUCCEEDED)


class Kubelet:
    """The only node's."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def turn(self, pods: Iterable[Object], *, at: float) -> Iterator[Write]:
        """What is due by now; `at` counts seconds."""
        before, self._since = self._since, {}
        for pod in pods:
            uid, stands = pod["metadata"]["uid"], _stands(pod)
            seen, since = before.get(uid, (stands, at))
            self._since[uid] = (stands, since if seen == stands else at)
            yield from _next(pod, stands, seconds=at - self._since[uid][1])

    @property
    def is_busy(self) -> bool:
        """Whether a pod waits for its next step."""
        return any(stands not in FINAL for stands, _ in self._since.values())


def is_missing(container: Object) -> bool:
    """Whether a registry does not have the image of a container."""
    image = container["image"]
    return image.startswith(REGISTRY) and not VERSION.search(image)


def log_of(pod: Object, container: str, *, previous: bool) -> str:
    """What a container has written: nothing, since none runs. Refusal 400 for one that has not started."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    runs = any(one["name"] == container and "waiting" not in one["state"] for one in statuses)
    if previous or not runs:
        what = "previous terminated container" if previous else "running container"
        raise Refusal(400, "BadRequest", f'{what} "{container}" in pod "{name_of(pod)}" not found')
    return ""


def _stands(pod: Object) -> str:
    """Where a pod is on its way."""
    status = pod.get("status") or {}
    reasons = [
        (one["state"].get("waiting") or {}).get("reason") for one in status.get("containerStatuses") or ()
    ]
    waits = next((one for one in (BACK_OFF, FIRST_TRY, STARTING) if one in reasons), None)
    is_job = status.get("phase") == RUNNING and controller_of(pod).get("kind") == "Job"
    return waits or (RUNNING_JOB if is_job else str(status.get("phase")))


def _next(pod: Object, stands: str, *, seconds: float) -> Iterator[Write]:
    if stands == NEW:
        yield _status(pod, "Pending", lambda _: _waiting(STARTING), ready=False)
    elif stands == STARTING and seconds >= ROLLOUT_SECONDS:
        yield from _pulled(pod)
    elif stands == FIRST_TRY and seconds >= RETRY_SECONDS:
        yield from _not_pulled(pod, BACK_OFF)
    elif stands == RUNNING_JOB and seconds >= ROLLOUT_SECONDS:
        end = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now()}}
        yield _status(pod, SUCCEEDED, lambda _: end, ready=False)


def _pulled(pod: Object) -> Iterator[Write]:
    if any(is_missing(one) for one in pod["spec"]["containers"]):
        yield from _not_pulled(pod, FIRST_TRY)
    else:
        yield _status(pod, RUNNING, lambda _: _running(), ready=True)


def _not_pulled(pod: Object, reason: str) -> Iterator[Write]:
    def state(container: Object) -> Status:
        return _waiting(reason, _why(container, reason)) if is_missing(container) else _running()

    yield _status(pod, "Pending", state, ready=False)
    for container in filter(is_missing, pod["spec"]["containers"]):
        yield _warning(pod, container, reason)


def _waiting(reason: str, message: str = "") -> Status:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _running() -> Status:
    return {"running": {"startedAt": now()}}


def _why(container: Object, reason: str) -> str:
    image = container["image"]
    cause = f'failed to resolve reference "{image}": {image}: not found'
    return cause if reason == FIRST_TRY else f'Back-off pulling image "{image}": {FIRST_TRY}: {cause}'


def _status(pod: Object, phase: str, state: Callable[[Object], Status], *, ready: bool) -> Report:
    before = pod.get("status") or {}
    conditions = [condition(before, "PodScheduled", True, ""), condition(before, "Initialized", True, "")]
    reason = "" if ready else "ContainersNotReady"
    conditions += [condition(before, type_, ready, reason) for type_ in ("ContainersReady", "Ready")]
    statuses = [
        {
            "name": container["name"],
            "image": container["image"],
            "ready": ready,
            "restartCount": 0,
            "state": state(container),
        }
        for container in pod["spec"]["containers"]
    ]
    started = before.get("startTime") or now()
    shown = {"phase": phase, "startTime": started, "conditions": conditions, "containerStatuses": statuses}
    return Report(pod, shown)


def _warning(pod: Object, container: Object, reason: str) -> Create:
    """The Event that says why an image was not pulled."""
    failed = reason == FIRST_TRY
    why = _why(container, reason)
    metadata = pod["metadata"]
    involved = {name: metadata[name] for name in ("name", "namespace", "uid")}
    path = f"spec.containers{{{container['name']}}}"
    name = f"{name_of(pod)}.{time.time_ns():x}"  # as real ones: in the order of time
    return Create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", **involved, "fieldPath": path},
            "type": "Warning",
            "reason": "Failed" if failed else "BackOff",
            "message": f'Failed to pull image "{container["image"]}": {why}' if failed else why,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": {"component": "kubelet"},
        }
    )
