"""The manifests in k8s/: taken by a real API server, and the rights in them enough for a sync and for no more."""

import subprocess
from pathlib import Path

import pytest
import yaml
from parts.addressed import addressed, make_with_address
from parts.control_plane import KubectlError
from parts.eventually import eventually
from parts.manifests import config_map, deployment, several
from parts.watched import Running

from towline.shared.config import parse_config
from towline.shared.documents import load_documents
from towline.shared.watchers import Watchers
from towline.worker.health.surroundings import address_class
from towline.worker.start_watch import watcher_of

BASE = Path(__file__).parents[3] / "k8s" / "base"
WORKER = "system:serviceaccount:towline-system:towline-worker"


@pytest.fixture(scope="module")
def built(kustomize):
    """Everything that `kubectl apply -k k8s/base` would send."""
    return subprocess.run([kustomize, "build", BASE], capture_output=True, check=True, timeout=30).stdout


@pytest.fixture(scope="module")
def installed(built, control_plane):
    """The manifests, in the cluster."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=built.decode())
    yield
    control_plane.kubectl("delete", "namespace", "towline-system", "--wait=false")
    control_plane.kubectl("delete", "clusterrole,clusterrolebinding", "towline-record")


def test_an_api_server_takes_every_manifest_and_warns_of_nothing(installed, built, control_plane):
    kinds = {document.value["kind"] for document in load_documents(built, file="k8s/base")}

    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe"},
            "spec": document.value["spec"]["template"]["spec"],
        }
        for document in load_documents(built, file="k8s/base")
        if document.value["kind"] in ("Deployment", "StatefulSet")
    ]
    for pod in pods:
        if any(
            "volumeMounts" in c and {"name": "data", "mountPath": "/data"} in c["volumeMounts"]
            for c in pod["spec"]["containers"]
        ):
            pod["spec"]["volumes"].append({"name": "data", "emptyDir": {}})  # the claim template's
        command = ("-n", "towline-system", "create", "--dry-run=server", "-f", "-")
        assert "created" in control_plane.kubectl(*command, stdin=yaml.safe_dump(pod))

    assert {"CustomResourceDefinition", "Deployment", "StatefulSet", "ClusterRole"} <= kinds


def test_the_configuration_in_them_is_one_that_towline_reads():
    data = (BASE / "towline.yaml").read_bytes()

    config = parse_config(data, file="towline.yaml", folder=BASE)

    assert config.environment("staging").service_account == "deployer"


def as_the_workers_account(engine, control_plane, folder):
    """The environment's namespace with its deployer, and everything from now on as the account of the manifests."""
    namespace = engine.namespace
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.kubectl("-n", namespace, "create", "serviceaccount", "deployer")
    grant = (
        "create",
        "rolebinding",
        "deployer",
        "--clusterrole=edit",
        f"--serviceaccount={namespace}:deployer",
    )
    control_plane.kubectl("-n", namespace, *grant)
    token = control_plane.kubectl("-n", "towline-system", "create", "token", "towline-worker").strip()
    engine.use_token(token, control_plane, folder)


@pytest.mark.parametrize(
    "engine", [{"environment": {"service_account": "deployer", "create_namespace": False}}], indirect=True
)
def test_the_workers_account_can_sync_by_the_environments_account_and_do_no_more(
    installed, engine, control_plane, tmp_path
):
    namespace = engine.namespace
    as_the_workers_account(engine, control_plane, tmp_path)

    revision = engine.deploy({"services/orders/app.yaml": config_map("orders")})
    engine.conclude("orders")
    engine.deploy({"services/orders/app.yaml": None, "services/cart/app.yaml": config_map("cart")})

    assert engine.view("cart").status["revision"] != revision
    assert engine.release("orders") is None
    assert "cart" in control_plane.kubectl("-n", namespace, "get", "configmap", "-o", "name")
    for verb, what in (
        ("delete", "deployments"),
        ("get", "configmaps"),
        ("delete", "namespaces"),
        ("create", "pods"),
    ):
        with pytest.raises(KubectlError):
            control_plane.kubectl("auth", "can-i", verb, what, "--as", WORKER, "-n", namespace)


@pytest.mark.parametrize(
    "engine", [{"environment": {"service_account": "deployer", "create_namespace": False}}], indirect=True
)
def test_the_workers_account_can_watch_what_the_environments_account_applied(
    installed, engine, control_plane, tmp_path
):
    as_the_workers_account(engine, control_plane, tmp_path)
    engine.deploy({"services/orders/app.yaml": several(config_map("orders"), deployment("orders"))})

    running = Running(watcher_of(engine.tools.config, "test"))

    eventually(lambda: Watchers(engine.tools.broker).active(["test"]), within=20)
    assert len(running.watcher.scene.cache.members) == 2
    running.stop()


def test_the_workers_account_sees_in_all_namespaces_who_gives_addresses(
    installed, engine, cluster, namespace, control_plane, tmp_path
):
    others = [addressed(kind, namespace, "other", of=namespace) for kind in ("Ingress", "Service")]
    for one in others:
        make_with_address(cluster, one)
    token = control_plane.kubectl("-n", "towline-system", "create", "token", "towline-worker").strip()
    engine.use_token(token, control_plane, tmp_path)

    addresses = engine.tools.addresses(engine.tools.config.environment("staging"))

    assert all(addresses.gives(address_class(one["kind"], one)) for one in others)
