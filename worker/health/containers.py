"""Judges one container of a new pod: its image, its start, its crashes. Pure.

In: a Case and a container. Out: a Finding of each rule. The words are the kubelet's: pkg/kubelet/images/types.go,
pkg/kubelet/container/sync_result.go, pkg/kubelet/events/event.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from towline.shared.pod_limits import PodLimits
from towline.worker.health.case import Case, missing_in, one_line
from towline.worker.health.fault import NOTHING, Fault, Finding
from towline.worker.health.pod import ContainerStatus, Event, Pod, Terminated, Waiting

PULL_NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
PULL = PULL_NEVER | {
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
LOOP = "CrashLoopBackOff"
OUT_OF_MEMORY = "OOMKilled"
LONG_RUN = timedelta(minutes=10)  # the kubelet itself takes what ends after that for no loop
FAILED = frozenset({"Failed"})  # the reason of the kubelet's Events about images and starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a pod, and how it is."""

    pod: Pod
    status: ContainerStatus
    is_init: bool

    @property
    def waiting(self) -> Waiting:
        """Why it waits, in empty words when it does not."""
        return self.status.state.waiting or Waiting()

    def fault(self, reason: str, what: str, message: str = "") -> Fault:
        """A fault of it."""
        end = self.status.last_end
        return Fault(
            object=self.pod.key,
            container=self.status.name,
            reason=reason,
            exit_code=end.exit_code if end else None,
            what=what,
            message=one_line(message),
            missing=missing_in(message, self.pod.metadata.namespace),
            has_ended=end is not None,
            is_previous=self.status.state.terminated is None,
        )


def _pull(case: Case, container: Container) -> Finding:
    """Its image cannot be had: at once where trying again is of no use, else after the tries that are allowed."""
    waiting = container.waiting
    if waiting.reason not in PULL:
        return NOTHING
    failures = [
        one
        for one in case.events(container.pod.metadata.uid, FAILED)
        if one.message.startswith("Failed to pull image") and _is_about(one, container.status.name)
    ]
    tries = max(sum(one.times for one in failures), 2 if waiting.reason == "ImagePullBackOff" else 1)
    if waiting.reason not in PULL_NEVER and tries < case.limits.image_pull_tries:
        return NOTHING
    # Before Kubernetes 1.31 the state says no more than "Back-off pulling image ...".
    is_bare = ": " not in waiting.message
    message = failures[-1].message if failures and is_bare else waiting.message
    return Finding(fault=container.fault(waiting.reason, f"is in {waiting.reason}", message))


def _start(case: Case, container: Container) -> Finding:
    """It cannot be created or started."""
    waiting, status, limits = container.waiting, container.status, case.limits
    if waiting.reason in ON_ITS_WAY | PULL or waiting.reason == LOOP:
        return NOTHING
    fault = container.fault(waiting.reason, f"is in {waiting.reason}", waiting.message)
    if status.restart_count >= max(limits.crash_restarts, 1) and case.is_since_the_sync(container.pod):
        return Finding(fault=fault)
    return case.lasting(fault, _start_began(case, container), limits.start_error_seconds)


def _start_began(case: Case, container: Container) -> datetime | None:
    """When it could not be started first: the state itself has no time."""
    pod, end = container.pod, container.status.last_end
    told = [
        one.first
        for one in case.events(pod.metadata.uid, FAILED)
        if container.waiting.message and container.waiting.message in one.message
    ]
    ready = None if container.is_init else pod.condition("Initialized")
    times = [
        told[0] if told else None,
        end.finished_at if end else None,
        ready.last_transition_time if ready and ready.status == "True" else None,
        pod.status.start_time,
        pod.metadata.creation_timestamp,
    ]
    return next((one for one in times if one is not None), None)


def _crash(case: Case, container: Container) -> Finding:
    """It ends again and again. A Job's containers may: its backoffLimit says how often."""
    status, limits = container.status, case.limits
    if case.workload.kind == "Job" or not case.is_since_the_sync(container.pod):
        return NOTHING
    if _has_stopped(status):
        if status.restart_count >= _restarts_allowed(container, limits):
            return Finding(fault=_crash_fault(container))
        if status.state.terminated and container.pod.spec.restart_policy == "Always":
            # Whoever should have started it again does not.
            began = status.state.terminated.finished_at
            return case.lasting(_crash_fault(container), began, limits.start_error_seconds)
    # One that runs gets its chance; started so often, it was a loop that nobody saw.
    elif _is_unsteady(status) and status.restart_count > limits.crash_restarts:
        return Finding(fault=_crash_fault(container))
    return NOTHING


def _restarts_allowed(container: Container, limits: PodLimits) -> int:
    """Memory does not come back by itself: the second time is enough, and the first where it should run once."""
    end = container.status.last_end
    if end is None or end.reason != OUT_OF_MEMORY:
        return limits.crash_restarts
    runs_once = container.is_init or container.pod.spec.restart_policy == "Never"
    return 0 if runs_once else min(limits.crash_restarts, 1)


def _has_stopped(status: ContainerStatus) -> bool:
    if status.state.waiting is not None:
        return status.state.waiting.reason == LOOP
    return status.state.terminated is not None and _ended_soon(status.state.terminated)


def _is_unsteady(status: ContainerStatus) -> bool:
    end = status.last_end
    return status.state.running is not None and not status.ready and end is not None and _ended_soon(end)


def _ended_soon(end: Terminated) -> bool:
    """Whether a run ended badly and not after a long time: a container that crashes once a week is in no loop."""
    if (
        end.started_at is not None
        and end.finished_at is not None
        and end.finished_at - end.started_at >= LONG_RUN
    ):
        return False
    return is_bad(end)


def is_bad(end: Terminated) -> bool:
    """Whether a run did not end well."""
    return end.exit_code != 0 or end.reason == OUT_OF_MEMORY


def _crash_fault(container: Container) -> Fault:
    status, end = container.status, container.status.last_end
    times = status.restart_count + (status.state.running is None)
    often = "once" if times <= 1 else f"{times} times"
    if end is None:
        return container.fault(LOOP, f"ended {often} ({LOOP})")
    if end.reason == OUT_OF_MEMORY:
        what = f"was killed for using too much memory {often} (OOMKilled, exit code {end.exit_code})"
        return container.fault(OUT_OF_MEMORY, what, end.message)
    last = f"exit code {end.exit_code}" + (f", {end.reason}" if end.reason else "")
    return container.fault(LOOP, f"ended {often}, at last with {last}", end.message)


def _is_about(event: Event, container: str) -> bool:
    path = event.involved_object.field_path
    return not path or path.endswith(f"{{{container}}}")


Rule = Callable[[Case, Container], Finding]
RULES: tuple[Rule, ...] = (_pull, _start, _crash)
