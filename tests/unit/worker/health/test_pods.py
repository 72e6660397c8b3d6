"""What the pods of a new revision tell, in seconds, and what may heal by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.pod_states import (
    SYNC,
    at,
    container,
    ended,
    event,
    fault,
    found,
    job,
    pod,
    replica_set,
    stateful_set,
    unschedulable,
    waits,
)

from towline.worker.health.fault import NOTHING

QUOTA = 'pods "cart-2-x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'


def test_a_pod_that_fits_nowhere_for_30_s_is_a_fault() -> None:
    one = pod(conditions=[unschedulable(began=2)])
    assert found(one, seconds=31).look_again_at == SYNC + timedelta(seconds=32)
    assert fault(one, seconds=32).text == "pod cart-2-x fits on no node: 0/2 nodes are available"


def test_waiting_for_a_node_before_the_sync_does_not_count() -> None:
    one = pod(conditions=[unschedulable(began=-600)], created=-600)
    assert found(one, seconds=1).look_again_at == SYNC + timedelta(seconds=30)


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_node_on_its_way_is_waited_for(reason: str) -> None:
    decided = event(reason, first=10)
    assert found(pod(conditions=[unschedulable()]), events=(decided,), seconds=100) == NOTHING


def test_a_node_that_does_not_come_after_all_is_not_waited_for() -> None:
    decided = (event("TriggeredScaleUp", first=10), event("NotTriggerScaleUp", first=20))
    assert fault(pod(conditions=[unschedulable()]), events=decided, seconds=100).reason == "Unschedulable"


def test_a_pod_that_others_make_room_for_is_waited_for() -> None:
    assert found(pod(conditions=[unschedulable()], nominatedNodeName="node-a"), seconds=100) == NOTHING


def test_a_pod_behind_a_gate_is_waited_for() -> None:
    gated = {**unschedulable(), "reason": "SchedulingGated"}
    assert found(pod(conditions=[gated]), seconds=100) == NOTHING


@pytest.mark.parametrize(
    ("times", "seconds", "is_fault"), [(2, 100, False), (3, 14, False), (3, 15, True)], ids=str
)
def test_a_volume_that_cannot_be_mounted_is_a_fault_when_it_lasts(
    times: int, seconds: float, is_fault: bool
) -> None:
    told = event("FailedMount", "mount failed: exit status 32", times=times)
    one = found(pod(waits("ContainerCreating")), events=(told,), seconds=seconds)
    assert (one.fault is not None) == is_fault


def test_a_secret_that_a_volume_lacks_is_a_fault_sooner() -> None:
    told = event(
        "FailedMount", 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found', times=2
    )
    one = fault(pod(waits("ContainerCreating")), events=(told,), seconds=10)
    assert str(one.missing) == "Secret shop/keys"


def test_a_mount_that_succeeded_at_last_is_none() -> None:
    told = event("FailedMount", "mount failed", times=9)
    running = pod(container(running={}), phase="Running")
    assert found(running, events=(told,), seconds=100) == NOTHING


def test_a_volume_that_an_old_pod_still_holds_is_waited_for() -> None:
    told = event("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"', times=9)
    assert found(pod(waits("ContainerCreating")), events=(told,), seconds=100) == NOTHING


def test_a_quota_that_is_used_up_is_a_fault_of_the_new_replica_set() -> None:
    one = fault(sets=(replica_set(refused=QUOTA),))
    assert str(one.object) == "ReplicaSet.apps shop/cart-2"
    assert (one.reason, one.message) == ("FailedCreate", QUOTA)


def test_a_refusal_has_time_to_heal() -> None:
    assert found(sets=(replica_set(refused=QUOTA),), seconds=1).look_again_at == SYNC + timedelta(seconds=3)


def test_a_quota_that_leaving_pods_still_use_is_waited_for() -> None:
    leaving = pod(owner="rs-1", metadata={"deletionTimestamp": at(0)})
    one = found(leaving, sets=(replica_set(refused=QUOTA),), seconds=60)
    assert one.look_again_at == SYNC + timedelta(seconds=63)


def test_the_refusal_of_an_old_replica_set_is_none() -> None:
    assert found(sets=(replica_set("1", refused=QUOTA), replica_set())) == NOTHING


@pytest.mark.parametrize(
    "message",
    ['failed calling webhook "x": the proxy says that this is forbidden', "etcdserver: request timed out"],
    ids=["a webhook that does not answer", "an API server that is overloaded"],
)
def test_what_decided_nothing_refuses_nothing(message: str) -> None:
    assert found(sets=(replica_set(refused=message),), seconds=60) == NOTHING


def test_a_refusal_that_a_controller_has_not_seen_healed_yet_is_none() -> None:
    told = event("FailedCreate", QUOTA, uid="s-1")
    behind = stateful_set(status={"observedGeneration": 1})
    assert found(of=behind, events=(told,), seconds=60) == NOTHING


@pytest.mark.parametrize(
    "message",
    [
        'create Pod cart-0 in StatefulSet cart failed error: pods "cart-0" is forbidden: violates PodSecurity "baseline"',
        'Error creating: admission webhook "policy.example.com" denied the request: no',
        'Error creating: pods "x" is forbidden: error looking up service account shop/x: serviceaccount "x" not found',
    ],
    ids=["pod security", "webhook", "service account"],
)
def test_what_admission_refuses_is_a_fault_by_the_event(message: str) -> None:
    told = event("FailedCreate", message, uid="s-1", times=3)
    assert fault(of=stateful_set(), events=(told,)).message == message


@pytest.mark.parametrize(
    ("made", "is_fault"), [(0, True), (4, False), (5, False)], ids=["before", "then", "after"]
)
def test_a_refusal_after_which_a_pod_was_made_is_none(made: float, is_fault: bool) -> None:
    told = event("FailedCreate", QUOTA, uid="s-1", last=4)
    labels = {"labels": {"controller-revision-hash": "cart-2"}}
    one = found(pod(owner="s-1", metadata=labels, created=made), of=stateful_set(), events=(told,))
    assert (one.fault is not None) == is_fault


def test_a_refusal_before_the_sync_is_none() -> None:
    told = event("FailedCreate", QUOTA, uid="s-1", first=-300, last=-200)
    assert found(of=stateful_set(), events=(told,)) == NOTHING


@pytest.mark.parametrize("condition", ["FailureTarget", "Failed"])
def test_a_job_that_failed_tells_the_container_that_did(condition: str) -> None:
    failed = job({"type": condition, "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"})
    one = fault(pod(container(terminated=ended(7)), owner="j-1", phase="Failed"), of=failed)
    assert (one.container, one.exit_code, one.reason) == ("main", 7, "BackoffLimitExceeded")
    assert "exit code 7" in one.text and "BackoffLimitExceeded" in one.text


def test_a_job_without_pods_tells_its_own_reason() -> None:
    failed = job({"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"})
    assert fault(of=failed).text == "Job cart has failed (DeadlineExceeded): too long"


def test_a_job_may_fail_as_often_as_it_says() -> None:
    crashes = container(restarts=4, waiting={"reason": "CrashLoopBackOff"}, last=ended())
    failed = pod(container(terminated=ended()), owner="j-1", phase="Failed")
    assert found(pod(crashes, owner="j-1"), failed, failed, of=job()) == NOTHING


def test_the_image_of_a_job_is_a_fault_as_any() -> None:
    assert fault(pod(waits("ImagePullBackOff"), owner="j-1"), of=job()).reason == "ImagePullBackOff"


def test_one_evicted_pod_is_replaced_and_two_are_a_fault() -> None:
    first, second = (
        pod(phase="Failed", reason="Evicted", message="low on memory", metadata={"name": name})
        for name in ("a", "b")
    )
    assert found(first) == NOTHING
    assert fault(first, second).text == "pod b has failed: Evicted (and 1 more): low on memory"


def test_containers_of_a_pod_that_was_replaced_do_not_count() -> None:
    crashed = container(restarts=9, waiting={"reason": "CrashLoopBackOff"}, last=ended())
    assert found(pod(crashed, phase="Failed", reason="Evicted")) == NOTHING


def test_pods_that_a_node_gave_up_are_none() -> None:
    given_up = pod(phase="Failed", reason="NodeShutdown")
    assert found(given_up, given_up, given_up) == NOTHING


def test_a_pod_of_its_own_that_a_node_gave_up_is_replaced_by_nobody() -> None:
    alone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart-2-x", "uid": "p-1"}}
    assert fault(pod(phase="Failed", reason="NodeShutdown", created=-600), of=alone).reason == "NodeShutdown"


def test_a_pod_of_its_own_that_failed_is_a_fault() -> None:
    alone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart-2-x", "uid": "p-1"}}
    one = fault(
        pod(container(terminated=ended(4)), phase="Failed", spec={"restartPolicy": "Never"}), of=alone
    )
    assert (one.container, one.exit_code) == ("main", 4)
