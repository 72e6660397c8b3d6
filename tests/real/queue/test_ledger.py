"""The receive transaction, on a real Redis."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from towline.shared.broker import Broker
from towline.shared.errors import Conflict, NotFound, RedisDown
from towline.shared.jobs import QueueName
from towline.shared.ledger import DELIVERIES, LIMIT, REFUSED_LIMIT, Ledger, NewDelivery, Verdict
from towline.shared.model import Push, Revision
from towline.shared.queue import OUTBOX, Queue

SECRET = "0123456789abcdef0123456789abcdef"
TIP = Revision("a" * 40)


@pytest.fixture
def queue(redis_url):
    return Queue(Broker(redis_url), SECRET)


@pytest.fixture
def ledger(queue):
    return Ledger(queue)


def delivery(identifier="d1", *refs, repository="shop"):
    pushes = tuple(Push(ref=ref, before=None, after=TIP) for ref in refs or ("refs/heads/main",))
    return NewDelivery(
        id=identifier,
        repository=repository,
        forge="github",
        event="push",
        pushes=pushes,
        received_at=time.time(),
    )


def test_an_accepted_delivery_has_one_job_a_ref_in_queue_and_outbox(queue, ledger):
    accepted = ledger.accept(delivery("d1", "refs/heads/main", "refs/heads/release"))

    assert accepted.verdict is Verdict.ACCEPTED
    assert queue.rq(QueueName.PUSHES).get_job_ids() == list(accepted.jobs)
    assert {name.decode() for name in queue.broker.redis.hkeys(OUTBOX)} == set(accepted.jobs)
    assert all(job.startswith("push_d1_") for job in accepted.jobs)


def test_the_same_id_again_is_a_duplicate_while_the_first_waits_or_has_succeeded(queue, ledger):
    first = ledger.accept(delivery())

    waiting = ledger.accept(delivery())
    ledger.ended("shop", "d1", first.jobs[0], ok=True, text="2 changed")
    succeeded = ledger.accept(delivery())

    assert [waiting.verdict, succeeded.verdict] == [Verdict.DUPLICATE, Verdict.DUPLICATE]
    assert len(queue.rq(QueueName.PUSHES)) == 1
    assert ledger.get("d1", repositories=["shop"]).repeats == 2


def test_the_same_id_again_is_accepted_when_the_first_has_failed(queue, ledger):
    first = ledger.accept(delivery())
    ledger.ended("shop", "d1", first.jobs[0], ok=False, text="no such ref")
    failed = ledger.get("d1", repositories=["shop"]).verdict

    again = ledger.accept(delivery())

    assert failed is Verdict.FAILED
    assert again.verdict is Verdict.ACCEPTED
    assert again.jobs != first.jobs


def test_the_same_id_for_another_repository_is_another_delivery(ledger):
    ledger.accept(delivery(repository="shop"))

    other = ledger.accept(delivery(repository="bank"))

    assert other.verdict is Verdict.ACCEPTED


def test_of_many_receivers_with_one_delivery_exactly_one_enqueues(queue, redis_url):
    def receive(_):
        return Ledger(Queue(Broker(redis_url), SECRET)).accept(delivery("same")).verdict

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(receive, range(16)))

    assert verdicts.count(Verdict.ACCEPTED) == 1
    assert verdicts.count(Verdict.DUPLICATE) == 15
    assert len(queue.rq(QueueName.PUSHES)) == 1


def test_only_the_newest_push_of_a_ref_is_the_newest(queue, ledger):
    ledger.accept(delivery("d1"))
    ledger.accept(delivery("d2"))
    jobs = [queue.parked(job).arguments["sequence"] for job in queue.rq(QueueName.PUSHES).get_job_ids()]

    newest = [ledger.is_newest("shop", "refs/heads/main", sequence) for sequence in jobs]

    assert newest == [False, True]


def test_a_refused_delivery_never_takes_the_place_of_an_accepted_one(ledger):
    ledger.accept(delivery("d1"))

    noted = ledger.note(delivery("d1"), Verdict.REFUSED, "bad signature")

    assert noted.id != "d1"
    assert ledger.get("d1", repositories=["shop"]).verdict is Verdict.ACCEPTED
    assert [entry.verdict for entry in ledger.recent(10)] == [Verdict.REFUSED, Verdict.ACCEPTED]


def test_strangers_cannot_push_real_deliveries_out_of_the_ledger(ledger):
    ledger.accept(delivery("real"))

    for number in range(REFUSED_LIMIT + 20):
        ledger.note(delivery(f"bad-{number}"), Verdict.REFUSED, "bad signature")

    entries = ledger.recent(20_000)
    assert len(entries) == REFUSED_LIMIT + 1
    assert "real" in [entry.id for entry in entries]


def test_what_leaves_the_ledger_leaves_redis(queue, ledger):
    for number in range(REFUSED_LIMIT + 5):
        ledger.note(delivery(f"bad-{number}"), Verdict.REFUSED, "bad signature")
    kept = queue.broker.redis.keys("towline:delivery:*")

    assert len(kept) == REFUSED_LIMIT


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.IGNORED])
def test_a_full_ledger_gives_up_its_oldest_delivery(queue, ledger, verdict):
    redis = queue.broker.redis
    ledger.accept(delivery("first").model_copy(update={"received_at": 1.0}))
    redis.zadd(DELIVERIES, {f"shop:older-{number}": 2.0 + number for number in range(LIMIT - 1)})

    ledger.accept(delivery("last")) if verdict is Verdict.ACCEPTED else ledger.note(
        delivery("last"), verdict, "branch"
    )

    assert redis.zcard(DELIVERIES) == LIMIT
    with pytest.raises(NotFound):
        ledger.get("first", repositories=["shop"])
    assert ledger.get("last", repositories=["shop"]).verdict is verdict


def test_the_same_ping_again_does_not_change_when_it_came(ledger):
    ping = delivery("p1").model_copy(update={"received_at": 10.0})
    ledger.note(ping, Verdict.IGNORED, "ping")
    ledger.note(delivery("p2").model_copy(update={"received_at": 20.0}), Verdict.IGNORED, "ping")

    ledger.note(ping.model_copy(update={"received_at": 30.0}), Verdict.IGNORED, "ping")

    assert [entry.id for entry in ledger.recent(10)] == ["p2", "p1"]
    assert [entry.id for entry in ledger.recent(10, before=20.0)] == ["p1"]


def test_a_delivery_that_is_not_there_is_not_found(ledger):
    with pytest.raises(NotFound, match="nothing-like-it"):
        ledger.get("nothing-like-it", repositories=["shop"])


def test_a_redelivery_goes_to_urgent_and_an_ignored_delivery_has_none(queue, ledger):
    first = ledger.accept(delivery())
    ping = ledger.note(delivery("p1").model_copy(update={"pushes": ()}), Verdict.IGNORED, "ping")

    again = ledger.redeliver(first)

    assert queue.rq(QueueName.URGENT).get_job_ids() == list(again.jobs)
    with pytest.raises(Conflict) as refused:
        ledger.redeliver(ping)
    assert "ping" in refused.value.hint


def test_nothing_is_claimed_and_the_answer_is_quick_when_redis_is_down():
    ledger = Ledger(Queue(Broker("redis://127.0.0.1:1/0", patient=False), SECRET))
    started = time.monotonic()

    with pytest.raises(RedisDown):
        ledger.accept(delivery())

    assert time.monotonic() - started < 1


def test_each_ref_of_a_delivery_has_a_sequence_of_its_own(queue, ledger):
    accepted = ledger.accept(delivery("d1", "refs/heads/main", "refs/heads/release"))

    sequences = [queue.parked(job).arguments["sequence"] for job in accepted.jobs]

    assert len(set(sequences)) == 2
    assert ledger.is_newest("shop", "refs/heads/main", sequences[0])
    assert ledger.is_newest("shop", "refs/heads/release", sequences[1])
