"""One container of a new pod: its image, its crashes, its start."""

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
    pod,
    waits,
)

from towline.shared.model import Object
from towline.shared.pod_limits import PodLimits
from towline.worker.health.fault import NOTHING

BAD_IMAGE = "Back-off pulling image example.com/cart:9"


def test_an_image_that_could_not_be_had_twice_is_a_fault() -> None:
    one = fault(pod(waits("ImagePullBackOff", f"{BAD_IMAGE}: not found")))
    assert (one.object.name, one.container, one.reason) == ("cart-2-x", "main", "ImagePullBackOff")
    assert one.text == f"container main of pod cart-2-x is in ImagePullBackOff: {BAD_IMAGE}: not found"


def test_the_first_failed_pull_is_none() -> None:
    assert found(pod(waits("ErrImagePull", "not found"))) == NOTHING


def test_a_second_failed_pull_that_an_event_tells_of_is_a_fault() -> None:
    tries = event("Failed", 'Failed to pull image "x": not found', times=2, path="spec.containers{main}")
    assert fault(pod(waits("ErrImagePull", "not found")), events=(tries,)).reason == "ErrImagePull"


def test_failed_pulls_of_another_container_do_not_count() -> None:
    tries = event("Failed", 'Failed to pull image "x": not found', times=2, path="spec.containers{other}")
    assert found(pod(waits("ErrImagePull", "not found")), events=(tries,)) == NOTHING


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_can_never_be_had_is_a_fault_at_once(reason: str) -> None:
    assert fault(pod(waits(reason)), limits=PodLimits(image_pull_tries=9)).reason == reason


def test_the_event_says_why_where_the_state_does_not() -> None:
    told = event("Failed", 'Failed to pull image "example.com/cart:9": not found')
    assert fault(pod(waits("ImagePullBackOff", BAD_IMAGE)), events=(told,)).message == told.message


def test_more_tries_may_be_allowed() -> None:
    one = pod(waits("ImagePullBackOff"))
    three, four = (event("Failed", "Failed to pull image", times=times) for times in (3, 4))
    limits = PodLimits(image_pull_tries=4)
    assert found(one, events=(three,), limits=limits) == NOTHING
    assert fault(one, events=(four,), limits=limits).reason == "ImagePullBackOff"


@pytest.mark.parametrize(
    ("state", "is_fault"),
    [
        pytest.param(
            container(restarts=1, waiting={"reason": "CrashLoopBackOff"}, last=ended()), False, id="one"
        ),
        pytest.param(
            container(restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended()), True, id="two"
        ),
        pytest.param(
            container(restarts=2, terminated=ended(seconds=5), last=ended()), True, id="between runs"
        ),
        pytest.param(
            container(restarts=2, running={}, last=ended()), False, id="the third run gets its chance"
        ),
        pytest.param(container(restarts=2, running={}, ready=True, last=ended()), False, id="healed"),
        pytest.param(container(restarts=3, running={}, last=ended()), True, id="a loop seen while it runs"),
        pytest.param(container(restarts=9, running={}, ready=True, last=ended()), False, id="healed late"),
        pytest.param(
            container(restarts=9, running={}, last=ended(ran=600)), False, id="ends once in a while"
        ),
        pytest.param(
            container(restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended(0, "Completed")),
            True,
            id="ends well and should not end",
        ),
        pytest.param(container(restarts=2, waiting={"reason": "CrashLoopBackOff"}), True, id="end not told"),
        pytest.param(
            container(restarts=1, waiting={"reason": "CrashLoopBackOff"}, last=ended(137, "OOMKilled")),
            True,
            id="killed twice for memory",
        ),
        pytest.param(
            container(restarts=1, running={}, last=ended(137, "OOMKilled")), False, id="killed once"
        ),
    ],
)
def test_a_crash_loop_is_a_fault_after_two_restarts(state: Object, is_fault: bool) -> None:
    one = found(pod(state, phase="Running"))
    assert (one.fault is not None) == is_fault
    assert one.look_again_at is None


