"""Judges the pods of a workload's newest revision: a failure is seen in seconds, not when a progress deadline is over.

In: a workload, what was seen of it (pods, ReplicaSets, Events), limits, the time now and the time of the sync. Out: a
Finding. Pure: nothing is asked, nothing is kept, and odd values never raise.

The order of the rules is the order of the causes: that no pod may be made comes before what a pod is in, and what a
container says comes before where its pod is. What happened before the sync is not its fault.

The words are those of the kubelet's, the controllers' and the autoscalers' conditions and Events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from towline.shared.model import ObjectKey
from towline.shared.pod_limits import USUAL, PodLimits
from towline.worker.health.case import Case, Seen, missing_in, one_line
from towline.worker.health.containers import OUT_OF_MEMORY, RULES, Container, is_bad
from towline.worker.health.fault import NOTHING, Fault, Finding, first_of
from towline.worker.health.pod import ContainerStatus, Pod
from towline.worker.health.workload import Workload, new_pods, new_sets

PODS_ASKED = 3  # of a revision, whose pods usually fail alike

MOUNT = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
MOUNT_TRIES = 3
MISSING_TRIES = 2  # where a Secret or ConfigMap is not there: it may be on its way
STILL_ATTACHED = "Multi-Attach error"  # to the node of an older pod, from which it will be detached

# cluster-autoscaler says TriggeredScaleUp or NotTriggerScaleUp, Karpenter says Nominated.
NODE_COMES = frozenset({"TriggeredScaleUp", "Nominated"})
NODE_DECISIONS = NODE_COMES | {"NotTriggerScaleUp"}

REFUSED = frozenset({"FailedCreate"})
# A refusal is a decision. A webhook that does not answer is none: it may be back at the next try.
REFUSAL = re.compile(r"is forbidden|denied the request|is invalid|exceeded quota|violates PodSecurity")
UNDECIDED = "failed calling webhook"
QUOTA = "exceeded quota"

# Pods that a node gave up for its own reasons; whoever made them makes others.
GIVEN_UP = frozenset({"Preempting", "NodeShutdown", "Shutdown", "Terminated", "NodeLost", "NodeAffinity"})


def finding(
    workload: Workload,
    seen: Seen,
    *,
    now: datetime,
    since: datetime | None = None,
    limits: PodLimits = USUAL,
) -> Finding:
    """What the pods of its newest revision tell about a workload that is not healthy.

    `since`: when the sync that is judged began; restarts and waiting before it do not count.
    """
    pods = new_pods(workload, seen.replica_sets, seen.pods)
    case = Case(workload=workload, seen=seen, limits=limits, now=now, since=since, pods=pods)
    return first_of(_findings(case))


def asked_about(workload: Workload, seen: Seen) -> tuple[str, ...]:
    """The uids of what Events could tell more about: some of the pods that do not start, and who may not make any."""
    pending = [
        pod.metadata.uid
        for pod in new_pods(workload, seen.replica_sets, seen.pods)
        if pod.status.phase in ("", "Pending") and pod.metadata.uid
    ]
    maker = (workload.uid,) if workload.kind not in ("Deployment", "Pod") and workload.uid else ()
    return (*maker, *pending[:PODS_ASKED])


def _findings(case: Case) -> Iterator[Finding]:
    yield _job(case)
    yield _refused(case)
    for pod in case.pods:
        yield from _pod(case, pod)
    yield _failed_pods(case)


def _pod(case: Case, pod: Pod) -> Iterator[Finding]:
    if pod.status.phase in ("Succeeded", "Failed"):
        return
    for is_init, statuses in (
        (True, pod.status.init_container_statuses),
        (False, pod.status.container_statuses),
    ):
        for status in statuses:
            container = Container(pod=pod, status=status, is_init=is_init)
            yield from (rule(case, container) for rule in RULES)
    yield _mount(case, pod)
    yield _unschedulable(case, pod)


def _mount(case: Case, pod: Pod) -> Finding:
    """A volume cannot be mounted; told by Events alone, which go on for an hour after it was."""
    if pod.status.phase not in ("", "Pending") or any(_has_run(one) for one in pod.status.container_statuses):
        return NOTHING
    told = [one for one in case.events(pod.metadata.uid, MOUNT) if not one.message.startswith(STILL_ATTACHED)]
    if not told:
        return NOTHING
    last, tries = told[-1], sum(one.times for one in told)
    missing = missing_in(last.message, pod.metadata.namespace)
    fault = Fault(
        object=pod.key,
        reason=last.reason,
        what=f"cannot mount a volume ({last.reason}, {tries} times)"
        if tries > 1
        else "cannot mount a volume",
        message=one_line(last.message),
        missing=missing,
    )
    limits = case.limits
    needed, seconds = (
        (MISSING_TRIES, limits.start_error_seconds) if missing else (MOUNT_TRIES, limits.mount_error_seconds)
    )
    if tries < needed:
        return NOTHING
    return case.lasting(fault, min((one.first for one in told if one.first), default=None), seconds)


def _has_run(status: ContainerStatus) -> bool:
    return status.state.running is not None or status.last_end is not None


def _unschedulable(case: Case, pod: Pod) -> Finding:
    """No node takes it, and none is on its way that would."""
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return NOTHING
    decisions = case.events(pod.metadata.uid, NODE_DECISIONS)
    if pod.status.nominated_node_name or (decisions and decisions[-1].reason in NODE_COMES):
        return NOTHING
    fault = Fault(
        object=pod.key,
        reason=scheduled.reason,
        what="fits on no node",
        message=one_line(scheduled.message),
        missing=missing_in(scheduled.message, pod.metadata.namespace),
    )
    return case.lasting(fault, scheduled.last_transition_time, case.limits.unschedulable_seconds)


def _failed_pods(case: Case) -> Finding:
    """Pods that have ended for good: one of its own, or so many that whoever replaces them does it in vain."""
    is_alone = case.workload.kind == "Pod"
    failed = [
        pod
        for pod in case.pods
        if pod.status.phase == "Failed"
        and (is_alone or (pod.status.reason not in GIVEN_UP and case.is_since_the_sync(pod)))
    ]
    enough = 1 if is_alone else max(case.limits.crash_restarts, 1)
    if case.workload.kind == "Job" or len(failed) < enough:
        return NOTHING
    pod = max(failed, key=lambda one: (one.metadata.creation_timestamp or case.now, one.name))
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    reason = pod.status.reason or "Failed"
    return Finding(
        fault=_ended_pod(pod, reason=reason, what=f"has failed: {reason}{others}", message=pod.status.message)
    )


def _ended_pod(pod: Pod, *, reason: str, what: str, message: str) -> Fault:
    """A fault of a pod that has ended, with the container that ended badly."""
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        end = status.last_end
        if end is not None and is_bad(end):
            why = f", {end.reason}" if end.reason else ""
            return Fault(
                object=pod.key,
                container=status.name,
                reason=OUT_OF_MEMORY if end.reason == OUT_OF_MEMORY else reason,
                exit_code=end.exit_code,
                what=f"ended with exit code {end.exit_code}{why}; the pod {what}",
                message=one_line(end.message or message),
                has_ended=True,
            )
    return Fault(object=pod.key, reason=reason, what=what, message=one_line(message))


def _job(case: Case) -> Finding:
    """A Job that has failed, or will when its pods have ended."""
    failure = case.workload.failure
    if failure is None:
        return NOTHING
    reason, message = failure
    what = f"has failed ({reason})"
    failed = [pod for pod in case.pods if pod.status.phase == "Failed"]
    if failed:
        pod = max(failed, key=lambda one: (one.metadata.creation_timestamp or case.now, one.name))
        return Finding(
            fault=_ended_pod(pod, reason=reason, what=f"failed, and so its Job {what}", message=message)
        )
    return Finding(fault=Fault(object=case.workload.key, reason=reason, what=what, message=one_line(message)))


def _refused(case: Case) -> Finding:
    """Quota or admission lets no (more) pods be made."""
    told = _refusal(case)
    if told is None:
        return NOTHING
    object, message, began = told
    if UNDECIDED in message or not REFUSAL.search(message):
        return NOTHING
    fault = Fault(
        object=object,
        reason="FailedCreate",
        what="may not create its pods",
        message=one_line(message),
        missing=missing_in(message, case.workload.key.namespace),
    )
    if QUOTA in message and any(pod.is_terminating for pod in case.seen.pods):
        return Finding(look_again_at=case.now + timedelta(seconds=case.limits.create_refused_seconds))
    return case.lasting(fault, began, case.limits.create_refused_seconds)


def _refusal(case: Case) -> tuple[ObjectKey, str, datetime | None] | None:
    """What could not make a pod, what it was told, and since when."""
    workload = case.workload
    for one in new_sets(workload, case.seen.replica_sets):
        condition = one.condition("ReplicaFailure")
        if condition is not None and condition.status == "True":
            return one.key, condition.message, condition.last_transition_time
    if workload.kind == "Deployment" or not workload.is_observed:
        return None
    told = case.events(workload.uid, REFUSED)
    if not told or case.is_before_the_sync(told[-1].last) or _was_made_since(case, told[-1].last):
        return None
    return workload.key, told[-1].message, min((one.first for one in told if one.first), default=None)


def _was_made_since(case: Case, time: datetime | None) -> bool:
    """Whether a new pod could be made after all; of one second it may be either, and a refusal is told again."""
    made = [pod.metadata.creation_timestamp for pod in case.pods]
    return time is not None and any(one is not None and one >= time for one in made)
