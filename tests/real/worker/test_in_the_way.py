"""What meets objects that are still being deleted waits for them and blames nobody, on a real Redis and a real API server."""

from __future__ import annotations

import json
import time

import pytest
from parts.control_plane import ControlPlane
from parts.engine import Engine, InterruptingMetrics
from parts.manifests import config_map, in_wave, several

from towline.shared.errors import NotGoneYet
from towline.shared.jobs import QueueName, SteerArguments, Steering, SyncArguments
from towline.shared.model import Phase, Result
from towline.shared.objects import PART_OF
from towline.shared.queue import DUE
from towline.shared.release import ReleaseStatus
from towline.worker.runner import ATTEMPTS, run
from towline.worker.steer import steer

ORDERS = "services/orders/app.yaml"
HURRIED = "services: {orders: {path: services/orders, timeout: 8s}}"  # a try takes some 5 s
BUSY = "finalizers: example.com/busy"


class Held:
    """The ConfigMap of a service, which somebody has deleted, and which a finalizer keeps."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._kubectl = lambda *words: plane.kubectl("-n", namespace, *words)

    def hold(self) -> None:
        """Have a finalizer keep it."""
        self._patch(["example.com/busy"])

    def delete(self) -> None:
        """Have it deleted, and still there."""
        self.hold()
        self._kubectl("delete", "configmap", "orders", "--wait=false")

    def let_go(self) -> None:
        """Have it gone."""
        self._patch(None)

    def _patch(self, finalizers: list[str] | None) -> None:
        patch = json.dumps({"metadata": {"finalizers": finalizers}})
        self._kubectl("patch", "configmap", "orders", "--type=merge", "--patch", patch)


@pytest.fixture
def held(engine: Engine, control_plane: ControlPlane) -> Held:
    """The ConfigMap of the service `orders`."""
    return Held(control_plane, engine.namespace)


def two(version: int, *others: str) -> str:
    return several(config_map("orders", version=str(version)), *map(config_map, others))


def healthy(engine: Engine, files: str) -> str:
    """A revision that was found healthy."""
    revision = engine.deploy({ORDERS: files})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def status_of(engine: Engine) -> ReleaseStatus:
    release = engine.release("orders")
    assert release is not None
    return release.status


def version_of(engine: Engine) -> str:
    live = engine.live("ConfigMap", "orders")
    assert live is not None
    return str(live["data"]["version"])


def say(engine: Engine, action: Steering) -> None:
    """An operator's word."""
    steer(engine.tools, SteerArguments(release="staging/orders", action=action, operator="ada"))


def error_of(engine: Engine) -> str:
    view = engine.view("orders")
    assert view is not None
    return view.error


def test_a_sync_writes_what_it_can_blames_nobody_and_ends_when_the_object_is_gone(
    engine: Engine, held: Held
) -> None:
    first = healthy(engine, two(1, "old"))
    held.delete()
    revision = engine.commit({ORDERS: two(2, "new")})

    with pytest.raises(NotGoneYet, match=BUSY) as waits:
        engine.push()

    began = engine.tools.queue.wishes.get("staging/orders")
    status, told = status_of(engine), engine.tools.views.revision("shop", revision)
    assert waits.value.retry_after == 5.0
    assert BUSY in error_of(engine) and "refused" not in error_of(engine)
    assert told is not None and told["staging/orders"].state == "waiting"
    assert (status.phase, status.revision, status.quarantined) == (Phase.HEALTHY, first, None)
    assert engine.conclude("orders") == "its last attempt did not finish: a sync goes first"
    assert engine.live("ConfigMap", "new") is not None
    assert engine.live("ConfigMap", "old") is not None
    held.let_go()
    engine.run_syncs()
    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, version_of(engine), error_of(engine)) == (revision, "2", "")
    assert began is not None and status.stable_until is not None
    assert status.stable_until.timestamp() == pytest.approx(began.waits_since, abs=0.01)
    assert status.history[0].started_at == status.stable_until
    assert engine.live("ConfigMap", "old") is None


