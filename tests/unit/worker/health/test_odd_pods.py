"""Nothing that a cluster may show makes judging its pods fail."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.pod_states import (
    SYNC,
    deployment,
    pod,
    replica_set,
    waits,
)

from towline.worker.health.case import Seen
from towline.worker.health.pod import (
    Condition,
    ContainerState,
    ContainerStatus,
    Event,
    Involved,
    Metadata,
    Owner,
    Pod,
    PodStatus,
    Running,
    Series,
    Terminated,
    Waiting,
)
from towline.worker.health.pods import finding
from towline.worker.health.workload import workload_of

BAD = waits("ImagePullBackOff")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    metadata=json_values,
    spec=json_values,
    status=json_values,
    kind=st.sampled_from(["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
)
def test_an_odd_workload_is_judged_all_the_same(
    metadata: object, spec: object, status: object, kind: str
) -> None:
    object = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}
    workload = workload_of(object)
    assert workload is not None
    assert finding(workload, Seen(pods=[pod(BAD)], replica_sets=[replica_set()]), now=SYNC).fault is None


times = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))
any_time = st.none() | times
words = st.sampled_from(
    [
        "",
        "OOMKilled",
        "CrashLoopBackOff",
        "ErrImagePull",
        "CreateContainerError",
        "Failed",
        "Evicted",
        "Unschedulable",
    ]
)
numbers = st.integers(-(2**31), 2**31)
runs = st.builds(
    Terminated, exit_code=numbers, reason=words, message=words, started_at=any_time, finished_at=any_time
)
states = st.builds(
    ContainerState,
    waiting=st.none() | st.builds(Waiting, reason=words, message=words),
    running=st.none() | st.builds(Running, started_at=any_time),
    terminated=st.none() | runs,
)
statuses = st.lists(
    st.builds(ContainerStatus, restart_count=numbers, ready=st.booleans(), state=states, last_state=states),
    max_size=2,
).map(tuple)
conditions = st.builds(
    Condition,
    type=st.sampled_from(["PodScheduled", "Initialized"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=words,
    last_transition_time=any_time,
)
odd_pods = st.builds(
    Pod,
    metadata=st.builds(
        Metadata,
        uid=st.just("p-1"),
        creation_timestamp=any_time,
        owner_references=st.just((Owner(uid="rs-2", controller=True),)),
    ),
    status=st.builds(
        PodStatus,
        phase=st.sampled_from(["", "Pending", "Running", "Failed"]),
        reason=words,
        start_time=any_time,
        conditions=st.lists(conditions, max_size=2).map(tuple),
        init_container_statuses=statuses,
        container_statuses=statuses,
    ),
)
odd_events = st.builds(
    Event,
    involved_object=st.just(Involved(uid="p-1")),
    reason=st.sampled_from(["Failed", "FailedMount", "Nominated", "FailedCreate"]),
    message=words,
    count=st.none() | numbers,
    first_timestamp=any_time,
    last_timestamp=any_time,
    event_time=any_time,
    series=st.none() | st.builds(Series, count=numbers, last_observed_time=any_time),
)


@settings(deadline=None)  # a busy machine stalls now and then
@given(
    pods=st.lists(odd_pods, max_size=3), events=st.lists(odd_events, max_size=3), now=times, since=any_time
)
def test_no_pod_and_no_event_is_too_odd_to_be_judged(
    pods: list[Pod], events: list[Event], now: datetime, since: datetime | None
) -> None:
    workload = workload_of(deployment())
    assert workload is not None
    seen = Seen(pods=pods, replica_sets=[replica_set()], events=events)
    one = finding(workload, seen, now=now, since=since)
    assert one.fault is None or one.fault.text
    assert one.look_again_at is None or one.look_again_at > now


def test_what_is_no_pod_is_said_to_be_none() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"status": {"containerStatuses": [{"restartCount": "2"}]}}', type=Pod)
