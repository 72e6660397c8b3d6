"""A release whose pods fail is judged in seconds, on a real API server with real controllers; kwok plays the pods."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from parts.cluster_client import ClientOf
from parts.eventually import eventually
from parts.failing import Fails, workload
from parts.judging import Judge

from towline.shared.cluster import Cluster
from towline.shared.model import Health
from towline.shared.pod_limits import PodLimits

AT_ONCE = PodLimits(
    unschedulable_seconds=0, start_error_seconds=0, mount_error_seconds=0, create_refused_seconds=0
)
FOREVER = PodLimits(unschedulable_seconds=600, start_error_seconds=600)


@pytest.mark.parametrize(
    ("kind", "fails", "reason", "container", "exit_code"),
    [
        ("Deployment", Fails.IMAGE, "ImagePullBackOff", "main", None),
        ("Deployment", Fails.CRASH, "CrashLoopBackOff", "main", 1),
        ("Deployment", Fails.MEMORY, "OOMKilled", "main", 137),
        ("Deployment", Fails.INIT, "CrashLoopBackOff", "migrate", 3),
        ("Deployment", Fails.EVICTED, "Evicted", "main", 7),
        ("StatefulSet", Fails.CRASH, "CrashLoopBackOff", "main", 1),
        ("DaemonSet", Fails.IMAGE, "ImagePullBackOff", "main", None),
        ("Job", Fails.IMAGE, "ImagePullBackOff", "main", None),
        ("Job", Fails.END, "BackoffLimitExceeded", "main", 7),
    ],
)
def test_a_release_fails_by_its_pods_with_their_reason(
    judge: Judge, kind: str, fails: Fails, reason: str, container: str, exit_code: int | None
) -> None:
    judge.apply(workload(judge.namespace, "cart", kind=kind, fails=fails))
    fault = judge.fault()
    assert (fault.reason, fault.container, fault.exit_code) == (reason, container, exit_code)
    verdict = judge.verdict()
    assert verdict.health is Health.FAILED
    assert verdict.object is not None and verdict.object.kind == kind


def test_a_crash_that_heals_does_not_fail_a_release(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.CRASH_ONCE))
    assert judge.health() is Health.HEALTHY


def test_faults_of_the_old_revision_are_not_the_new_one_s(judge: Judge) -> None:
    stuck = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, "replicas": 2}
    judge.apply(workload(judge.namespace, "cart", fails=Fails.CRASH, **stuck))
    assert judge.fault().reason == "CrashLoopBackOff"
    # The old pods crash on beside a new one that is not ready yet.
    judge.apply(workload(judge.namespace, "cart", fails=Fails.READY, **stuck))
    verdict = eventually(
        lambda: one if "new" in (one := judge.verdict()).reason else None, explain=judge.verdict
    )
    assert verdict is not None and (verdict.health, verdict.fault) == (Health.PROGRESSING, None)
    judge.apply(workload(judge.namespace, "cart", **stuck))
    assert judge.health() is Health.HEALTHY


def test_a_bad_revision_fails_while_the_old_pods_are_well(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart"))
    assert judge.health() is Health.HEALTHY
    judge.apply(workload(judge.namespace, "cart", fails=Fails.IMAGE))
    assert judge.fault().reason == "ImagePullBackOff"


def test_a_secret_that_is_not_there_fails_a_release_until_it_comes(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.CONFIG))
    assert judge.fault(AT_ONCE).reason == "CreateContainerConfigError"
    metadata = {"name": "db", "namespace": judge.namespace}
    judge.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    verdict = judge.verdict(AT_ONCE)
    assert verdict.health is Health.PROGRESSING
    assert verdict.look_again_at is not None


def test_a_pod_that_fits_on_no_node_fails_a_release_when_its_time_is_over(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", pod={"nodeSelector": {"disk": "fast"}}))
    waiting = eventually(lambda: judge.verdict(FOREVER).look_again_at, explain=judge.verdict)
    assert waiting is not None and waiting > datetime.now(UTC)
    fault = judge.fault(AT_ONCE)
    assert fault.reason == "Unschedulable"
    assert "didn't match Pod's node affinity" in fault.message


def test_a_node_that_an_autoscaler_brings_is_waited_for(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", pod={"nodeSelector": {"disk": "fast"}}))
    fault = judge.fault(AT_ONCE)
    judge.tell(fault.object.name, reason="TriggeredScaleUp", message="pod triggered scale-up")
    assert judge.verdict(AT_ONCE).health is Health.PROGRESSING


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job"])
def test_a_quota_that_is_used_up_fails_a_release(judge: Judge, kind: str) -> None:
    quota(judge, pods="0")
    judge.apply(workload(judge.namespace, "cart", kind=kind))
    fault = judge.fault(AT_ONCE)
    assert fault.reason == "FailedCreate"
    assert "exceeded quota: few" in fault.message


def test_a_quota_that_is_raised_in_time_fails_nothing(judge: Judge) -> None:
    quota(judge, pods="0")
    judge.apply(workload(judge.namespace, "cart", kind="StatefulSet"))
    assert "exceeded quota" in judge.fault(AT_ONCE).message
    quota(judge, pods="5")
    assert judge.health() is Health.HEALTHY


def test_a_service_account_that_is_not_there_fails_a_release(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", pod={"serviceAccountName": "absent"}))
    fault = judge.fault(AT_ONCE)
    assert (fault.reason, str(fault.missing)) == ("FailedCreate", f"ServiceAccount {judge.namespace}/absent")


def test_a_pod_that_pod_security_forbids_fails_a_release(judge: Judge, cluster: Cluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.merge_patch(
        cluster.resource("v1", "Namespace"), judge.namespace, "", {"metadata": {"labels": labels}}
    )
    judge.apply(workload(judge.namespace, "cart"))
    assert 'violates PodSecurity "restricted' in judge.fault(AT_ONCE).message


def test_a_volume_that_is_never_mounted_fails_a_release(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.MOUNT))
    pod = eventually(lambda: judge.pods()[0])
    judge.tell(pod["metadata"]["name"], reason="FailedMount", message="mount failed: exit status 32", count=3)
    fault = judge.fault(AT_ONCE)
    assert (fault.reason, fault.message) == ("FailedMount", "mount failed: exit status 32")


def test_an_account_that_may_not_list_pods_is_told_what_the_workload_says(
    judge: Judge, client_of: ClientOf
) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.IMAGE))
    assert judge.fault().reason == "ImagePullBackOff"
    blind = replace(judge, cluster=client_of("blind"))
    grant(judge, "blind")
    verdict = blind.verdict()
    assert (verdict.health, verdict.fault) == (Health.PROGRESSING, None)


def test_pods_of_a_healthy_release_are_not_read(judge: Judge, requests: Any) -> None:
    judge.apply(workload(judge.namespace, "cart"))
    assert judge.health() is Health.HEALTHY
    requests.clear()
    assert judge.verdict().health is Health.HEALTHY
    assert requests == {"get": 1}


def quota(judge: Judge, *, pods: str) -> None:
    """Allow so many pods; returns when that holds."""
    metadata = {"name": "few", "namespace": judge.namespace}
    spec = {"hard": {"pods": pods}}
    one = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
    judge.cluster.apply(one)
    resource = judge.cluster.resource("v1", "ResourceQuota")

    def holds() -> bool:
        live = judge.cluster.get(resource, "few", judge.namespace)
        return live is not None and live.get("status", {}).get("hard") == {"pods": pods}

    eventually(holds)


def grant(judge: Judge, account: str) -> None:
    """Let an account read Deployments, and nothing else."""
    metadata = {"name": account, "namespace": judge.namespace}
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
    rbac = "rbac.authorization.k8s.io"
    judge.cluster.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    judge.cluster.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": judge.namespace}],
        }
    )
