"""Health of what runs pods: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, Pod.

Of kstatus' and Argo CD's rules the one that is right where they differ: a Deployment of 0 replicas is healthy as soon
as it was observed; a missed progress deadline is a failure; a declared pause is `suspended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.shared.model import Health, Object
from towline.shared.objects import applied_entry
from towline.worker.health.status import (
    Condition,
    Judgement,
    conditions_of,
    integer,
    is_true,
    mapping,
    part,
    text,
)

UNSEEN: Judgement = (Health.PROGRESSING, "its controller has not seen it yet")


def deployment(object: Object) -> Judgement:
    """apps/v1 Deployment."""
    spec, status = part(object, "spec"), part(object, "status")
    wanted = integer(spec.get("replicas"), 1)
    if spec.get("paused") is True:
        return Health.SUSPENDED, "its rollout is paused"
    if "observedGeneration" not in status:
        return UNSEEN
    progressing = conditions_of(object).get("Progressing")
    if (
        progressing
        and progressing.reason == "ProgressDeadlineExceeded"
        and not _is_of_before(progressing, object)
    ):
        return Health.FAILED, progressing.text
    updated, available = integer(status.get("updatedReplicas")), integer(status.get("availableReplicas"))
    if updated < wanted:
        return Health.PROGRESSING, f"{updated} of {wanted} replicas are new"
    if integer(status.get("replicas")) > updated:
        return Health.PROGRESSING, "old replicas are being ended"
    if available < updated:
        return Health.PROGRESSING, f"{available} of {updated} new replicas are available"
    return Health.HEALTHY, f"{available} of {wanted} replicas are available"


def _is_of_before(progressing: Condition, object: Object) -> bool:
    """Whether a missed deadline is that of an earlier spec.

    A Deployment that goes back to a ReplicaSet which it still has keeps this condition, at the new generation already, until
    the first pod is made: only a new ReplicaSet resets it (kubernetes/pkg/controller/deployment/sync.go, getNewReplicaSet).
    A deadline is a second at least, so one of this spec is later than our apply, at the seconds in which both are written.
    """
    applied = text((applied_entry(object) or {}).get("time"))
    return bool(applied and progressing.updated) and progressing.updated <= applied


def stateful_set(object: Object) -> Judgement:
    """apps/v1 StatefulSet: an update that was declared to stop at a partition, or to wait for deletions, is done."""
    spec, status = part(object, "spec"), part(object, "status")
    wanted = integer(spec.get("replicas"), 1)
    strategy = mapping(spec.get("updateStrategy"))
    if not integer(status.get("observedGeneration")):
        return UNSEEN
    ready, replicas = integer(status.get("readyReplicas")), integer(status.get("replicas"))
    if ready < wanted:
        return Health.PROGRESSING, f"{ready} of {wanted} replicas are ready"
    if replicas > wanted:
        return Health.PROGRESSING, f"{replicas - wanted} replicas are being ended"
    if strategy.get("type") == "OnDelete":
        return Health.HEALTHY, f"{ready} of {wanted} replicas are ready; updated when deleted"
    updated, due = integer(status.get("updatedReplicas")), wanted - _partition(strategy)
    # After a rollout without a partition the controller counts the new replicas as current ones, and not as updated.
    if updated < due and status.get("updateRevision") != status.get("currentRevision"):
        return Health.PROGRESSING, f"{updated} of {due} replicas are new"
    return Health.HEALTHY, f"{ready} of {wanted} replicas are ready"


def _partition(strategy: Mapping[str, Any]) -> int:
    return integer(mapping(strategy.get("rollingUpdate")).get("partition"))


def daemon_set(object: Object) -> Judgement:
    """apps/v1 DaemonSet."""
    spec, status = part(object, "spec"), part(object, "status")
    if "observedGeneration" not in status:
        return UNSEEN
    wanted = integer(status.get("desiredNumberScheduled"))
    updated, available = integer(status.get("updatedNumberScheduled")), integer(status.get("numberAvailable"))
    if mapping(spec.get("updateStrategy")).get("type") != "OnDelete" and updated < wanted:
        return Health.PROGRESSING, f"{updated} of {wanted} pods are new"
    if available < wanted:
        return Health.PROGRESSING, f"{available} of {wanted} pods are available"
    return Health.HEALTHY, f"{available} of {wanted} pods are available"


def replica_set(object: Object) -> Judgement:
    """apps/v1 ReplicaSet and v1 ReplicationController."""
    if failure := is_true(conditions_of(object), "ReplicaFailure"):
        return Health.FAILED, failure.text
    status = part(object, "status")
    if "observedGeneration" not in status:
        return UNSEEN
    wanted = integer(part(object, "spec").get("replicas"), 1)
    available = integer(status.get("availableReplicas"))
    health = Health.HEALTHY if available >= wanted else Health.PROGRESSING
    return health, f"{available} of {wanted} replicas are available"


def job(object: Object) -> Judgement:
    """batch/v1 Job. One that ended and was removed by its TTL is not there to be judged: that is not success."""
    conditions = conditions_of(object)
    for name in ("Failed", "FailureTarget"):
        if failed := is_true(conditions, name):
            return Health.FAILED, failed.text or "has failed"
    if is_true(conditions, "Complete"):
        return Health.HEALTHY, "complete"
    if part(object, "spec").get("suspend") is True or is_true(conditions, "Suspended"):
        return Health.SUSPENDED, "is suspended"
    return Health.PROGRESSING, "runs" if part(object, "status").get("active") else "has not started yet"


def cron_job(object: Object) -> Judgement:
    """batch/v1 CronJob: only a run that was the last one and did not succeed is a failure."""
    status = part(object, "status")
    if part(object, "spec").get("suspend") is True:
        return Health.SUSPENDED, "is suspended"
    scheduled, succeeded = text(status.get("lastScheduleTime")), text(status.get("lastSuccessfulTime"))
    if not scheduled:
        return Health.HEALTHY, "waits for its first run"
    if status.get("active"):
        return Health.HEALTHY, "a run of it is under way"
    if not succeeded:
        return Health.HEALTHY, "no run of it has succeeded yet"
    if succeeded < scheduled:  # both are RFC 3339 in UTC
        return Health.FAILED, f"its run of {scheduled} did not succeed"
    return Health.HEALTHY, f"its run of {scheduled} succeeded"


def last_run(object: Object) -> str:
    """When the run was due that a CronJob is judged by, "" for other kinds."""
    return text(part(object, "status").get("lastScheduleTime")) if object.get("kind") == "CronJob" else ""


def pod(object: Object) -> Judgement:
    """A Pod of its own; pods of workloads are looked at in pods.py."""
    status = part(object, "status")
    phase = status.get("phase")
    if phase == "Succeeded":
        return Health.HEALTHY, "has ended well"
    if phase == "Failed":
        return Health.FAILED, text(status.get("message")) or text(status.get("reason")) or "has failed"
    restarts = part(object, "spec").get("restartPolicy", "Always") == "Always"
    if restarts and (broken := _broken(status)):
        return Health.FAILED, broken
    if phase == "Running" and restarts and is_true(conditions_of(object), "Ready"):
        return Health.HEALTHY, "is ready"
    if phase not in ("Pending", "Running", None):
        return Health.UNKNOWN, "its node does not report"
    return Health.PROGRESSING, f"is {phase or 'new'}"


def _broken(status: Mapping[str, Any]) -> str:
    """Why a container does not start, when it is tried again and again."""
    found = status.get("containerStatuses")
    for container in found if isinstance(found, list) else ():
        waiting = mapping(mapping(mapping(container).get("state")).get("waiting"))
        reason = text(waiting.get("reason"))
        if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
            return ": ".join(each for each in (reason, text(waiting.get("message"))) if each)
    return ""
