"""What somebody does to a workload by hand, as kubectl shows it: against processes started by the command line."""

import pytest
from parts.eventually import eventually
from parts.manifests import deployment

from towline.shared.model import Phase


def deploy(towline, drift: str):
    """The service `orders`, healthy."""
    team = f'services: {{orders: {{path: services/orders, drift: "{drift}"}}}}'
    towline.start("up")
    workload = deployment("orders", replicas=1)
    revision = towline.origin.commit({"services/orders/app.yaml": workload, ".towline.yaml": team})
    towline.webhook(revision)
    towline.eventually_at("orders", revision)
    eventually(lambda: towline.release("orders").status.phase is Phase.HEALTHY, within=20)
    return towline.release("orders")


def comes(control_plane, namespace: str, condition: str) -> None:
    """Wait as a script does."""
    control_plane.kubectl(
        "-n", namespace, "wait", f"--for=condition={condition}", "release/orders", "--timeout=10s"
    )


@pytest.mark.parametrize("drift", ["report", "off"])
def test_a_workload_that_is_deleted_and_restored_by_hand_is_not_ready_meanwhile(
    towline, control_plane, drift
):
    namespace = deploy(towline, drift).namespace
    saved = control_plane.kubectl("-n", namespace, "get", "deployment", "orders", "-o", "yaml")

    control_plane.kubectl("-n", namespace, "delete", "deployment", "orders")

    comes(control_plane, namespace, "Ready=False")
    if drift == "report":
        comes(control_plane, namespace, "Synced=False")
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=saved)
    comes(control_plane, namespace, "Ready")
    comes(control_plane, namespace, "Synced")
    assert towline.release("orders").status.drift == ()


def test_a_workload_that_is_deleted_and_put_back_leaves_its_release_as_ready_as_it_was(
    towline, control_plane
):
    before = deploy(towline, "heal")
    uid = towline.live("Deployment", "orders", "apps/v1")["metadata"]["uid"]

    control_plane.kubectl("-n", before.namespace, "delete", "deployment", "orders")

    live = eventually(lambda: towline.live("Deployment", "orders", "apps/v1"), within=5)
    eventually(lambda: not towline.release("orders").is_unfinished)
    after = towline.release("orders").status
    assert live["metadata"]["uid"] != uid
    assert (after.phase, after.conditions, after.drift) == (Phase.HEALTHY, before.status.conditions, ())
