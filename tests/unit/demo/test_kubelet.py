"""The demo's kubelet, step by step."""

import pytest

from towline.demo.kubelet import RETRY_SECONDS, ROLLOUT_SECONDS, Kubelet, is_missing, log_of
from towline.demo.request import Refusal
from towline.demo.writes import Create, Report


def pod(image, status=None):
    return {
        "kind": "Pod",
        "metadata": {"name": "cart-x", "namespace": "shop", "uid": "p-1"},
        "spec": {"containers": [{"name": "cart", "image": image}]},
        "status": status or {"phase": "Pending"},
    }


def steps(image, *times):
    """What is written of one pod in turns at these times; each finds what the ones before have written."""
    kubelet, seen = Kubelet(), pod(image)
    found = []
    for at in times:
        for write in kubelet.turn([seen], at=at):
            if isinstance(write, Report):
                seen = {**seen, "status": write.status}
                (container,) = write.status["containerStatuses"]
                waiting = container["state"].get("waiting") or {}
                found.append(waiting.get("reason") or write.status["phase"])
            elif isinstance(write, Create):
                found.append(f"Event {write.object['reason']}")
    return found


def test_an_image_that_is_there_runs_after_its_time():
    image = "registry.orchard.example/cart:1.10.0"

    assert steps(image, 0, 0, ROLLOUT_SECONDS / 2) == ["ContainerCreating"]
    assert steps(image, 0, 0, ROLLOUT_SECONDS) == ["ContainerCreating", "Running"]


def test_an_image_that_is_not_there_is_tried_twice():
    again = ROLLOUT_SECONDS + RETRY_SECONDS

    found = steps("registry.orchard.example/cart:1.O", 0, 0, ROLLOUT_SECONDS, ROLLOUT_SECONDS, again)

    assert found == ["ContainerCreating", "ErrImagePull", "Event Failed", "ImagePullBackOff", "Event BackOff"]


@pytest.mark.parametrize(
    ("image", "missing"),
    [
        ("registry.orchard.example/cart:1.10.0", False),
        ("registry.orchard.example/cart:7", False),
        ("registry.orchard.example/cart:1.O", True),
        ("registry.orchard.example/cart:latest", True),
        ("registry.orchard.example/cart", True),
        ("docker.io/library/nginx:latest", False),
    ],
)
def test_the_shops_registry_has_version_numbers_only(image, missing):
    assert is_missing({"image": image}) is missing


@pytest.mark.parametrize("previous", [True, False])
def test_what_has_not_run_has_no_log(previous):
    waiting = {"name": "cart", "state": {"waiting": {"reason": "ImagePullBackOff"}}}

    with pytest.raises(Refusal) as refused:
        log_of(pod("x", {"containerStatuses": [waiting]}), "cart", previous=previous)

    assert refused.value.code == 400


def test_what_runs_has_an_empty_log():
    running = {"name": "cart", "state": {"running": {}}}

    assert log_of(pod("x", {"containerStatuses": [running]}), "cart", previous=False) == ""