def test_a_first_install_is_not_undone(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.hold()
    engine.deploy({ORDERS: None, "services/other/app.yaml": config_map("other")})
    revision = engine.commit({ORDERS: two(2, "new")})

    with pytest.raises(NotGoneYet, match=BUSY):
        engine.push()

    assert engine.live("ConfigMap", "new") is not None
    view = engine.view("orders")
    assert view is not None and BUSY in view.error and view.phase == ""
    held.let_go()
    engine.run_syncs()
    assert engine.eventually("orders", Phase.HEALTHY).status.revision == revision
    assert version_of(engine) == "2"


def test_a_first_install_that_was_suspended_while_it_waited_goes_on_when_it_is_resumed(
    engine: Engine, held: Held
) -> None:
    healthy(engine, two(1))
    held.hold()
    engine.deploy({ORDERS: None, "services/other/app.yaml": config_map("other")})
    revision = engine.commit({ORDERS: two(2)})
    with pytest.raises(NotGoneYet, match=BUSY):
        engine.push()

    say(engine, Steering.SUSPEND)
    engine.run_syncs()
    held.let_go()
    say(engine, Steering.RESUME)

    assert status_of(engine).phase is None
    engine.run_pushes()
    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, version_of(engine)) == (revision, "2")


def test_what_is_pinned_where_it_was_when_a_newer_revision_waits_goes_back_there(
    engine: Engine, held: Held
) -> None:
    first = healthy(engine, two(1, "old"))
    held.delete()
    engine.commit({ORDERS: two(2, "new")})
    with pytest.raises(NotGoneYet, match=BUSY):
        engine.push()

    say(engine, Steering.PIN)
    held.let_go()
    engine.run_syncs()

    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, version_of(engine)) == (first, "1")
    assert engine.live("ConfigMap", "new") is None


def test_an_operators_rollback_waits_too_and_is_not_lost_to_a_push(engine: Engine, held: Held) -> None:
    first = healthy(engine, two(1))
    healthy(engine, two(2, "new"))
    held.delete()

    with pytest.raises(NotGoneYet, match=BUSY):
        engine.roll_back("orders", first)

    assert status_of(engine).history[0].result is Result.HEALTHY
    assert engine.live("ConfigMap", "new") is not None
    held.let_go()
    engine.deploy({ORDERS: two(3)})
    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, version_of(engine)) == (first, "1")
    assert status.history[0].triggered_by == "its pin"
    assert engine.live("ConfigMap", "new") is None


def test_the_only_change_waits_until_its_time_is_over_and_has_failed_half_way(
    engine: Engine, held: Held
) -> None:
    first = engine.deploy({ORDERS: two(1), ".towline.yaml": HURRIED})
    engine.eventually("orders", Phase.HEALTHY)
    held.delete()
    revision = engine.commit({ORDERS: two(2)})
    with pytest.raises(NotGoneYet, match=BUSY) as waits:
        engine.push()
    waiting = status_of(engine)

    engine.run_syncs()

    status = status_of(engine)
    assert (waiting.phase, waiting.quarantined) == (Phase.HEALTHY, None)
    assert waits.value.retry_after is not None and waits.value.retry_after < 5.0  # when the time is over
    assert (status.phase, status.stable_revision) == (Phase.ROLLING_BACK, first)
    assert status.quarantined is not None and status.quarantined.revision == revision
    assert BUSY in status.quarantined.cause
    assert "nothing was written" not in status.message
    held.let_go()
    assert engine.eventually("orders", Phase.ROLLED_BACK).status.revision == first
    assert version_of(engine) == "1"


