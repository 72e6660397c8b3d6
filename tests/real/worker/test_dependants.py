"""Dependants are synced when what they depend on is healthy, on a real Redis and a real API server."""

from __future__ import annotations

import pytest
from parts.engine import Engine
from parts.manifests import config_map, deployment, nowhere, several

from towline.shared.jobs import SteerArguments, Steering
from towline.shared.model import Phase, Trigger
from towline.shared.queue import OUTBOX
from towline.shared.wanted import wanted_key
from towline.worker.clock import Clock
from towline.worker.dependants import LOOK_SECONDS
from towline.worker.steer import steer

ORDERS = "services/orders/app.yaml"
PAYMENTS = "services/payments/app.yaml"
TEAM = """
services:
  orders: {path: services/orders, depends_on: [payments]}
  payments: {path: services/payments}
  other: {path: services/other}
"""
BASE = {".towline.yaml": TEAM, "services/other/app.yaml": config_map("other")}


def both(version: int, *, payments: str = "") -> dict[str, str]:
    healthy = deployment("payments", image=f"example.com/app:{version}", replicas=1)
    return {**BASE, ORDERS: config_map("orders", version=str(version)), PAYMENTS: payments or healthy}


def bad(version: int) -> str:
    return nowhere(deployment("payments", image=f"example.com/app:{version}", replicas=1))


def version_of(engine: Engine) -> str | None:
    live = engine.live("ConfigMap", "orders")
    return live["data"]["version"] if live else None


def error_of(engine: Engine) -> str:
    view = engine.view("orders")
    assert view is not None
    return view.error


@pytest.fixture
def stable(engine: Engine) -> str:
    """Both services, found healthy."""
    revision = engine.deploy(both(1))
    for service in ("payments", "orders"):
        engine.bring(service, Phase.HEALTHY)
    return revision


def test_a_dependant_waits_and_starts_when_its_dependency_is_healthy(engine: Engine) -> None:
    engine.deploy(both(1))

    waits = (version_of(engine), error_of(engine))
    engine.bring("payments", Phase.HEALTHY)

    assert waits == (None, "waits for staging/payments")
    assert version_of(engine) == "1"
    assert error_of(engine) == ""


def test_a_dependant_that_changes_alone_waits_for_nobody(engine: Engine, stable: str) -> None:
    engine.deploy({ORDERS: config_map("orders", version="2")})

    assert version_of(engine) == "2"


def test_a_failed_dependency_blocks_its_dependants_alone_and_they_go_on_with_the_fix(
    engine: Engine, stable: str
) -> None:
    engine.deploy({**both(2, payments=bad(2)), "services/other/app.yaml": config_map("other", a="2")})
    engine.bring("payments", Phase.ROLLED_BACK)

    blocked = (version_of(engine), error_of(engine))
    other = engine.live("ConfigMap", "other")
    engine.deploy({PAYMENTS: deployment("payments", image="example.com/app:3", replicas=1)})
    engine.bring("payments", Phase.HEALTHY)

    assert blocked[0] == "1"
    assert blocked[1].startswith("waits for staging/payments, which failed: ")
    assert other is not None and other["data"] == {"a": "2"}
    assert (version_of(engine), error_of(engine)) == ("2", "")


def test_a_dependant_that_fails_goes_back_although_a_newer_commit_of_it_waits(
    engine: Engine, stable: str
) -> None:
    failing = nowhere(deployment("orders", image="example.com/app:2", replicas=1))
    engine.deploy({ORDERS: several(config_map("orders", version="2"), failing)})
    engine.deploy({ORDERS: config_map("orders", version="3"), PAYMENTS: bad(3)})
    engine.bring("payments", Phase.ROLLED_BACK)

    engine.bring("orders", Phase.ROLLED_BACK)

    assert (version_of(engine), engine.release("orders").status.revision) == ("1", stable)
    engine.deploy({PAYMENTS: deployment("payments", image="example.com/app:4", replicas=1)})
    engine.bring("payments", Phase.HEALTHY)
    assert version_of(engine) == "3"


def test_a_judgement_of_a_dependant_that_waits_asks_for_no_sync_of_it(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=bad(2)))

    engine.conclude("orders")

    assert "staging/orders" not in {one.release for one in engine.waiting()}


def test_a_dependency_that_is_refused_blocks_its_dependant(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=deployment("payments", label="else")))

    assert version_of(engine) == "1"
    assert "which failed" in error_of(engine)


