"""What is wanted and who may do it, on a real Redis."""

import time

import pytest

from towline.shared.broker import Broker
from towline.shared.errors import AccessError
from towline.shared.jobs import QueueName, sync_call
from towline.shared.model import Trigger
from towline.shared.queue import Queue
from towline.shared.wanted import DONE_MS, Lease, Wanted, wanted_key

SECRET = "0123456789abcdef0123456789abcdef"
RELEASE = "staging/orders"


@pytest.fixture
def queue(redis_url):
    return Queue(Broker(redis_url), SECRET)


def wanted(sequence, revision="b" * 40):
    return Wanted(
        release=RELEASE,
        repository="shop",
        ref="refs/heads/main",
        revision=revision,
        sequence=sequence,
        trigger=Trigger.WEBHOOK,
        received_at=time.time(),
    )


def enqueue(queue, *wishes):
    calls = [
        sync_call(w.release, revision=w.revision, trigger=w.trigger, queue=QueueName.SYNCS) for w in wishes
    ]
    return queue.enqueue(calls, wishes)


def test_a_newer_wish_replaces_an_older_one_and_never_the_other_way_round(queue):
    enqueue(queue, wanted(7))
    enqueue(queue, wanted(5))

    assert queue.wishes.get(RELEASE).sequence == 7


def test_a_wish_that_was_carried_out_is_no_wish_any_more(queue):
    enqueue(queue, wanted(1))
    lease = Lease(queue.broker, RELEASE)
    assert lease.acquire()

    assert lease.finish(1)

    assert queue.wishes.get(RELEASE) is None
    assert queue.wishes.newest_sequence(RELEASE) == 1


def test_the_holder_keeps_the_lease_while_something_newer_is_wanted(queue):
    enqueue(queue, wanted(1))
    holder, other = Lease(queue.broker, RELEASE), Lease(queue.broker, RELEASE)
    holder.acquire()
    enqueue(queue, wanted(2))

    given_back = holder.finish(1)

    assert not given_back
    assert not other.acquire()
    assert queue.wishes.get(RELEASE).sequence == 2


def test_one_of_two_workers_gets_the_lease_and_the_loser_cannot_take_it_away(queue):
    first, second = Lease(queue.broker, RELEASE), Lease(queue.broker, RELEASE)

    assert first.acquire()
    assert not second.acquire()
    second.drop()
    assert not second.renew()
    assert first.held()
    assert first.renew()


def test_a_holder_whose_lease_was_wiped_knows_it(queue):
    lease = Lease(queue.broker, RELEASE)
    lease.acquire()

    queue.broker.redis.flushall()

    assert not lease.held()
    assert not lease.renew()
    assert lease.finish(1)  # False would have it look for what is wanted again and again
    assert lease.leave(1)


def test_ids_are_readable_and_never_used_twice(queue):
    first = enqueue(queue, wanted(1))
    second = enqueue(queue, wanted(2))

    assert first[0].startswith("sync_staging_orders_bbbbbbbbbb_")
    assert first != second


def test_a_wish_from_before_redis_was_wiped_never_beats_a_later_one(queue):
    for _ in range(500):
        before = queue.wishes.next_sequence()
    queue.broker.redis.flushdb()
    enqueue(queue, wanted(before, revision="c" * 40))  # by a worker that was in the middle of a push

    enqueue(queue, wanted(queue.wishes.next_sequence(), revision="d" * 40))

    assert queue.wishes.get(RELEASE).revision == "d" * 40


def test_sequences_grow_however_fast_they_are_asked_for(queue):
    sequences = [queue.wishes.next_sequence() for _ in range(2_000)]

    assert sequences == sorted(set(sequences))


def test_a_sync_takes_the_lease_of_who_only_judges_and_never_the_other_way_round(queue):
    judge, sync = Lease(queue.broker, RELEASE, yields=True), Lease(queue.broker, RELEASE)
    assert judge.acquire()

    assert sync.acquire()

    assert not judge.held()
    judge.drop()
    assert sync.held()
    assert not Lease(queue.broker, RELEASE, yields=True).acquire()
    assert not Lease(queue.broker, RELEASE).acquire()


def test_a_wish_is_forgotten_some_time_after_it_was_carried_out_and_kept_when_wanted_anew(queue):
    enqueue(queue, wanted(1))
    lease = Lease(queue.broker, RELEASE)
    lease.acquire()
    waiting = queue.broker.redis.pttl(wanted_key(RELEASE))
    lease.finish(1)
    done = queue.broker.redis.pttl(wanted_key(RELEASE))

    enqueue(queue, wanted(2))

    assert waiting == -1
    assert 0 < done <= DONE_MS
    assert queue.broker.redis.pttl(wanted_key(RELEASE)) == -1


def test_a_wish_that_somebody_else_wrote_is_refused(queue):
    enqueue(queue, wanted(1))
    body = wanted(2, revision="e" * 40).model_dump_json()
    queue.broker.redis.hset(wanted_key(RELEASE), mapping={"sequence": "2", "body": body})

    with pytest.raises(AccessError):
        queue.wishes.get(RELEASE)


def test_a_wish_for_one_release_is_none_for_another(queue):
    enqueue(queue, wanted(1))
    genuine = queue.broker.redis.hgetall(wanted_key(RELEASE))
    queue.broker.redis.hset(wanted_key("production/orders"), mapping=genuine)

    with pytest.raises(AccessError, match="production/orders"):
        queue.wishes.get("production/orders")


def test_who_holds_the_lease_knows_that_a_judgement_was_asked_for_meanwhile(queue):
    lease = Lease(queue.broker, RELEASE)
    assert lease.acquire()

    asked = Lease(queue.broker, RELEASE, yields=True).acquire_or_ask()
    lease.drop()

    assert not asked
    assert [lease.was_asked(), lease.was_asked()] == [True, False]


def test_a_lease_that_waits_for_something_else_leaves_its_wish_undone(queue):
    enqueue(queue, wanted(1))
    lease = Lease(queue.broker, RELEASE)
    assert lease.acquire()

    assert lease.leave(1)

    assert queue.wishes.get(RELEASE) == queue.wishes.newest(RELEASE)
    assert Lease(queue.broker, RELEASE).acquire()


def test_a_lease_is_kept_when_something_newer_is_wanted(queue):
    enqueue(queue, wanted(1))
    lease = Lease(queue.broker, RELEASE)
    assert lease.acquire()
    enqueue(queue, wanted(2))

    assert not lease.leave(1)
    assert lease.held()


def test_a_wish_that_was_carried_out_is_done_again_unless_a_newer_one_has_come(queue):
    first, newer = wanted(5), wanted(9)
    enqueue(queue, first)
    finish(queue, 5)

    queue.wishes.again(first.model_copy(update={"goes_on": "claim"}))
    again = queue.wishes.get(RELEASE)
    enqueue(queue, newer)
    finish(queue, 9)
    queue.wishes.again(first)

    assert again is not None and again.goes_on == "claim"
    assert queue.wishes.get(RELEASE) is None


def finish(queue, sequence):
    lease = Lease(queue.broker, RELEASE)
    assert lease.acquire()
    assert lease.finish(sequence)