def test_a_first_install_whose_time_is_over_stays_as_it_is_and_says_why(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.hold()
    engine.deploy({ORDERS: None, "services/other/app.yaml": config_map("other")})
    engine.commit({ORDERS: two(2, "new"), ".towline.yaml": HURRIED})
    with pytest.raises(NotGoneYet, match=BUSY):
        engine.push()

    engine.run_syncs()

    status = status_of(engine)
    assert status.phase is Phase.FAILED
    assert BUSY in status.message and "nothing was written" not in status.message
    held.let_go()


def test_a_refusal_in_a_later_try_does_not_say_that_nothing_was_written(
    engine: Engine, held: Held, control_plane: ControlPlane
) -> None:
    healthy(engine, two(1))
    held.delete()
    engine.commit({ORDERS: two(2, "new")})
    with pytest.raises(NotGoneYet):
        engine.push()
    held.let_go()
    control_plane.kubectl("-n", engine.namespace, "create", "configmap", "orders")
    control_plane.kubectl(
        "-n", engine.namespace, "label", "configmap", "orders", f"{PART_OF}=applyset-somebody-v1"
    )

    engine.run_syncs()

    message = status_of(engine).message
    assert "was refused, nothing more was written" in message and "belongs to" in message
    assert "nothing was written" not in message


def test_a_job_that_waits_is_run_again_later_and_never_counts_as_failed(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.delete()
    engine.commit({ORDERS: two(2)})
    engine.push(run=False)
    queue = engine.tools.queue
    (job,) = queue.outbox().parked
    queue.later(job, queue.outbox().parked[job].model_copy(update={"attempt": ATTEMPTS}), at=0.0)

    line = run(engine.tools, job, queue.rq(QueueName.SYNCS).fetch_job(job).args[0])

    assert line.startswith("again in 5 s") and BUSY in line
    assert queue.outbox().parked[job].attempt == 1
    assert engine.tools.broker.redis.zscore(DUE, job) > time.time()
    held.let_go()


def test_each_step_of_a_revision_has_its_own_time(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.delete()
    engine.commit({ORDERS: several(two(2), in_wave(1, config_map("later")))})
    with pytest.raises(NotGoneYet):
        engine.push()
    waiting = engine.tools.queue.wishes.get("staging/orders")
    held.let_go()
    engine.run_syncs()

    engine.eventually_says("orders", "healthy so far")

    going_on = engine.tools.queue.wishes.get("staging/orders")
    assert waiting is not None and waiting.waits_since > 0
    assert going_on is not None and going_on.goes_on and going_on.waits_since == 0


def test_a_newer_push_takes_the_place_of_one_that_waits(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.delete()
    second = engine.commit({ORDERS: two(2)})
    with pytest.raises(NotGoneYet):
        engine.push()

    held.let_go()
    third = engine.deploy({ORDERS: two(3)})

    assert status_of(engine).stable_until is None  # the second may have broken what the third is judged by
    told = engine.tools.views.revision("shop", second)
    assert told is not None and told["staging/orders"].state == "superseded"
    assert engine.eventually("orders", Phase.HEALTHY).status.revision == third
    assert version_of(engine) == "3"


def test_a_newer_push_during_a_try_has_its_turn_at_once(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.delete()
    second = engine.commit({ORDERS: two(2)})
    engine.push(run=False)
    third = engine.commit({ORDERS: two(3)})
    metrics = InterruptingMetrics(engine.tools.broker, "apply", lambda: engine.push(run=False))
    engine.tools.metrics = metrics

    with pytest.raises(NotGoneYet, match=third[:10]):
        engine.run(SyncArguments(release="staging/orders"))

    told = engine.tools.views.revision("shop", second)
    assert told is not None and told["staging/orders"].state == "superseded"
    held.let_go()


def test_an_attempt_that_waits_is_found_again_after_redis_was_wiped(engine: Engine, held: Held) -> None:
    healthy(engine, two(1))
    held.delete()
    second = engine.commit({ORDERS: two(2)})
    with pytest.raises(NotGoneYet):
        engine.push()
    engine.tools.broker.redis.flushdb()

    held.let_go()
    engine.push()

    assert engine.eventually("orders", Phase.HEALTHY).status.revision == second
    assert version_of(engine) == "2"