def test_a_newer_commit_of_a_dependant_still_waits_for_what_the_older_one_waited_for(
    engine: Engine, stable: str
) -> None:
    engine.deploy(both(2, payments=bad(2)))
    engine.bring("payments", Phase.ROLLED_BACK)

    engine.deploy({ORDERS: config_map("orders", version="3")})

    assert version_of(engine) == "1"
    assert "which failed" in error_of(engine)


@pytest.mark.parametrize(
    ("held", "free"), [(Steering.SUSPEND, Steering.RESUME), (Steering.PIN, Steering.UNPIN)]
)
def test_a_dependant_that_is_let_go_waits_for_what_was_pushed_meanwhile(
    engine: Engine, stable: str, held: Steering, free: Steering
) -> None:
    say(engine, held)
    engine.deploy(both(2, payments=bad(2)))
    engine.bring("payments", Phase.ROLLED_BACK)

    say(engine, free)
    engine.run_pushes()
    blocked = (version_of(engine), error_of(engine))
    engine.deploy({PAYMENTS: deployment("payments", image="example.com/app:3", replicas=1)})
    engine.bring("payments", Phase.HEALTHY)

    assert blocked[0] == "1"
    assert blocked[1].startswith("waits for staging/payments, which failed: ")
    assert version_of(engine) == "2"


def test_a_dependant_that_is_let_go_where_nothing_was_pushed_waits_for_nobody(
    engine: Engine, stable: str
) -> None:
    say(engine, Steering.SUSPEND)
    engine.deploy({PAYMENTS: bad(2)})
    engine.bring("payments", Phase.ROLLED_BACK)

    say(engine, Steering.RESUME)
    engine.run_pushes()

    assert error_of(engine) == ""
    engine.bring("orders", Phase.HEALTHY)


def say(engine: Engine, action: Steering) -> None:
    """An operator's word about the dependant."""
    steer(engine.tools, SteerArguments(release="staging/orders", action=action, operator="ada"))


def test_an_operator_need_not_wait(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=bad(2)))

    engine.push(release="staging/orders", trigger=Trigger.OPERATOR.value)

    assert version_of(engine) == "2"


def test_a_dependant_goes_before_what_it_depends_on_when_both_leave(engine: Engine, stable: str) -> None:
    engine.commit(
        {ORDERS: None, PAYMENTS: None, ".towline.yaml": "services: {other: {path: services/other}}"}
    )
    engine.push(run=False)

    waiting = {one.release: one for one in engine.waiting()}
    engine.run(waiting["staging/payments"])
    first = engine.release("payments")
    engine.run(waiting["staging/orders"])
    engine.run_syncs()

    assert first is not None
    assert (
        "waits for staging/orders" in engine.lines["staging/payments"] or engine.release("payments") is None
    )
    assert (engine.release("orders"), engine.release("payments")) == (None, None)


def test_the_clock_finds_a_dependant_that_was_forgotten(engine: Engine, stable: str) -> None:
    engine.deploy(both(2))
    engine.tools.broker.redis.delete("towline:dependants:staging/payments")
    engine.bring("payments", Phase.HEALTHY)
    forgotten = version_of(engine)

    clock = Clock(engine.tools)
    clock.sweep(LOOK_SECONDS)
    engine.run_syncs()

    assert (forgotten, version_of(engine)) == ("1", "2")


def test_the_clock_leaves_alone_what_has_to_wait(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=bad(2)))

    Clock(engine.tools).sweep(LOOK_SECONDS)

    assert engine.waiting() == []


def test_a_wish_that_waits_is_still_to_be_done(engine: Engine, stable: str) -> None:
    engine.deploy(both(2, payments=several(bad(2))))

    assert engine.tools.queue.wishes.get("staging/orders") is not None
    assert engine.tools.broker.redis.ttl(wanted_key("staging/orders")) == -1
    assert engine.tools.broker.redis.exists(OUTBOX) == 0


def test_a_chain_of_dependants_is_told_down_to_what_all_of_it_waits_for(engine: Engine) -> None:
    cart = "  cart: {path: services/cart, depends_on: [orders]}\n"
    files = {**both(1), "services/cart/app.yaml": config_map("cart"), ".towline.yaml": TEAM + cart}

    engine.deploy(files)

    view = engine.view("cart")
    assert view is not None
    assert view.error == "waits for staging/orders, which waits for staging/payments"
