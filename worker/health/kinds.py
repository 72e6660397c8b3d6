"""Health of Kubernetes' own kinds that need more than conditions: addresses, volumes, autoscalers, apps.

What may never come (an Ingress' address or a load balancer's where nobody gives them, a volume that waits for its first
consumer, metrics in a cluster that has none) is not waited for: it is healthy, with a note.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from towline.shared.model import Health, Object
from towline.worker.health import apps
from towline.worker.health.status import (
    Condition,
    Judgement,
    conditions_of,
    entries,
    integer,
    is_true,
    mapping,
    part,
)
from towline.worker.health.surroundings import INGRESS, SERVICE, Gives, address_class, address_of

HPA_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"  # where autoscaling/v1 keeps them, as JSON
HPA_CONDITIONS_BYTES = 16_384
CANNOT_SCALE = frozenset({"FailedGetScale", "FailedUpdateScale", "InvalidSelector", "AmbiguousSelector"})
WAITS_FOR_ADDRESS: Judgement = (
    Health.PROGRESSING,
    "waits for an address, as others of its class have one",
)


def service(object: Object, gives: Gives) -> Judgement:
    """v1 Service."""
    spec = part(object, "spec")
    if spec.get("type") != "LoadBalancer":
        return Health.HEALTHY, "exists"
    if address := address_of(object):
        return Health.HEALTHY, f"has the address {address}"
    if not spec.get("clusterIP"):
        return Health.PROGRESSING, "waits for its cluster IP"
    if gives(address_class(SERVICE, object)):
        return WAITS_FOR_ADDRESS
    return Health.HEALTHY, "has its cluster IP; no address of a load balancer (none is waited for)"


def ingress(object: Object, gives: Gives) -> Judgement:
    """networking.k8s.io Ingress (and the older groups)."""
    if address := address_of(object):
        return Health.HEALTHY, f"has the address {address}"
    if gives(address_class(INGRESS, object)):
        return WAITS_FOR_ADDRESS
    return Health.HEALTHY, "has no address (none is waited for)"


def claim(object: Object, _: Gives) -> Judgement:
    """PersistentVolumeClaim: one that waits for its first consumer is judged by its pods."""
    phase = part(object, "status").get("phase")
    if phase == "Lost":
        return Health.FAILED, "its volume is lost"
    if phase == "Bound":
        return Health.HEALTHY, "is bound"
    return Health.HEALTHY, "is not bound yet: its pods wait for it"


def autoscaler(object: Object, _: Gives) -> Judgement:
    """HorizontalPodAutoscaler; without metrics it leaves the replicas as they are, which is not this revision's fault."""
    conditions = _autoscaler_conditions(object)
    for condition in conditions.values():
        if condition.status == "False" and condition.reason in CANNOT_SCALE:
            return Health.FAILED, condition.text
    active = conditions.get("ScalingActive")
    if active and active.status == "False":
        return Health.HEALTHY, f"does not scale now: {active.text}"
    if found := is_true(conditions, "AbleToScale") or is_true(conditions, "ScalingLimited"):
        return Health.HEALTHY, found.text
    if integer(part(object, "status").get("currentReplicas")):
        return Health.HEALTHY, "scales"
    return Health.PROGRESSING, "has not looked at its target yet"


def _autoscaler_conditions(object: Object) -> Mapping[str, Condition]:
    annotation = mapping(part(object, "metadata").get("annotations")).get(HPA_CONDITIONS)
    if not isinstance(annotation, str) or len(annotation) > HPA_CONDITIONS_BYTES:
        return conditions_of(object)
    try:
        return {each.type: each for each in entries(json.loads(annotation), None)}
    except (ValueError, RecursionError):
        return {}


Rule = Callable[[Object, Gives], Judgement]


def _alone(rule: Callable[[Object], Judgement]) -> Rule:
    """A rule that needs no surroundings."""
    return lambda object, _: rule(object)


RULES: Mapping[tuple[str, str], Rule] = {
    ("", "Service"): service,
    ("", "PersistentVolumeClaim"): claim,
    ("networking.k8s.io", "Ingress"): ingress,
    ("extensions", "Ingress"): ingress,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaler,
    ("apps", "Deployment"): _alone(apps.deployment),
    ("extensions", "Deployment"): _alone(apps.deployment),
    ("apps", "StatefulSet"): _alone(apps.stateful_set),
    ("apps", "DaemonSet"): _alone(apps.daemon_set),
    ("extensions", "DaemonSet"): _alone(apps.daemon_set),
    ("apps", "ReplicaSet"): _alone(apps.replica_set),
    ("", "ReplicationController"): _alone(apps.replica_set),
    ("batch", "Job"): _alone(apps.job),
    ("batch", "CronJob"): _alone(apps.cron_job),
    ("", "Pod"): _alone(apps.pod),
}