def test_a_crash_tells_its_exit_code_and_last_words() -> None:
    state = container(
        restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended(3, message="no\ndatabase")
    )
    one = fault(pod(state))
    assert one.exit_code == 3
    expected = "container main of pod cart-2-x ended 3 times, at last with exit code 3, Error: no database"
    assert one.text == expected


def test_memory_that_an_init_container_lacks_is_a_fault_at_once() -> None:
    one = fault(pod(init=(container(terminated=ended(137, "OOMKilled")),)))
    assert (one.reason, one.exit_code) == ("OOMKilled", 137)


def test_an_init_container_that_crashes_is_a_fault() -> None:
    state = container(restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended(2))
    one = fault(pod(waits("PodInitializing"), init=({**state, "name": "migrate"},)))
    assert (one.container, one.exit_code) == ("migrate", 2)


def test_an_init_container_that_is_done_is_none() -> None:
    done = container(restarts=5, terminated=ended(0, "Completed"), last=ended(1))
    assert found(pod(waits("PodInitializing"), init=(done,))) == NOTHING


def test_a_container_that_nobody_starts_again_is_a_fault_after_a_while() -> None:
    one = pod(container(terminated=ended(seconds=4)))
    assert found(one, seconds=5).look_again_at == SYNC + timedelta(seconds=14)
    assert fault(one, seconds=14).exit_code == 1


def test_restarts_before_the_sync_do_not_count() -> None:
    state = container(restarts=8, waiting={"reason": "CrashLoopBackOff"}, last=ended(seconds=1))
    assert found(pod(state, created=-60)) == NOTHING


def test_a_clock_that_is_a_second_off_hides_no_crash() -> None:
    state = container(restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended())
    assert fault(pod(state, created=-1)).reason == "CrashLoopBackOff"


def test_a_container_that_cannot_be_created_has_time_until_the_next_try() -> None:
    missing = pod(waits("CreateContainerConfigError", 'secret "db" not found'), startTime=at(1))
    assert found(missing, seconds=5).look_again_at == SYNC + timedelta(seconds=11)
    one = fault(missing, seconds=11)
    assert (one.reason, str(one.missing)) == ("CreateContainerConfigError", "Secret shop/db")


def test_waiting_for_another_container_does_not_count() -> None:
    ready = {"type": "Initialized", "status": "True", "lastTransitionTime": at(60)}
    one = pod(waits("CreateContainerError"), startTime=at(0), conditions=[ready])
    assert found(one, seconds=65).look_again_at == SYNC + timedelta(seconds=70)


def test_the_time_of_a_pull_does_not_count_where_an_event_tells_the_first_failure() -> None:
    told = event("Failed", 'Error: secret "db" not found', first=60)
    one = pod(waits("CreateContainerConfigError", 'secret "db" not found'), startTime=at(0))
    assert found(one, events=(told,), seconds=65).look_again_at == SYNC + timedelta(seconds=70)


def test_a_container_whose_program_is_not_there_is_a_fault() -> None:
    state = container(restarts=2, waiting={"reason": "RunContainerError"}, last=ended(128, "StartError"))
    assert (fault(pod(state)).reason, fault(pod(state)).exit_code) == ("RunContainerError", 128)


def test_the_first_failure_of_another_container_says_nothing_of_this_one() -> None:
    told = event("Failed", "Error: something else", first=60)
    one = pod(waits("CreateContainerError", "no command specified"), startTime=at(0))
    assert fault(one, events=(told,), seconds=65).reason == "CreateContainerError"


def test_a_container_that_was_to_run_once_may_have_ended() -> None:
    one = pod(container(terminated=ended()), spec={"restartPolicy": "Never"}, phase="Running")
    assert found(one, seconds=600) == NOTHING
