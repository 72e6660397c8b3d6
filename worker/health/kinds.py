"""What each built-in kind looks like when it is healthy: a pure function of the object a kind.

Of kstatus' and Argo CD's rules the one that is right where they differ: a Deployment of 0 replicas is healthy as soon
as it was observed; a missed progress deadline is a failure; a declared pause is `suspended`; what may never come (an
Ingress' address, a load balancer's, a claim that waits for its first consumer) is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.shared.model import Health, Object

Judgement = tuple[Health, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One of `status.conditions`."""

    status: str
    reason: str
    message: str

    @property
    def text(self) -> str:
        """Reason and message as one line."""
        return ": ".join(part for part in (self.reason, self.message) if part)


def conditions_of(object: Object) -> Mapping[str, Condition]:
    """The conditions by type; what is not of the usual form is left out."""
    found = {}
    conditions = (object.get("status") or {}).get("conditions")
    for item in conditions if isinstance(conditions, list) else []:
        if isinstance(item, dict) and isinstance(item.get("type"), str):
            found[item["type"]] = Condition(
                status=str(item.get("status", "")),
                reason=str(item.get("reason", "")),
                message=str(item.get("message", "")),
            )
    return found


def integer(value: Any, default: int = 0) -> int:  # noqa: ANN401 - whatever a status holds
    """A count in a status, which is left out when it is 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def deployment(object: Object) -> Judgement:
    """apps/v1 Deployment."""
    spec, status, conditions = object.get("spec") or {}, object.get("status") or {}, conditions_of(object)
    wanted = integer(spec.get("replicas"), 1)
    if spec.get("paused"):
        return Health.SUSPENDED, "its rollout is paused"
    if "observedGeneration" not in status:
        return Health.PROGRESSING, "its controller has not seen it yet"
    progressing = conditions.get("Progressing")
    if progressing and progressing.reason == "ProgressDeadlineExceeded":
        return Health.FAILED, progressing.text
    updated, available = integer(status.get("updatedReplicas")), integer(status.get("availableReplicas"))
    if updated < wanted:
        return Health.PROGRESSING, f"{updated} of {wanted} replicas are new"
    if integer(status.get("replicas")) > updated:
        return Health.PROGRESSING, "old replicas are being ended"
    if available < updated:
        return Health.PROGRESSING, f"{available} of {updated} new replicas are available"
    return Health.HEALTHY, f"{available} of {wanted} replicas are available"


def stateful_set(object: Object) -> Judgement:
    """apps/v1 StatefulSet."""
    spec, status = object.get("spec") or {}, object.get("status") or {}
    wanted = integer(spec.get("replicas"), 1)
    strategy = spec.get("updateStrategy") or {}
    if "observedGeneration" not in status:
        return Health.PROGRESSING, "its controller has not seen it yet"
    ready = integer(status.get("readyReplicas"))
    if ready < wanted:
        return Health.PROGRESSING, f"{ready} of {wanted} replicas are ready"
    if strategy.get("type") == "OnDelete":
        return Health.HEALTHY, f"{ready} of {wanted} replicas are ready; updated when deleted"
    updated = integer(status.get("updatedReplicas"))
    due = wanted - integer((strategy.get("rollingUpdate") or {}).get("partition"))
    if updated < due:
        return Health.PROGRESSING, f"{updated} of {due} replicas are new"
    return Health.HEALTHY, f"{ready} of {wanted} replicas are ready"


def daemon_set(object: Object) -> Judgement:
    """apps/v1 DaemonSet."""
    spec, status = object.get("spec") or {}, object.get("status") or {}
    if "observedGeneration" not in status:
        return Health.PROGRESSING, "its controller has not seen it yet"
    wanted = integer(status.get("desiredNumberScheduled"))
    updated, available = integer(status.get("updatedNumberScheduled")), integer(status.get("numberAvailable"))
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return Health.PROGRESSING, f"{updated} of {wanted} pods are new"
    if available < wanted:
        return Health.PROGRESSING, f"{available} of {wanted} pods are available"
    return Health.HEALTHY, f"{available} of {wanted} pods are available"


def replica_set(object: Object) -> Judgement:
    """apps/v1 ReplicaSet."""
    failure = conditions_of(object).get("ReplicaFailure")
    if failure and failure.status == "True":
        return Health.FAILED, failure.text
    wanted = integer((object.get("spec") or {}).get("replicas"), 1)
    available = integer((object.get("status") or {}).get("availableReplicas"))
    health = Health.HEALTHY if available >= wanted else Health.PROGRESSING
    return health, f"{available} of {wanted} replicas are available"


def job(object: Object) -> Judgement:
    """batch/v1 Job."""
    conditions = conditions_of(object)
    if (failed := conditions.get("Failed")) and failed.status == "True":
        return Health.FAILED, failed.text
    if (complete := conditions.get("Complete")) and complete.status == "True":
        return Health.HEALTHY, "complete"
    if (object.get("spec") or {}).get("suspend"):
        return Health.SUSPENDED, "suspended"
    return Health.PROGRESSING, "runs"


def pod(object: Object) -> Judgement:
    """A Pod of its own."""
    status = object.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return Health.HEALTHY, "has ended well"
    if phase == "Failed":
        return Health.FAILED, str(status.get("message") or status.get("reason") or "has failed")
    ready = conditions_of(object).get("Ready")
    if phase == "Running" and ready and ready.status == "True":
        return Health.HEALTHY, "is ready"
    return Health.PROGRESSING, f"is {phase or 'new'}"


def claim(object: Object) -> Judgement:
    """PersistentVolumeClaim: one that waits for its first consumer is judged by its pods."""
    phase = (object.get("status") or {}).get("phase")
    if phase == "Lost":
        return Health.FAILED, "its volume is lost"
    return Health.HEALTHY, "is bound" if phase == "Bound" else "waits for its first consumer"


def definition(object: Object) -> Judgement:
    """CustomResourceDefinition."""
    conditions = conditions_of(object)
    if (names := conditions.get("NamesAccepted")) and names.status == "False":
        return Health.FAILED, names.text
    if (established := conditions.get("Established")) and established.status == "True":
        return Health.HEALTHY, "is served"
    return Health.PROGRESSING, "is not served yet"


RULES: Mapping[tuple[str, str], Callable[[Object], Judgement]] = {
    ("apps", "Deployment"): deployment,
    ("apps", "StatefulSet"): stateful_set,
    ("apps", "DaemonSet"): daemon_set,
    ("apps", "ReplicaSet"): replica_set,
    ("batch", "Job"): job,
    ("", "Pod"): pod,
    ("", "PersistentVolumeClaim"): claim,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definition,
}
