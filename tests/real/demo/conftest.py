"""The demo's API and a real API server: each test of this folder runs on both, and must see the same."""

import pytest

from towline.demo.cluster import DemoCluster
from towline.shared.cluster import connect
from towline.shared.config import ClusterConfig


@pytest.fixture(params=["demo", "real"])
def cluster(request, tmp_path):
    """One of the two, through the client that Towline uses."""
    if request.param == "demo":
        demo = DemoCluster()
        demo.start()
        request.addfinalizer(demo.stop)
        kubeconfig = tmp_path / "kubeconfig"
        demo.write_kubeconfig(kubeconfig)
    else:
        kubeconfig = request.getfixturevalue("control_plane").kubeconfig
    return connect(ClusterConfig(kubeconfig=kubeconfig, context=None, in_cluster=False))


@pytest.fixture
def place(request, cluster):
    """A namespace of the test's own."""
    name = f"demo-{abs(hash(request.node.name)):x}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    namespaces = cluster.resource("v1", "Namespace")
    found = cluster.get(namespaces, name)
    cluster.delete(namespaces, name, uid=found["metadata"]["uid"], resource_version="")
