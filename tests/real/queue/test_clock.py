"""The clock's sweep and its retries, turn by turn on a real Redis, with a clock of the test's own."""

import time
from collections import Counter

import pytest
from parts.manifests import config_map

from towline.shared.jobs import (
    JobName,
    QueueName,
    SteerArguments,
    Steering,
    conclude_call,
    refs_call,
    steer_call,
    steer_labels,
    sync_call,
)
from towline.shared.ledger import NewDelivery, Verdict
from towline.shared.model import Push, ReleaseName, Revision, Trigger
from towline.shared.queue import DUE, OUTBOX, WORDS, Parked
from towline.shared.wanted import Wanted
from towline.shared.watchers import Watchers
from towline.worker.clock import LOOKED, RUNS, SWEEP_SECONDS, TURN_SECONDS, WATCHED_SECONDS, Clock, is_beating
from towline.worker.runner import HEARTBEAT_SECONDS, HEARTBEAT_TTL_SECONDS, run

REF = "refs/heads/main"


@pytest.fixture
def clock(engine):
    return Clock(engine.tools)


def later(clock, turns=1):
    """Let the clock sweep again, each time an interval later than anything that was enqueued so far."""
    for turn in range(turns):
        clock.sweep(time.time() + (turn + 2) * SWEEP_SECONDS)


def waiting(engine, queue=QueueName.SYNCS):
    return engine.tools.queue.rq(queue).get_job_ids()


def lose(engine, queue=QueueName.SYNCS):
    """What a worker that is killed between popping and starting leaves behind."""
    return engine.tools.broker.redis.lpop(f"rq:queue:{queue}").decode()


def enqueue_sync(engine):
    wanted = Wanted(
        release="staging/orders",
        repository="shop",
        ref=REF,
        revision="a" * 40,
        sequence=engine.tools.queue.wishes.next_sequence(),
        trigger=Trigger.WEBHOOK,
        received_at=time.time(),
    )
    call = sync_call(wanted.release, revision=wanted.revision, trigger=wanted.trigger, queue=QueueName.SYNCS)
    return engine.tools.queue.enqueue([call], [wanted])[0]


def test_a_job_that_waits_is_left_where_it_is(engine, clock):
    identifier = enqueue_sync(engine)

    later(clock, turns=4)

    assert waiting(engine) == [identifier]


def test_a_job_that_was_lost_is_enqueued_under_a_new_id_at_the_second_sweep(engine, clock):
    lost = enqueue_sync(engine)
    lose(engine)

    later(clock)
    after_one = waiting(engine)
    later(clock)
    after_two = waiting(engine)

    assert after_one == []
    assert len(after_two) == 1
    assert after_two != [lost]


def test_a_job_that_kills_its_worker_each_time_is_given_up_with_the_reason(engine, clock):
    enqueue_sync(engine)
    engine.tools.views.started(ReleaseName("staging", "orders"))

    for _ in range(RUNS + 1):
        lose(engine)
        later(clock, turns=2)

    assert waiting(engine) == []
    assert engine.tools.broker.redis.hlen(OUTBOX) == 0
    shown = engine.tools.views.get(ReleaseName("staging", "orders"))
    assert "abandoned 3 times" in shown.error
    assert not shown.syncing
    touched = engine.tools.views.revision("shop", "a" * 40)
    assert touched is not None
    assert touched["staging/orders"].state == "failed"
    assert "abandoned" in touched["staging/orders"].text


def test_a_push_job_that_kills_its_worker_each_time_fails_its_delivery(engine, clock):
    push = Push(ref=REF, before=None, after=Revision("a" * 40))
    new = NewDelivery(
        id="d1", repository="shop", forge="github", event="push", pushes=(push,), received_at=time.time()
    )
    engine.tools.ledger.accept(new)

    for _ in range(RUNS + 1):
        lose(engine, QueueName.PUSHES)
        later(clock, turns=2)

    delivery = engine.tools.ledger.get("d1", repositories=["shop"])
    assert delivery.verdict is Verdict.FAILED
    assert "abandoned" in next(iter(delivery.ends.values())).text


