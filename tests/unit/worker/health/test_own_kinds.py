"""Health of Kubernetes' own kinds: what differs between kstatus and Argo CD, and what never comes."""

from __future__ import annotations

from typing import Any

import pytest
from parts.custom_objects import condition

from towline.shared.model import Health, Object
from towline.worker.health.surroundings import AddressClass
from towline.worker.health.verdict import judge


def own(kind: str, api: str = "v1", **parts: Any) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "it", "generation": 2}, **parts}


def conditions(*lines: str) -> list[dict[str, Any]]:
    return [condition(line) for line in lines]


def workload(kind: str, status: dict[str, Any], **spec: Any) -> Object:
    return own(kind, "apps/v1", spec=spec, status={"observedGeneration": 2, **status})


DONE = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
ROLLED_OUT = {"updateRevision": "b", "currentRevision": "a"}


def late(*, said: str, applied: str) -> Object:
    """A Deployment whose deadline was missed then, and which we applied at that time."""
    missed = {**condition("Progressing=False ProgressDeadlineExceeded"), "lastUpdateTime": said}
    entry = {"manager": "towline", "operation": "Apply", "time": applied}
    deployment = workload("Deployment", {"conditions": [missed]}, replicas=1)
    return {**deployment, "metadata": {**deployment["metadata"], "managedFields": [entry]}}


NOON, LATER = "2026-11-25T12:00:00Z", "2026-11-25T12:00:01Z"

