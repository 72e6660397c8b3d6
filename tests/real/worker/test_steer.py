"""What the history says of who let a release go, and that its quarantine goes on."""

import json

import pytest
from parts.manifests import config_map, deployment, nowhere

from towline.shared.jobs import JobName, SteerArguments, Steering
from towline.shared.model import Phase, Trigger
from towline.worker.steer import KUBECTL, steer

ORDERS = "services/orders/app.yaml"


@pytest.fixture
def stable(engine):
    """The revision of a service that was found healthy."""
    revision = engine.deploy({ORDERS: config_map("orders", a="1")})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def word(action: Steering, **given: str) -> SteerArguments:
    return SteerArguments(release="staging/orders", action=action, operator="ada", **given)


def let_go_by_ada(engine, control_plane):
    steer(engine.tools, word(Steering.UNPIN))


def resumed_by_ada(engine, control_plane):
    steer(engine.tools, word(Steering.SUSPEND))
    steer(engine.tools, word(Steering.RESUME))


def let_go_by_kubectl(engine, control_plane):
    patch = json.dumps({"spec": {"pinned": ""}})
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "release", "orders", "--type=merge", "--patch", patch
    )
    engine.conclude("orders")


@pytest.mark.parametrize(
    ("let_go", "by"), [(let_go_by_ada, "ada"), (resumed_by_ada, "ada"), (let_go_by_kubectl, KUBECTL)]
)
def test_what_a_release_catches_up_with_is_by_who_let_it_go(engine, stable, control_plane, let_go, by):
    held = resumed_by_ada is not let_go
    steer(engine.tools, word(Steering.PIN if held else Steering.SUSPEND))
    second = engine.deploy({ORDERS: config_map("orders", a="2")})

    let_go(engine, control_plane)
    engine.run_pushes()

    newest = engine.release("orders").status.history[0]
    assert (newest.revision, newest.triggered_by) == (second, by)
    assert newest.trigger is Trigger.CLOCK  # it follows its branch, which is less than an operator's sync


@pytest.mark.parametrize("held", [(Steering.PIN, Steering.UNPIN), (Steering.SUSPEND, Steering.RESUME)])
def test_who_lets_a_release_go_ends_no_quarantine(engine, stable, held):
    broken = nowhere(deployment("orders", replicas=1))
    engine.deploy({ORDERS: broken})
    engine.eventually("orders", Phase.ROLLED_BACK)

    for action in held:
        steer(engine.tools, word(action))
    engine.run_pushes()

    assert engine.live("Deployment", "orders", api_version="apps/v1") is None
    assert engine.release("orders").status.revision == stable
    assert not [one for one in engine.tools.queue.outbox().parked.values() if one.job is JobName.SYNC]