def test_a_job_that_is_to_be_tried_later_waits_for_its_time_and_keeps_its_counts(engine, clock):
    identifier = enqueue_sync(engine)
    lose(engine)
    queue = engine.tools.queue
    queue.later(identifier, queue.parked(identifier).model_copy(update={"attempt": 4}), at=1000.0)

    clock.retry_due(999.0)
    early = waiting(engine)
    later(clock, turns=3)
    swept = waiting(engine)
    clock.retry_due(1001.0)

    assert (early, swept) == ([], [])
    (again,) = waiting(engine)
    assert again != identifier
    assert queue.parked(again).attempt == 4


def test_a_release_is_not_judged_again_before_its_last_judgement_is_done(engine, clock):
    engine.deploy({"services/orders/app.yaml": config_map("orders")})

    for turn in range(5):
        clock.judge(1000.0 + 10 * turn)
    waiting_once = waiting(engine, QueueName.BACKGROUND)
    engine.tools.queue.ended(waiting_once[0])
    clock.judge(2000.0)

    assert len(waiting_once) == 1
    assert len(waiting(engine, QueueName.BACKGROUND)) == 2


def test_where_a_watcher_is_active_a_release_is_judged_seldom(engine, clock):
    engine.deploy({"services/orders/app.yaml": config_map("orders")})
    watchers = Watchers(engine.tools.broker)
    watchers.alive("test", "me")

    clock.judge(1000.0)
    clock.judge(1000.0 + WATCHED_SECONDS - 1)
    early = waiting(engine, QueueName.BACKGROUND)
    clock.judge(1000.0 + WATCHED_SECONDS + 1)
    seldom = waiting(engine, QueueName.BACKGROUND)
    engine.tools.queue.ended(seldom[0])
    watchers.gone("test")
    clock.judge(1000.0 + WATCHED_SECONDS + 4)

    assert early == []
    assert len(seldom) == 1
    assert len(waiting(engine, QueueName.BACKGROUND)) == 2


def test_a_judgement_that_a_watcher_asked_for_and_that_waits_is_not_asked_for_again(engine, clock):
    engine.deploy({"services/orders/app.yaml": config_map("orders")})
    Watchers(engine.tools.broker).alive("test", "me")
    clock.judge(1000.0)
    (asked,) = engine.tools.queue.enqueue([conclude_call("staging/orders", revision="a" * 40)])

    clock.judge(1000.0 + WATCHED_SECONDS + 1)
    once = waiting(engine, QueueName.BACKGROUND)
    rerun = engine.tools.queue.again(asked, engine.tools.queue.parked(asked))  # its worker died
    clock.judge(1000.0 + 2 * WATCHED_SECONDS + 2)
    twice = waiting(engine, QueueName.BACKGROUND)
    engine.tools.queue.ended(rerun)
    clock.judge(1000.0 + 3 * WATCHED_SECONDS + 3)

    assert once == [asked]
    assert twice == [asked, rerun]
    assert len(waiting(engine, QueueName.BACKGROUND)) == 3


def test_what_the_clock_repeats_is_not_tried_again_by_itself(engine, clock, git_server):
    git_server.stop()
    (identifier,) = engine.tools.queue.enqueue([refs_call("shop")])
    sealed = engine.tools.queue.rq(QueueName.BACKGROUND).fetch_job(identifier).args[0]

    run(engine.tools, identifier, sealed)
    git_server.start()

    assert engine.tools.queue.parked(identifier) is None
    assert engine.tools.broker.redis.zcard(DUE) == 0


def test_a_parked_job_that_others_change_after_it_was_read_is_not_taken_for_what_it_was(engine):
    first, second = enqueue_sync(engine), enqueue_sync(engine)
    redis, queue = engine.tools.broker.redis, engine.tools.queue
    before = queue.outbox().parked

    redis.hset(OUTBOX, first, redis.hget(OUTBOX, first).replace(b"orders", b"others"))
    after = queue.outbox()

    assert set(before) == {first, second}
    assert after.foreign == {first.encode()}
    assert after.parked == {second: before[second]}


