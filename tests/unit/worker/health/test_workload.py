"""Which pods are of the newest revision: faults of others are never blamed on it."""

from __future__ import annotations

import pytest
from parts.pod_states import (
    at,
    daemon_set,
    deployment,
    fault,
    found,
    job,
    pod,
    replica_set,
    stateful_set,
    waits,
)

from towline.shared.model import Object
from towline.worker.health.fault import NOTHING
from towline.worker.health.pod import Pod
from towline.worker.health.workload import workload_of

BAD = waits("ImagePullBackOff")


@pytest.mark.parametrize(
    ("workload", "bad"),
    [
        pytest.param(deployment(), pod(BAD, owner="rs-1"), id="of the old ReplicaSet"),
        pytest.param(deployment(), pod(BAD, metadata={"deletionTimestamp": at(1)}), id="being deleted"),
        pytest.param(
            deployment(status={"observedGeneration": 1}), pod(BAD), id="before the controller saw it"
        ),
        pytest.param(
            stateful_set(),
            pod(BAD, owner="s-1", metadata={"labels": {"controller-revision-hash": "cart-1"}}),
            id="of the old revision of a StatefulSet",
        ),
        pytest.param(
            daemon_set(),
            pod(BAD, owner="ds-1", metadata={"labels": {"pod-template-generation": "1"}}),
            id="of the old template of a DaemonSet",
        ),
        pytest.param(job(), pod(BAD, owner="j-0"), id="of another Job"),
    ],
)
def test_faults_of_other_pods_are_never_blamed_on_the_new_revision(workload: Object, bad: Pod) -> None:
    both = (replica_set("1"), replica_set("2"))
    assert found(bad, of=workload, sets=both, seconds=600) == NOTHING


@pytest.mark.parametrize(
    ("workload", "owner", "labels"),
    [
        (stateful_set(), "s-1", {"controller-revision-hash": "cart-2"}),
        (daemon_set(), "ds-1", {"pod-template-generation": "2"}),
        ({**deployment(), "kind": "ReplicaSet"}, "d-1", {}),
    ],
    ids=["StatefulSet", "DaemonSet", "ReplicaSet"],
)
def test_new_pods_are_known_of_every_workload(workload: Object, owner: str, labels: Object) -> None:
    assert fault(pod(BAD, owner=owner, metadata={"labels": labels}), of=workload).container == "main"


def test_what_selects_the_pods_is_written_as_a_list_request_asks_for_it() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions}
    workload = workload_of(deployment(spec={"selector": selector}))
    assert workload is not None
    assert workload.selector == "a=1,b=2,tier in (a,b),!old"
