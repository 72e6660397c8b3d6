"""A workload that somebody deletes makes its release ill where nobody puts it back, and no revision is blamed for it."""

import json

import pytest
import yaml
from parts.eventually import eventually
from parts.manifests import config_map, definition, deployment, several

from towline.shared.jobs import HealArguments, SteerArguments, Steering
from towline.shared.model import Health, Phase
from towline.worker.heal import heal
from towline.worker.start import tools_of
from towline.worker.steer import steer

ORDERS = "services/orders/app.yaml"
TEAM = ".towline.yaml"


def deploy(engine, *, drift: str) -> None:
    """A service whose second revision is stable, and would be rolled back if it failed now."""
    for image in ("example.com/app:1", "example.com/app:2"):
        engine.deploy({ORDERS: deployment("orders", image=image), TEAM: team(drift)})
        engine.eventually("orders", Phase.HEALTHY)


def team(drift: str) -> str:
    """What fails within an hour is rolled back."""
    return f'services: {{orders: {{path: services/orders, drift: "{drift}", rollback: {{watch: 1h}}}}}}'


def look(engine) -> None:
    """What the watcher asks for when it sees an object differ."""
    heal(engine.tools, HealArguments(release="staging/orders"))


def conditions(engine) -> dict[str, str]:
    """Of the release, by type."""
    return {one.type: one.status for one in engine.release("orders").status.conditions}


def delete(engine, control_plane) -> None:
    """By hand."""
    control_plane.kubectl("-n", engine.namespace, "delete", "deployment", "orders")


@pytest.mark.parametrize("drift", ["report", "off"])
def test_a_deleted_workload_is_reported_and_its_release_recovers_when_somebody_makes_it_anew(
    engine, control_plane, drift
):
    deploy(engine, drift=drift)
    revision = engine.release("orders").status.revision
    delete(engine, control_plane)
    engine.conclude("orders")
    look(engine)

    status = engine.release("orders").status
    assert (status.phase, status.health, status.revision) == (Phase.FAILED, Health.FAILED, revision)
    assert f"Deployment.apps {engine.namespace}/orders is not there: it was deleted" in status.message
    assert status.quarantined is None
    assert conditions(engine)["Ready"] == "False"
    events = json.loads(control_plane.kubectl("-n", engine.namespace, "get", "events", "-o", "json"))["items"]
    assert any(one["reason"] == "Failed" and "it was deleted" in one["message"] for one in events)

    control_plane.kubectl("-n", engine.namespace, "apply", "-f", "-", stdin=deployment("orders"))
    engine.eventually("orders", Phase.HEALTHY)

    assert conditions(engine)["Ready"] == "True"


@pytest.mark.parametrize("drift", ["report", "off"])
def test_a_commit_that_does_not_change_the_deleted_workload_makes_it_anew(engine, control_plane, drift):
    deploy(engine, drift=drift)
    delete(engine, control_plane)
    look(engine)
    engine.conclude("orders")

    both = several(deployment("orders", image="example.com/app:2"), config_map("orders"))
    revision = engine.deploy({ORDERS: both})

    assert engine.eventually("orders", Phase.HEALTHY).status.revision == revision
    assert engine.live("Deployment", "orders", api_version="apps/v1") is not None


@pytest.mark.parametrize("drift", ["report", "off"])
def test_what_was_stable_is_not_rolled_back_when_it_is_resumed_without_its_workload(
    engine, control_plane, drift
):
    deploy(engine, drift=drift)
    revision = engine.release("orders").status.revision
    for word in (Steering.SUSPEND, Steering.RESUME):
        steer(engine.tools, SteerArguments(release="staging/orders", action=word, operator="ada"))
        if word is Steering.SUSPEND:
            delete(engine, control_plane)

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, status.stable_revision, status.quarantined) == (revision, revision, None)
    assert "it was deleted" in status.message


def test_what_is_deleted_with_its_kind_is_no_fault_of_the_revision_either(engine, control_plane):
    group = f"{engine.namespace[-8:]}.example.com"
    control_plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump(definition(group, "Widget")))
    control_plane.kubectl("wait", "--for=condition=Established", f"crd/widgets.{group}")
    for size in (1, 2):
        widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "orders"}, "size": size}
        engine.deploy({ORDERS: yaml.safe_dump(widget), TEAM: team("report")})
        engine.eventually("orders", Phase.HEALTHY)

    control_plane.kubectl("delete", f"crd/widgets.{group}")
    engine.tools = tools_of(engine.tools.config)  # a worker that has never heard of the kind
    status = engine.eventually("orders", Phase.FAILED).status

    assert status.quarantined is None
    assert "Widget" in status.message


def test_a_deleted_workload_that_is_put_back_never_makes_its_release_ill(engine, control_plane):
    deploy(engine, drift="heal")
    before = engine.release("orders").status

    delete(engine, control_plane)
    engine.conclude("orders")
    while_it_is_gone = engine.release("orders").status
    look(engine)
    engine.conclude("orders")

    assert while_it_is_gone == before
    assert engine.release("orders").status.phase is Phase.HEALTHY
    assert engine.live("Deployment", "orders", api_version="apps/v1") is not None


def test_a_deleted_workload_that_cannot_be_put_back_makes_its_release_ill(engine, control_plane):
    deploy(engine, drift="heal")
    quota = ("quota", "none", "--hard=count/deployments.apps=0")
    control_plane.kubectl("-n", engine.namespace, "create", *quota)
    eventually(lambda: engine.live("ResourceQuota", "none")["status"]["hard"])
    delete(engine, control_plane)

    for _ in range(5):  # until it is not tried any more
        look(engine)
        engine.conclude("orders")

    status = engine.release("orders").status
    assert (status.phase, conditions(engine)["Ready"]) == (Phase.FAILED, "False")
    assert "was deleted; not put back: " in status.drift[0]
    assert "exceeded quota" in status.drift[0]


def test_a_deleted_workload_whose_stored_manifest_is_gone_too_makes_its_release_ill(engine, control_plane):
    deploy(engine, drift="heal")
    stored = engine.release("orders").status.stored_of(engine.release("orders").status.revision)
    control_plane.kubectl("-n", engine.namespace, "delete", "secret", *stored.part_names())
    delete(engine, control_plane)

    look(engine)
    engine.conclude("orders")

    status = engine.release("orders").status
    assert status.phase is Phase.FAILED
    assert status.drift[0].startswith(
        f"Deployment.apps {engine.namespace}/orders was deleted; not put back: "
    )


def test_a_deleted_workload_that_is_left_alone_makes_its_release_ill(engine, control_plane):
    deploy(engine, drift="heal")
    phases = []

    for _ in range(4):
        delete(engine, control_plane)
        look(engine)
        engine.conclude("orders")
        phases.append(engine.release("orders").status.phase)

    assert phases == [Phase.HEALTHY] * 3 + [Phase.FAILED]
    assert "left alone" in engine.release("orders").status.drift[0]