def test_what_others_put_into_the_outbox_is_dropped_and_never_run(engine, clock):
    call = sync_call("staging/orders", revision="a" * 40, trigger=Trigger.OPERATOR, queue=QueueName.URGENT)
    forged = Parked(
        job=call.job,
        queue=call.queue,
        label=call.label,
        description=call.description,
        arguments=call.arguments.model_dump(),
        first_id="forged_1",
        parked_at=0.0,
    )
    engine.tools.broker.redis.hset(OUTBOX, mapping={"forged_1": forged.model_dump_json(), b"\xff": "no JSON"})
    lost = enqueue_sync(engine)
    lose(engine)

    later(clock, turns=2)

    assert waiting(engine, QueueName.URGENT) == []
    (again,) = waiting(engine)
    assert again != lost
    assert engine.tools.broker.redis.hkeys(OUTBOX) == [again.encode()]


def test_a_due_job_that_nobody_can_run_does_not_keep_the_others_from_running(engine, clock):
    queue, redis = engine.tools.queue, engine.tools.broker.redis
    identifier = enqueue_sync(engine)
    lose(engine)
    queue.later(identifier, queue.parked(identifier), at=1000.0)
    redis.hset(OUTBOX, "forged_1", "no JSON")
    redis.zadd(DUE, {"forged_1": 1.0})

    clock.retry_due(1001.0)

    assert len(waiting(engine)) == 1
    assert redis.zcard(DUE) == 0


def test_after_jobs_were_dropped_every_repository_is_compared_with_its_releases_anew(engine, clock):
    revision = engine.deploy({"services/orders/app.yaml": config_map("orders")})
    clock.look(time.time())
    engine.tools.broker.redis.hset(OUTBOX, "of_an_older_key", "no JSON")

    clock.sweep(time.time())
    clock.look(time.time())

    assert engine.tools.views.handled("shop", REF) is None
    assert len(waiting(engine, QueueName.BACKGROUND)) == 2
    assert engine.release("orders").status.revision == revision


def test_a_clock_that_is_set_back_an_hour_still_does_everything(engine, clock):
    queue, redis, hour = engine.tools.queue, engine.tools.broker.redis, 3600
    clock.turn(time.time() + hour)
    looked = float(redis.hget(LOOKED, "shop"))
    identifier = enqueue_sync(engine)
    lose(engine)
    queue.later(identifier, queue.parked(identifier), at=time.time() + hour)
    redis.delete("rq:queue:background")

    clock.turn(time.time())

    assert len(waiting(engine)) == 1  # what was due in an hour by the clock of before
    assert len(waiting(engine, QueueName.BACKGROUND)) == 1  # the refs are looked at
    assert float(redis.hget(LOOKED, "shop")) < looked
    assert clock.swept_at < looked


def give_sign_of_life(engine, identifier, now, *, xx):
    """A worker's sign of life in this job."""
    registry = engine.tools.queue.rq(QueueName.SYNCS).started_job_registry.key
    engine.tools.broker.redis.zadd(registry, {f"{identifier}:x": now + HEARTBEAT_TTL_SECONDS}, xx=xx)


def live_through_a_minute(engine, clock, began, *, ahead=0.0, alive=None):
    """Turn by turn, by a clock that is so far ahead; which jobs were made. Those of the clock itself end at once."""
    made: Counter[str] = Counter()
    queue = engine.tools.queue
    for number in range(int(60 / TURN_SECONDS)):
        now = began + number * TURN_SECONDS
        if alive and now % HEARTBEAT_SECONDS < TURN_SECONDS:
            give_sign_of_life(
                engine, alive, now, xx=True
            )  # as RQ does it: one that is gone does not come back
        clock.turn(now + ahead)
        for identifier, parked in queue.outbox().parked.items():
            if parked.job is not JobName.SYNC:
                made[parked.job] += 1
                queue.ended(identifier)
    return made


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_clock_that_jumps_an_hour_neither_stops_nor_storms_nor_takes_a_worker_for_dead(engine, clock, jump):
    engine.deploy({"services/orders/app.yaml": config_map("orders")})
    lose(engine)  # the engine has run it
    running = enqueue_sync(engine)
    lose(engine)
    began = time.time()
    give_sign_of_life(engine, running, began, xx=False)  # a worker has taken it

    before = live_through_a_minute(engine, clock, began, alive=running)
    after = live_through_a_minute(engine, clock, began + 60, ahead=jump, alive=running)
    still_parked = engine.tools.queue.outbox().parked
    live_through_a_minute(engine, clock, began + 120, ahead=jump)  # the worker is killed

    assert before[JobName.CONCLUDE] >= 25
    assert {job: abs(after[job] - before[job]) <= 2 for job in after | before} == dict.fromkeys(before, True)
    assert list(still_parked) == [running]
    (again,) = waiting(engine)
    assert engine.tools.queue.parked(again).runs == 2


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_job_waits_for_its_next_attempt_as_long_as_is_said_though_the_clock_jumps(
    engine, clock, git_server, jump
):
    git_server.stop()
    identifier = enqueue_sync(engine)
    queue = engine.tools.queue
    sealed = queue.rq(QueueName.SYNCS).fetch_job(identifier).args[0]
    lose(engine)
    queue.later(identifier, queue.parked(identifier).model_copy(update={"attempt": 8}), at=0.0)

    said = run(engine.tools, identifier, sealed)  # a minute or so
    for turn in range(10):
        clock.turn(time.time() + jump + turn)
    git_server.start()

    assert "again in" in said
    assert waiting(engine) == []


