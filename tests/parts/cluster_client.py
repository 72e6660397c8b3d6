"""Towline's own client of the real API server, as its administrator and as somebody with fewer rights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from parts.control_plane import ControlPlane

from towline.shared.cluster import Cluster, Request, connect
from towline.shared.config import ClusterConfig
from towline.shared.documents import load_documents
from towline.shared.model import Object
from towline.shared.objects import canonical
from towline.shared.records import Records

ClientOf = Callable[[str], Cluster]


def access(kubeconfig: Path) -> ClusterConfig:
    """A cluster of the operator's configuration."""
    return ClusterConfig(kubeconfig=kubeconfig, context=None, in_cluster=False)


@pytest.fixture
def requests() -> Counter[str]:
    """The requests made by `cluster`, by verb."""
    return Counter()


@pytest.fixture
def cluster(control_plane: ControlPlane, requests: Counter[str]) -> Cluster:
    """The API server, as its administrator."""

    def count(verb: str, code: str, seconds: float) -> None:
        requests[verb] += 1

    return connect(access(control_plane.kubeconfig), parallel=4, observe=count)


@pytest.fixture
def records(cluster: Cluster) -> Records:
    """The record, with its CRD installed."""
    records = Records(cluster)
    records.ensure_crd()
    return records


@pytest.fixture
def client_of(control_plane: ControlPlane, cluster: Cluster, namespace: str, tmp_path: Path) -> ClientOf:
    """`client_of("deployer")` makes a service account and logs in with its token."""

    def client_of(account: str) -> Cluster:
        metadata = {"name": account, "namespace": namespace}
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = canonical({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
        answer = cluster.request(Request(verb="create", method="POST", path=path, body=body))
        kubeconfig = tmp_path / f"{account}.kubeconfig"
        kubeconfig.write_text(with_token(control_plane.kubeconfig, answer["status"]["token"]))
        return connect(access(kubeconfig), parallel=2)

    return client_of


def with_token(kubeconfig: Path, token: str) -> str:
    """The same cluster, another user."""
    config = load_documents(kubeconfig.read_bytes(), file="kubeconfig")[0].value
    return json.dumps(
        {**config, "users": [{"name": one["name"], "user": {"token": token}} for one in config["users"]]}
    )


def config_map(namespace: str, name: str = "settings", **data: str) -> Object:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data or {"mode": "a"},
    }
