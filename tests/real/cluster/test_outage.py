"""A real API server that goes away and comes back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from parts.cluster_client import config_map
from parts.control_plane import ControlPlane
from parts.eventually import eventually

from towline.shared.cluster import Cluster
from towline.shared.errors import ClusterDown


def test_a_killed_api_server_is_down_at_once_and_works_again_on_the_same_client(
    cluster: Cluster, control_plane: ControlPlane, namespace: str
):
    # given kept connections to it
    cluster.apply(config_map(namespace, mode="before"))

    # when it is killed
    control_plane.apiserver.kill()
    try:
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(ClusterDown) as caught:
                cluster.apply(config_map(namespace, mode="meanwhile"))
        seconds = time.monotonic() - started
    finally:
        control_plane.restart_apiserver()

    # then each call says so without waiting, and the next ones work
    assert seconds < 1
    assert caught.value.retry
    assert cluster.apply(config_map(namespace, mode="after"))["data"] == {"mode": "after"}


def test_applies_that_run_into_a_restart_fail_as_retryable_and_end_well_when_tried_again(
    cluster: Cluster, control_plane: ControlPlane, namespace: str
):
    applied: list[int] = []
    pause = threading.Event()  # never set

    def apply_until_taken(number: int) -> None:
        while True:
            try:
                cluster.apply(config_map(namespace, f"c{number}", n=str(number)))
            except ClusterDown:
                pause.wait(0.02)
            else:
                applied.append(number)
                return

    with ThreadPoolExecutor(4) as threads:
        attempts = [threads.submit(apply_until_taken, number) for number in range(400)]
        eventually(lambda: len(applied) > 20)
        control_plane.restart_apiserver()
        for attempt in attempts:
            attempt.result(60)

    resource = cluster.resource("v1", "ConfigMap")
    found = cluster.list(resource, namespace)
    assert {f"c{number}" for number in range(400)} <= {one["metadata"]["name"] for one in found}
