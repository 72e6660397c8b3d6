"""An operator's word that meets a sync of its release, and what the history says of who let a release go."""

import json
import time

import pytest
from parts.engine import InterruptingMetrics
from parts.manifests import config_map, deployment, nowhere

from towline.shared.jobs import JobName, QueueName, SteerArguments, Steering, steer_call
from towline.shared.model import Phase, Trigger
from towline.shared.queue import OUTBOX
from towline.shared.wanted import Lease
from towline.worker.holding import holding
from towline.worker.runner import run
from towline.worker.steer import KUBECTL, steer

ORDERS = "services/orders/app.yaml"
HOUR = 3600.0


@pytest.fixture
def stable(engine):
    """The revision of a service that was found healthy."""
    revision = engine.deploy({ORDERS: config_map("orders", a="1")})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def word(action: Steering, **given: str) -> SteerArguments:
    return SteerArguments(release="staging/orders", action=action, operator="ada", **given)


def refused_for_now(engine, action: Steering) -> str:
    """A worker takes the job of an operator's word while a sync runs, as it did so often that it is patient now."""
    (identifier,) = engine.tools.queue.enqueue([steer_call(word(action))])
    sealed = engine.tools.queue.rq(QueueName.URGENT).fetch_job(identifier).args[0]
    assert run(engine.tools, identifier, sealed).startswith("again in")
    parked = engine.tools.queue.parked(identifier)
    engine.tools.queue.later(identifier, parked, at=time.time() + HOUR / 12)
    return identifier


def is_due(engine, identifier: str) -> bool:
    return identifier in engine.tools.queue.due(now=time.time())


def during(engine, stage: str, happens) -> None:
    """Have something happen when the next job ends this stage."""
    engine.tools.metrics = InterruptingMetrics(engine.tools.broker, stage, happens)


def test_an_operators_word_that_met_a_sync_is_due_when_that_ends(engine, stable):
    met = []
    during(engine, "apply", lambda: met.append(refused_for_now(engine, Steering.SUSPEND)))

    engine.commit({ORDERS: config_map("orders", a="2")})
    engine.push(run=False)
    engine.run(engine.waiting()[0])

    assert is_due(engine, met[0])


def test_an_operators_word_goes_before_what_was_pushed_while_a_sync_ran(engine, stable):
    def both() -> None:
        refused_for_now(engine, Steering.SUSPEND)
        engine.commit({ORDERS: config_map("orders", a="3")})
        engine.push(run=False)

    during(engine, "apply", both)
    engine.commit({ORDERS: config_map("orders", a="2")})
    engine.push(run=False)
    engine.run(engine.waiting()[0])
    after_the_sync = engine.live("ConfigMap", "orders")["data"]
    engine.tools.broker.redis.delete(OUTBOX)  # the second push's job has ended: it found the release held

    steer(engine.tools, word(Steering.SUSPEND))
    engine.run_syncs()

    assert after_the_sync == {"a": "2"}
    assert engine.release("orders").status.phase is Phase.SUSPENDED
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}
    assert "suspended" in engine.lines["staging/orders"]


def test_an_operators_word_that_met_another_one_is_due_when_that_is_carried_out(engine, stable):
    lease = Lease(engine.tools.broker, "staging/orders")
    assert lease.acquire()
    with holding(engine.tools, engine.view("orders").name, lease):
        met = refused_for_now(engine, Steering.SUSPEND)
        is_early = is_due(engine, met)

    assert (is_early, is_due(engine, met)) == (False, True)


def let_go_by_ada(engine, control_plane):
    steer(engine.tools, word(Steering.UNPIN))


def resumed_by_ada(engine, control_plane):
    steer(engine.tools, word(Steering.RESUME))


def let_go_by_kubectl(engine, control_plane):
    patch = json.dumps({"spec": {"pinned": ""}})
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "release", "orders", "--type=merge", "--patch", patch
    )
    engine.conclude("orders")


@pytest.mark.parametrize(
    ("hold", "let_go", "by"),
    [
        (Steering.PIN, let_go_by_ada, "ada"),
        (Steering.SUSPEND, resumed_by_ada, "ada"),
        (Steering.PIN, let_go_by_kubectl, KUBECTL),
    ],
)
def test_what_a_release_catches_up_with_is_by_who_let_it_go(engine, stable, control_plane, hold, let_go, by):
    steer(engine.tools, word(hold))
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
