"""A real API server that goes away and comes back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from parts.cluster_client import access, config_map
from parts.control_plane import ControlPlane, delete_namespace, new_namespace_name
from parts.eventually import eventually

from towline.shared.cluster import Cluster, connect
from towline.shared.documents import load_documents
from towline.shared.errors import ClusterDown


@pytest.fixture(autouse=True)
def controllers_are_back(control_plane: ControlPlane) -> Iterator[None]:
    """The controllers wait a while before they come back to a restarted API server; the next test needs them."""
    yield
    name = new_namespace_name("outage")
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: control_plane.request("GET", account), within=30)
    delete_namespace(control_plane, name)


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


def test_a_token_that_the_server_no_longer_takes_is_renewed(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
):
    # given a kubeconfig whose exec plugin tells a token that the server takes
    tokens = control_plane.folder / "tokens.csv"
    lasting = tokens.read_text()
    requests: list[str] = []
    try:
        tokens.write_text(f"{lasting}first,rotating,rotating,system:masters\n")
        control_plane.restart_apiserver()
        (tmp_path / "token").write_text("first")
        cluster = connect(
            access(with_plugin(control_plane.kubeconfig, tmp_path)),
            observe=lambda verb, code, seconds: requests.append(code),
        )
        cluster.apply(config_map(namespace, mode="first"))

        # when the server takes another one only
        tokens.write_text(f"{lasting}second,rotating,rotating,system:masters\n")
        control_plane.restart_apiserver()
        (tmp_path / "token").write_text("second")
        requests.clear()

        # then the next call asks for it, and is answered
        assert cluster.apply(config_map(namespace, mode="second"))["data"] == {"mode": "second"}
        assert requests == ["401", "200"]
    finally:
        tokens.write_text(lasting)
        control_plane.restart_apiserver()


def with_plugin(kubeconfig: Path, folder: Path) -> Path:
    """A kubeconfig of the same cluster whose user is what an exec plugin says, which reads `folder`/token."""
    plugin = folder / "plugin.sh"
    credential = (
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}'
    )
    plugin.write_text(f"#!/bin/sh\nprintf '{credential}' \"$(cat {folder / 'token'})\"\n")
    plugin.chmod(0o700)
    config = load_documents(kubeconfig.read_bytes(), file="kubeconfig")[0].value
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps({**config, "users": [{"name": "admin", "user": {"exec": command}}]}))
    return path
