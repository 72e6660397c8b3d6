"""Services of a group are stable together and go back together, on a real Redis and a real API server."""

from __future__ import annotations

import pytest
from parts.engine import Engine
from parts.eventually import eventually
from parts.manifests import config_map, deployment, job, nowhere, several

from towline.shared.jobs import JobName, QueueName
from towline.shared.model import HookState, Phase, Trigger
from towline.shared.queue import OUTBOX
from towline.shared.release import Release

ORDERS = "services/orders/app.yaml"
PAYMENTS = "services/payments/app.yaml"
OTHER = "services/other/app.yaml"
TEAM = """
services: {discover: ["services/*"]}
groups: {checkout: [orders, payments]}
"""


def both(version: int, *, payments: str = "") -> dict[str, str]:
    healthy = deployment("payments", image=f"example.com/app:{version}", replicas=1)
    return {
        ".towline.yaml": TEAM,
        ORDERS: config_map("orders", version=str(version)),
        PAYMENTS: payments or healthy,
        OTHER: config_map("other"),
    }


def bad(version: int) -> str:
    return nowhere(deployment("payments", image=f"example.com/app:{version}", replicas=1))


def release_of(engine: Engine, service: str) -> Release:
    release = engine.release(service)
    assert release is not None
    return release


def all_come_to(engine: Engine, phase: Phase) -> list[Release]:
    """Judge both members in turn until both have come to this phase."""

    def are_there() -> list[Release]:
        for service in ("orders", "payments"):
            engine.conclude(service)
        engine.run_syncs()
        found = [release_of(engine, service) for service in ("orders", "payments")]
        assert all(one.status.phase is phase for one in found), found
        return found

    return eventually(are_there, within=20)


@pytest.fixture
def stable(engine: Engine) -> str:
    """A revision at which both members were found healthy."""
    revision = engine.deploy(both(1))
    all_come_to(engine, Phase.HEALTHY)
    return revision


def test_a_healthy_member_waits_for_the_others_and_all_become_stable(engine: Engine, stable: str) -> None:
    revision = engine.deploy(both(2, payments=bad(2).replace("progressDeadlineSeconds: 1", "")))
    engine.eventually_says("orders", "waits for payments of its group")

    waiting = release_of(engine, "orders").status
    fixed = engine.deploy(both(3))
    found = all_come_to(engine, Phase.HEALTHY)

    assert (waiting.phase, waiting.revision, waiting.stable_revision) == (Phase.VERIFYING, revision, stable)
    assert {one.status.stable_revision for one in found} == {fixed}


def test_one_that_fails_takes_the_others_back(engine: Engine, stable: str) -> None:
    revision = engine.deploy(both(2, payments=bad(2)))

    found = all_come_to(engine, Phase.ROLLED_BACK)

    assert {one.status.revision for one in found} == {stable}
    quarantined = [one.status.quarantined for one in found]
    assert [one.revision for one in quarantined if one] == [revision, revision]
    assert quarantined[0] is not None
    assert "payments of its group failed" in quarantined[0].cause
    live = engine.live("ConfigMap", "orders")
    assert live is not None and live["data"] == {"version": "1"}


def test_one_that_is_refused_takes_the_others_back(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=deployment("payments", label="else")))

    status = engine.eventually("orders", Phase.ROLLED_BACK).status

    assert status.revision == stable
    assert status.quarantined is not None and "payments of its group failed" in status.quarantined.cause


@pytest.mark.parametrize(
    "refused", [deployment("payments", label="else"), "kind: None"], ids=["as it is written", "before"]
)
def test_the_others_are_asked_at_once_when_the_first_install_of_one_is_refused(
    engine: Engine, refused: str
) -> None:
    engine.deploy({ORDERS: config_map("orders", version="1")})
    engine.eventually("orders", Phase.HEALTHY)
    engine.commit(both(2, payments=refused))
    engine.push(run=False)
    orders, payments = [one for one in engine.waiting() if "other" not in one.release]
    engine.run(orders)
    engine.eventually_says("orders", "waits for payments of its group")
    engine.tools.broker.redis.delete(OUTBOX)

    engine.run(payments)

    asked = [one for one in engine.tools.queue.outbox().parked.values() if one.job is JobName.CONCLUDE]
    assert [(one.arguments["release"], one.queue) for one in asked] == [("staging/orders", QueueName.URGENT)]
    engine.eventually("orders", Phase.ROLLED_BACK)


def test_nothing_but_hooks_is_done_for_a_revision_that_a_mate_has_lost(engine: Engine, stable: str) -> None:
    orders = several(config_map("orders", version="2"), job("migrate"))
    revision = engine.deploy({**both(2, payments=deployment("payments", label="else")), ORDERS: orders})
    during = release_of(engine, "orders")

    line = engine.eventually_says("orders", "payments of its group failed")
    engine.run_syncs()

    status = release_of(engine, "orders").status
    assert during.status.pending is not None and during.status.pending.revision == revision
    assert (status.phase, status.revision, status.pending) == (Phase.FAILED, stable, None)
    assert f"{stable[:10]} runs on" in line
    assert status.quarantined is not None and status.quarantined.revision == revision
    assert [one.state for one in status.hooks] == [HookState.SUCCEEDED]
    assert "rollback" not in status.history[0].stages
    live = engine.live("ConfigMap", "orders")
    assert live is not None and live["data"] == {"version": "1"}


def test_members_that_a_push_leaves_alone_do_not_count(engine: Engine, stable: str) -> None:
    revision = engine.deploy({ORDERS: config_map("orders", version="2")})

    assert engine.eventually("orders", Phase.HEALTHY).status.stable_revision == revision
    assert release_of(engine, "payments").status.revision == stable


def test_services_outside_the_group_stay_where_they_are(engine: Engine, stable: str) -> None:
    revision = engine.deploy({**both(2, payments=bad(2)), OTHER: config_map("other", a="2")})
    all_come_to(engine, Phase.ROLLED_BACK)

    assert engine.eventually("other", Phase.HEALTHY).status.revision == revision


def test_a_member_whose_sync_is_still_to_come_is_waited_for(engine: Engine, stable: str) -> None:
    engine.commit(both(2))
    engine.push(run=False)
    orders, payments = [one for one in engine.waiting() if "other" not in one.release]
    engine.run(orders)

    line = engine.eventually_says("orders", "waits for payments of its group")
    engine.run(payments)
    all_come_to(engine, Phase.HEALTHY)

    assert line


def test_what_an_operator_brings_alone_stands_alone(engine: Engine, stable: str) -> None:
    revision = engine.deploy(both(2, payments=bad(2)))
    all_come_to(engine, Phase.ROLLED_BACK)

    engine.push(release="staging/orders", trigger=Trigger.OPERATOR.value)

    assert engine.eventually("orders", Phase.HEALTHY).status.revision == revision