CASES: list[tuple[str, Object, Health]] = [
    ("deployment", workload("Deployment", DONE, replicas=3), Health.HEALTHY),
    ("deployment of none", workload("Deployment", {}, replicas=0), Health.HEALTHY),
    ("deployment unseen", own("Deployment", "apps/v1", spec={"replicas": 0}), Health.PROGRESSING),
    ("deployment paused", workload("Deployment", {}, replicas=3, paused=True), Health.SUSPENDED),
    ("deployment with old pods", workload("Deployment", {**DONE, "replicas": 4}, replicas=3), Health.PROGRESSING),
    ("deployment too few new", workload("Deployment", {**DONE, "updatedReplicas": 1}, replicas=3), Health.PROGRESSING),
    (
        "deployment too late",
        workload("Deployment", {"conditions": conditions("Progressing=False ProgressDeadlineExceeded")}),
        Health.FAILED,
    ),
    ("deployment too late with this spec", late(said=LATER, applied=NOON), Health.FAILED),
    ("deployment that was too late before", late(said=NOON, applied=LATER), Health.PROGRESSING),
    ("deployment that was too late in that second", late(said=NOON, applied=NOON), Health.PROGRESSING),
    ("set", workload("StatefulSet", DONE, replicas=3), Health.HEALTHY),
    ("set scaled down", workload("StatefulSet", DONE, replicas=2), Health.PROGRESSING),
    ("set rolling", workload("StatefulSet", {**DONE, **ROLLED_OUT, "updatedReplicas": 1}, replicas=3), Health.PROGRESSING),
    (
        "set at its partition",
        workload(
            "StatefulSet",
            {**DONE, **ROLLED_OUT, "updatedReplicas": 1},
            replicas=3,
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        ),
        Health.HEALTHY,
    ),
    (
        "set updated when deleted",
        workload("StatefulSet", {**DONE, **ROLLED_OUT, "updatedReplicas": 0}, replicas=3, updateStrategy={"type": "OnDelete"}),
        Health.HEALTHY,
    ),
    ("daemons", workload("DaemonSet", {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}), Health.HEALTHY),
    ("daemons without a node", workload("DaemonSet", {"desiredNumberScheduled": 0}), Health.HEALTHY),
    ("daemons rolling", workload("DaemonSet", {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}), Health.PROGRESSING),
    ("replicas", workload("ReplicaSet", {"availableReplicas": 1}), Health.HEALTHY),
    ("replicas refused", workload("ReplicaSet", {"conditions": conditions("ReplicaFailure=True FailedCreate: quota")}), Health.FAILED),
    ("controller", own("ReplicationController", spec={"replicas": 2}, status={"observedGeneration": 2, "availableReplicas": 1}), Health.PROGRESSING),
    ("job", own("Job", "batch/v1", status={"conditions": conditions("Complete=True")}), Health.HEALTHY),
    ("job failed", own("Job", "batch/v1", status={"conditions": conditions("Failed=True BackoffLimitExceeded")}), Health.FAILED),
    ("job doomed", own("Job", "batch/v1", status={"conditions": conditions("FailureTarget=True")}), Health.FAILED),
    ("job suspended", own("Job", "batch/v1", spec={"suspend": True}), Health.SUSPENDED),
    ("job running", own("Job", "batch/v1", status={"active": 1}), Health.PROGRESSING),
    ("cron new", own("CronJob", "batch/v1"), Health.HEALTHY),
    ("cron suspended", own("CronJob", "batch/v1", spec={"suspend": True}), Health.SUSPENDED),
    (
        "cron whose last run failed",
        own("CronJob", "batch/v1", status={"lastScheduleTime": "2026-01-02T00:00:00Z", "lastSuccessfulTime": "2026-01-01T00:00:00Z"}),
        Health.FAILED,
    ),
    (
        "cron at work",
        own("CronJob", "batch/v1", status={"lastScheduleTime": "2026-01-02T00:00:00Z", "lastSuccessfulTime": "2026-01-01T00:00:00Z", "active": [{}]}),
        Health.HEALTHY,
    ),
    ("pod", own("Pod", status={"phase": "Running", "conditions": conditions("Ready=True")}), Health.HEALTHY),
    ("pod ended", own("Pod", status={"phase": "Succeeded"}), Health.HEALTHY),
    ("pod failed", own("Pod", status={"phase": "Failed", "reason": "Evicted"}), Health.FAILED),
    (
        "pod without image",
        own("Pod", status={"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
        Health.FAILED,
    ),
    ("pod lost", own("Pod", status={"phase": "Unknown"}), Health.UNKNOWN),
    ("claim", own("PersistentVolumeClaim", status={"phase": "Bound"}), Health.HEALTHY),
    ("claim without a consumer", own("PersistentVolumeClaim", status={"phase": "Pending"}), Health.HEALTHY),
    ("claim lost", own("PersistentVolumeClaim", status={"phase": "Lost"}), Health.FAILED),
    ("service", own("Service", spec={"type": "ClusterIP"}), Health.HEALTHY),
    ("balancer with cluster IP", own("Service", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), Health.HEALTHY),
    ("balancer without", own("Service", spec={"type": "LoadBalancer"}), Health.PROGRESSING),
    ("ingress", own("Ingress", "networking.k8s.io/v1"), Health.HEALTHY),
    ("autoscaler", own("HorizontalPodAutoscaler", "autoscaling/v2", status={"conditions": conditions("AbleToScale=True")}), Health.HEALTHY),
    ("autoscaler at 0", own("HorizontalPodAutoscaler", "autoscaling/v2", status={"conditions": conditions("ScalingActive=False ScalingDisabled")}), Health.HEALTHY),
    ("autoscaler without metrics", own("HorizontalPodAutoscaler", "autoscaling/v2", status={"conditions": conditions("AbleToScale=True", "ScalingActive=False FailedGetResourceMetric")}), Health.HEALTHY),
    ("autoscaler without target", own("HorizontalPodAutoscaler", "autoscaling/v2", status={"conditions": conditions("AbleToScale=False FailedGetScale")}), Health.FAILED),
    ("autoscaler new", own("HorizontalPodAutoscaler", "autoscaling/v2"), Health.PROGRESSING),
    ("config map", own("ConfigMap"), Health.HEALTHY),
]  # fmt: skip


@pytest.mark.parametrize(("object", "health"), [pytest.param(o, h, id=name) for name, o, h in CASES])
def test_an_object_of_kubernetes_is_judged(object: Object, health: Health) -> None:
    verdict = judge(object)

    assert verdict.health is health, verdict.reason


def test_the_conditions_of_an_old_autoscaler_are_read_from_its_annotation() -> None:
    def autoscaler(annotation: str) -> Object:
        metadata = {"annotations": {"autoscaling.alpha.kubernetes.io/conditions": annotation}}
        return own("HorizontalPodAutoscaler", "autoscaling/v1") | {"metadata": metadata}

    broken = '[{"type":"AbleToScale","status":"False","reason":"FailedGetScale"}]'
    assert judge(autoscaler(broken)).health is Health.FAILED
    assert judge(autoscaler("[[")).health is Health.PROGRESSING


def test_an_address_is_waited_for_where_somebody_gives_it() -> None:
    balancer = own("Service", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1"})
    ingress = own("Ingress", "networking.k8s.io/v1", spec={"ingressClassName": "public"})
    given = {AddressClass(kind="Ingress", name="public"), AddressClass(kind="Service", name="")}
    address = {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}

    for object in (balancer, ingress):
        assert judge(object, gives=given.__contains__).health is Health.PROGRESSING
        assert judge(object | address, gives=given.__contains__).reason == "has the address lb.example.com"
    for other in (
        own("Ingress", "networking.k8s.io/v1"),
        balancer | {"spec": {**balancer["spec"], "loadBalancerClass": "internal"}},
    ):
        assert judge(other, gives=given.__contains__).health is Health.HEALTHY


def test_who_gives_addresses_is_asked_only_about_what_has_none_and_no_rule_of_the_user() -> None:
    asked: list[AddressClass] = []

    def gives(one: AddressClass) -> bool:
        asked.append(one)
        return True

    lacking = own("Ingress", "networking.k8s.io/v1")
    judge(lacking | {"status": {"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}}}, gives=gives)
    judge(own("Service", spec={"type": "ClusterIP"}), gives=gives)
    by_rule = judge(lacking, rules={"networking.k8s.io/Ingress": "true"}, gives=gives)

    assert (by_rule.health, asked) == (Health.HEALTHY, [])
