"""A revision answers for what it broke, not for what was broken before it: a real Redis, a real API server with controllers."""

import json
from datetime import timedelta

import pytest
from parts.eventually import eventually
from parts.manifests import config_map, deployment, nowhere, several

from towline.shared.model import Health, Phase, Result

ORDERS = "services/orders/app.yaml"
TEAM = ".towline.yaml"
RULE = "has(self.data.state) && self.data.state == 'broken' ? 'failed: it broke' : 'healthy'"
WITH_RULE = f'services: {{orders: {{path: services/orders, health: {{ConfigMap: "{RULE}"}}}}}}'


def orders(version: int, *, is_bad: bool = False) -> str:
    """A ConfigMap that no version changes, and a Deployment."""
    workload = deployment("orders", image=f"example.com/app:{version}", replicas=1)
    return several(config_map("orders"), nowhere(workload) if is_bad else workload)


@pytest.fixture
def broken(engine, control_plane):
    """A stable release of which one object broke since, some seconds ago."""
    engine.deploy({ORDERS: orders(1), TEAM: WITH_RULE})
    engine.eventually("orders", Phase.HEALTHY)
    say(engine, control_plane, "broken")
    now = engine.tools.cluster(engine.tools.config.environment("staging")).now
    later = now() + timedelta(seconds=4)
    eventually(lambda: engine.release("orders") and now() > later, within=10)  # an answer tells the time


def say(engine, control_plane, state: str) -> None:
    """Have the object say that it is in this state, as its operator would."""
    patch = json.dumps({"data": {"state": state}})
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "configmap", "orders", "--type=merge", "--patch", patch
    )


def test_a_commit_that_leaves_it_alone_is_not_rolled_back_for_it(engine, broken, control_plane):
    revision = engine.deploy({ORDERS: orders(2)})

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, status.stable_revision, status.health) == (revision, revision, Health.FAILED)
    assert status.history[0].result is Result.HEALTHY
    assert "as before this revision: ConfigMap" in status.message
    assert engine.tools.views.revision("shop", revision)["staging/orders"].state == "healthy"
    say(engine, control_plane, "well")
    engine.eventually("orders", Phase.HEALTHY)


def test_a_commit_that_breaks_something_else_is_rolled_back_and_that_succeeds(engine, broken):
    engine.deploy({ORDERS: orders(2, is_bad=True)})

    status = engine.eventually("orders", Phase.ROLLED_BACK, within=20).status

    assert "ProgressDeadlineExceeded" in status.quarantined.cause
    assert (status.health, "it broke" in status.message) == (Health.FAILED, True)


def test_a_commit_that_changes_it_answers_for_it(engine, broken):
    engine.deploy({ORDERS: orders(1).replace("a: b", "a: c")})

    engine.eventually("orders", Phase.ROLLING_BACK)

    assert "it broke" in engine.release("orders").status.quarantined.cause
