"""Workers killed, paused, deceived: nothing is lost, nothing is done twice, nothing gets stuck.

Real worker processes on a real Redis, repository and API server.
"""

import os
import signal
import time

from parts.eventually import eventually
from parts.manifests import config_map

from towline.shared.faults import Action, Point
from towline.shared.jobs import QueueName, SteerArguments, Steering, conclude_call, steer_call
from towline.shared.queue import OUTBOX, Queue
from towline.shared.views import Views

ORDERS = "services/orders/app.yaml"
RERUN_SECONDS = 40  # 15 s until a silent worker counts as dead, and two sweeps


def outbox(towline):
    return {name.decode() for name in towline.tools.broker.redis.hkeys(OUTBOX)}


def live(towline, name):
    environment = towline.tools.config.environment("staging")
    cluster = towline.tools.cluster(environment)
    return cluster.get(cluster.resource("v1", "ConfigMap"), name, environment.namespace)


def test_a_job_that_was_popped_and_lost_is_run_all_the_same(towline):
    revision = towline.origin.commit({ORDERS: config_map("orders")})
    towline.deliver(revision)
    popped = towline.tools.broker.redis.lpop("rq:queue:pushes")  # what a worker killed here leaves behind

    towline.start("worker")
    towline.start("clock")

    assert popped is not None
    towline.eventually_at("orders", revision, within=RERUN_SECONDS)
    eventually(lambda: not outbox(towline), within=10)


def test_a_worker_killed_during_a_sync_is_replaced_and_its_sync_done_again(towline, control_plane):
    first = towline.origin.commit({ORDERS: config_map("orders", a="1")})
    towline.start("worker")
    towline.start("clock")
    towline.deliver(first)
    towline.eventually_at("orders", first)
    second = towline.origin.commit({ORDERS: config_map("orders", a="2")})

    control_plane.apiserver.pause()  # the sync waits for its first answer
    try:
        towline.deliver(second)
        busy = eventually(towline.busy, within=10)
        for pid in busy.values():
            os.kill(pid, signal.SIGKILL)
    finally:
        control_plane.apiserver.resume()

    towline.eventually_at("orders", second, within=RERUN_SECONDS)
    assert live(towline, "orders")["data"] == {"a": "2"}
    eventually(lambda: len(set(towline.workers().values()) - set(busy.values())) >= 3, within=10)


def test_a_worker_that_was_paused_past_its_lease_does_not_undo_what_another_did(towline):
    first = towline.origin.commit({ORDERS: config_map("orders", a="1")})
    worker = towline.start("worker")
    towline.start("clock")
    towline.deliver(first)
    towline.eventually_at("orders", first)

    towline.arm("claim.end", Action.STOP)  # it would write next
    towline.deliver(towline.origin.commit({ORDERS: config_map("orders", a="2")}))
    (paused,) = eventually(towline.stopped, within=10)
    third = towline.origin.commit({ORDERS: config_map("orders", a="3")})
    towline.deliver(third)
    towline.eventually_at("orders", third, within=RERUN_SECONDS)
    os.kill(paused, signal.SIGCONT)

    eventually(lambda: "was taken over by another worker" in worker.log.read_text(), within=20)
    assert towline.release("orders").status.revision == third
    assert live(towline, "orders")["data"] == {"a": "3"}


def test_a_release_that_one_worker_syncs_is_left_alone_by_the_others_until_that_is_done(towline):
    towline.start("worker")
    towline.arm(Point.OBJECT_SENT, Action.STOP)
    towline.deliver(towline.origin.commit({ORDERS: config_map("orders", a="1")}))
    (stopped,) = eventually(towline.stopped, within=10)

    second = towline.origin.commit({ORDERS: config_map("orders", a="2")})
    towline.deliver(second)
    views = towline.tools.views
    eventually(lambda: views.revision("shop", second) and len(outbox(towline)) == 1, within=10)

    assert live(towline, "orders")["data"] == {"a": "1"}
    os.kill(stopped, signal.SIGCONT)
    towline.eventually_at("orders", second)
    assert live(towline, "orders")["data"] == {"a": "2"}


def test_redis_wiped_during_a_sync_loses_no_deployment(towline, control_plane):
    first = towline.origin.commit({ORDERS: config_map("orders", a="1")})
    towline.start("worker")
    towline.start("clock")
    towline.deliver(first)
    towline.eventually_at("orders", first)
    second = towline.origin.commit({ORDERS: config_map("orders", a="2")})

    control_plane.apiserver.pause()
    try:
        towline.deliver(second)
        eventually(towline.busy, within=10)
        towline.tools.broker.redis.flushdb()
    finally:
        control_plane.apiserver.resume()

    towline.eventually_at("orders", second, within=RERUN_SECONDS)
    assert live(towline, "orders")["data"] == {"a": "2"}