@pytest.mark.parametrize("beat", [-1, 3600], ids=["its time is over", "beaten before the clock was set back"])
def test_a_job_counts_as_running_only_while_its_worker_gives_signs_of_life(engine, beat):
    now = time.time()
    registry = engine.tools.queue.rq(QueueName.SYNCS).started_job_registry
    engine.tools.broker.redis.zadd(registry.key, {"alive_1:x": now + 15, "dead_1:x": now + beat})

    running = engine.tools.queue.running()

    assert {name for name, until in running.items() if is_beating(until, until, now=now)} == {"alive_1:x"}


def test_what_rq_keeps_of_a_dead_workers_job_is_dropped_and_of_a_living_ones_not(engine):
    now, redis = time.time(), engine.tools.broker.redis
    registry = engine.tools.queue.rq(QueueName.SYNCS).started_job_registry
    redis.zadd(registry.key, {"alive_1:x": now + 15, "dead_1:x": now - 61})
    redis.hset("rq:job:dead_1", "data", "x")

    engine.tools.queue.forget_dead((), now=now)

    assert redis.zrange(registry.key, 0, -1) == [b"alive_1:x"]
    assert redis.ttl("rq:job:dead_1") > 0


def test_jobs_that_are_hurried_are_due_whatever_they_were_to_wait_and_no_others_are(engine):
    queue = engine.tools.queue
    words = [
        SteerArguments(release=release, action=Steering.SUSPEND, operator="ada")
        for release in ("staging/orders", "staging/orders-2", f"{'e' * 63}/{'o' * 63}")
    ]
    orders, other, long = queue.enqueue([steer_call(one) for one in words])
    for identifier in (orders, other, long):
        queue.later(identifier, queue.parked(identifier), at=time.time() + SWEEP_SECONDS)
    queue.enqueue([steer_call(words[0])])  # has its turn at once

    hurried = [queue.hurry(steer_labels(one.release)) for one in (words[0], words[2])]

    assert hurried == [True, True]
    assert sorted(queue.due(now=time.time())) == sorted([orders, long])
    assert not queue.hurry(steer_labels("staging/cart"))


def test_an_operators_word_that_has_its_turn_is_not_hurried_any_more(engine):
    queue = engine.tools.queue
    word = SteerArguments(release="staging/orders", action=Steering.SUSPEND, operator="ada")
    again, ended = queue.enqueue([steer_call(word), steer_call(word)])
    for identifier in (again, ended):
        queue.later(identifier, queue.parked(identifier), at=time.time() + SWEEP_SECONDS)
    assert queue.hurry(steer_labels(word.release))

    queue.again(again, queue.parked(again))
    queue.ended(ended)

    assert not queue.hurry(steer_labels(word.release))


def test_a_word_of_which_only_its_mark_is_left_is_none(engine):
    redis = engine.tools.broker.redis
    stale = f"{steer_labels('staging/orders')[0]}_1"
    redis.sadd(WORDS, stale, b"\xff")

    assert not engine.tools.queue.hurry(steer_labels("staging/orders"))
    assert redis.smembers(WORDS) == {b"\xff"}