def test_a_forged_job_does_nothing_and_the_worker_goes_on(towline, tmp_path):
    towline.start("worker")
    first = towline.origin.commit({ORDERS: config_map("orders", a="1")})
    towline.deliver(first)
    towline.eventually_at("orders", first)
    marker = tmp_path / "was-here"
    foreign = Queue(towline.tools.broker, "another-installation-0123456789abcdef")
    suspend = SteerArguments(release="staging/orders", action=Steering.SUSPEND, operator="mallory")

    foreign.enqueue([steer_call(suspend)])  # with its entry in the outbox, as if it were ours
    queue = towline.tools.queue.rq(QueueName.URGENT)
    queue.enqueue_job(queue.create_job(func="os.system", args=(f"touch {marker}",), job_id="forged_1"))
    eventually(lambda: len(queue.failed_job_registry) == 2, within=10)
    second = towline.origin.commit({ORDERS: config_map("orders", a="2")})
    towline.deliver(second)

    towline.eventually_at("orders", second)
    assert not towline.release("orders").suspended
    assert not marker.exists()
    assert len(towline.workers()) >= 3


def test_malformed_jobs_end_the_workers_that_take_them_and_others_go_on(towline):
    redis = towline.tools.broker.redis
    malformed = ({"status": "nonsense"}, {"result_ttl": "soon"}, {"created_at": "not a time"})
    for number, fields in enumerate(malformed):
        good = {"data": "x", "created_at": "2026-11-24T12:00:00.000000Z", "status": "queued"}
        redis.hset(f"rq:job:poisoned_{number}", mapping={**good, **fields})
        redis.rpush("rq:queue:syncs", f"poisoned_{number}")
    worker = towline.start("worker")
    eventually(lambda: worker.log.read_text().count("program.ended") >= 2, within=20)

    revision = towline.origin.commit({ORDERS: config_map("orders")})
    towline.deliver(revision)

    towline.eventually_at("orders", revision, within=20)
    eventually(lambda: len(towline.workers()) >= 3, within=10)
    assert redis.llen("rq:queue:syncs") == 0


def test_two_clocks_do_the_work_of_one(towline):
    towline.start("clock", name="clock-1")
    towline.start("clock", name="clock-2")

    def number_of_looks():
        return len(towline.tools.queue.rq(QueueName.BACKGROUND))

    eventually(number_of_looks, within=10)
    seen_until = time.monotonic() + 2
    eventually(lambda: time.monotonic() > seen_until, within=5)
    assert number_of_looks() == 1


def test_a_second_clock_takes_over_when_the_first_is_killed(towline):
    first = towline.start("clock", name="clock-1")
    eventually(lambda: towline.tools.broker.redis.get("towline:clock"), within=10)
    token = towline.tools.broker.redis.get("towline:clock")
    towline.start("clock", name="clock-2")

    first.kill()

    eventually(lambda: towline.tools.broker.redis.get("towline:clock") not in (None, token), within=20)


def test_the_clock_finds_a_push_that_no_webhook_told_of(towline):
    towline.start("worker")
    revision = towline.origin.commit({ORDERS: config_map("orders")})

    towline.start("clock")

    towline.eventually_at("orders", revision, within=15)


def test_an_urgent_job_does_not_wait_behind_600_others(towline):
    calls = [conclude_call(f"staging/s{number}", revision="a" * 40) for number in range(600)]
    slow = [call.__class__(**{**_fields(call), "queue": QueueName.SYNCS}) for call in calls]
    towline.tools.queue.enqueue(slow)
    urgent = call_on(QueueName.URGENT, "staging/urgent")
    towline.start("worker")

    (identifier,) = towline.tools.queue.enqueue([urgent])

    eventually(lambda: identifier not in outbox(towline), within=2)
    assert len(outbox(towline)) > 100
    assert isinstance(towline.tools.views, Views)


def call_on(queue, release):
    call = conclude_call(release, revision="a" * 40)
    return call.__class__(**{**_fields(call), "queue": queue})


def _fields(call):
    return {name: getattr(call, name) for name in call.__slots__}


def test_a_terminated_worker_ends_its_job_first_and_leaves_no_process_behind(towline, control_plane):
    revision = towline.origin.commit({ORDERS: config_map("orders")})
    worker = towline.start("worker")
    pids = set(towline.workers().values())
    towline.deliver(revision)
    eventually(towline.busy, within=10)

    worker.stop()

    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    towline.start("worker", name="worker-2")
    towline.start("clock")  # a job that was popped when the signal came is found by its sweep
    towline.eventually_at("orders", revision, within=RERUN_SECONDS)
