"""Every webhook delivery: what it said, what was decided and why, and what came of its jobs.

Redis keys; RETENTION_SECONDS and the two limits bound them:

    towline:delivery:<repository>:<id>    hash   body (Delivery as JSON), repeats, job:<id> (JobEnd as JSON)
    towline:deliveries                    zset   `<repository>:<id>` by time, for verified deliveries
    towline:deliveries:refused            zset   the same for refused ones: strangers cannot push the others out
    towline:refs:<repository>             zset   ref -> highest sequence of a push: an older push job ends at once

Ids come from headers that some forges do not sign, so nothing rests on them but the saving of work. The same delivery
again is a duplicate only while the first waits, runs or has succeeded. Killed before EXEC nothing is claimed; after
it, the jobs are in the queue and in the outbox.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import redis
from pydantic import BaseModel, ConfigDict

from towline.shared.broker import Pipe
from towline.shared.errors import Conflict, NotFound
from towline.shared.jobs import PushArguments, QueueName, push_call
from towline.shared.model import Push, Trigger
from towline.shared.queue import Queue
from towline.shared.views import CHANGES

KEY = "towline:delivery:"
DELIVERIES = "towline:deliveries"
REFUSED = "towline:deliveries:refused"
RETENTION_SECONDS = 30 * 24 * 3600
LIMIT = 10_000
REFUSED_LIMIT = 1_000
RACE_LIMIT = 20  # two receivers on one delivery id: the second sees the first's entry at its next try


class Verdict(StrEnum):
    """What was decided about a delivery, and later what came of it."""

    ACCEPTED = "accepted"  # its jobs wait or run
    SUCCEEDED = "succeeded"  # its jobs have ended well
    FAILED = "failed"  # a job of it failed: it may be sent again
    DUPLICATE = "duplicate"  # only in answers
    IGNORED = "ignored"  # understood, nothing to do
    REFUSED = "refused"


# While the first delivery of an id is one of these, another is a duplicate. One that was ignored may mean something by
# now, as branches are mapped in the configuration.
CLAIMED = frozenset({Verdict.ACCEPTED, Verdict.SUCCEEDED})


class PushLine(BaseModel):
    """One moved ref as the payload tells it."""

    model_config = ConfigDict(frozen=True)

    ref: str
    before: str | None
    after: str | None


class JobEnd(BaseModel):
    """How one job of a delivery ended."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    text: str
    at: float


class Delivery(BaseModel):
    """One webhook request, or one call by the clock or an operator, as it was received."""

    model_config = ConfigDict(frozen=True)

    id: str
    repository: str
    forge: str
    event: str
    trigger: Trigger
    verdict: Verdict
    reason: str = ""
    pushes: tuple[PushLine, ...] = ()
    jobs: tuple[str, ...] = ()
    received_at: float
    seconds: float = 0.0
    repeats: int = 0
    ends: dict[str, JobEnd] = {}


class NewDelivery(BaseModel):
    """What the receiver knows before it has decided."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: str
    repository: str
    forge: str
    event: str
    pushes: tuple[Push, ...] = ()
    received_at: float
    trigger: Trigger = Trigger.WEBHOOK
    operator: str = ""  # who asks, where it is one
    allow_prune: bool = False  # an operator's word for removals above the limit


class Ledger:
    """The deliveries of all repositories."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._broker = queue.broker
        self._redis = queue.broker.redis

    def accept(self, new: NewDelivery, *, urgent: bool = False) -> Delivery:
        """Record a delivery and enqueue one push job a ref, in one transaction.

        Returns it with verdict ACCEPTED, or the first one with verdict DUPLICATE. Raises RedisDown: nothing is
        claimed then, so that the forge can send it again.
        """
        queue = QueueName.URGENT if urgent else QueueName.PUSHES
        with self._broker.guard():
            return self._transaction(
                new, lambda sequence: [_arguments(new, push, sequence) for push in new.pushes], queue
            )

    def push_release(self, new: NewDelivery, *, release: str) -> Delivery:
        """The same for an operator who wants one release synced to the tip of the ref, whatever its inputs are."""
        (push,) = new.pushes

        def arguments(sequence: int) -> list[PushArguments]:
            return [_arguments(new, push, sequence).model_copy(update={"release": release})]

        with self._broker.guard():
            return self._transaction(new, arguments, QueueName.URGENT)

    def _transaction(
        self, new: NewDelivery, arguments: Callable[[int], Sequence[PushArguments]], queue: QueueName
    ) -> Delivery:
        key = delivery_key(new.repository, new.id)
        with self._redis.pipeline(transaction=True) as pipe:
            for _ in range(RACE_LIMIT):
                try:
                    pipe.watch(key)
                    known = _read(pipe.hgetall(key))
                    if known and known.verdict in CLAIMED:
                        pipe.unwatch()
                        self._redis.hincrby(key, "repeats", 1)
                        return known.model_copy(update={"verdict": Verdict.DUPLICATE, "reason": "duplicate"})
                    return self._claim(new, arguments, queue, pipe)
                except redis.WatchError:
                    continue
        raise Conflict(f"delivery {new.id} is being received by somebody else", hint="send it again")

    def _claim(
        self,
        new: NewDelivery,
        arguments: Callable[[int], Sequence[PushArguments]],
        queue: QueueName,
        pipe: Pipe,
    ) -> Delivery:
        """Everything of one delivery, between WATCH and EXEC."""
        # One for each: two refs of one delivery may deploy to one environment.
        pushes = [
            push.model_copy(update={"sequence": self._queue.wishes.next_sequence()}) for push in arguments(0)
        ]
        first = self._queue.number(len(pushes))
        oldest = _oldest(pipe, Verdict.ACCEPTED)
        pipe.multi()
        calls = [push_call(push, queue=queue) for push in pushes]
        jobs = self._queue.put(calls, pipe=pipe, first_number=first)
        delivery = _decided(new, Verdict.ACCEPTED, "", jobs)
        self._write(delivery, pipe, instead_of=oldest)
        for push in pushes:
            if push.release is None:
                pipe.zadd(refs_key(new.repository), {push.ref: push.sequence}, gt=True)
        pipe.execute()
        return delivery

    def note(self, new: NewDelivery, verdict: Verdict, reason: str) -> Delivery:
        """Record a delivery that makes no job. A refused one gets an id of its own: its header proves nothing."""
        if verdict is Verdict.REFUSED:
            new = new.model_copy(update={"id": f"refused-{secrets.token_hex(8)}"})
        delivery = _decided(new, verdict, reason, ())
        with self._broker.guard(), self._redis.pipeline(transaction=True) as pipe:
            oldest = _oldest(self._redis, verdict)
            self._write(delivery, pipe, instead_of=oldest, keep=True)
            pipe.execute()
        return delivery

    def _write(
        self, delivery: Delivery, pipe: Pipe, *, instead_of: Sequence[bytes], keep: bool = False
    ) -> None:
        """The entry, and the end of those that it pushes out; `keep` leaves one of this id as it is."""
        index, _ = _index(delivery.verdict)
        if instead_of:
            pipe.zrem(index, *instead_of)
            pipe.delete(*(KEY.encode() + name for name in instead_of))
        key = delivery_key(delivery.repository, delivery.id)
        body = delivery.model_dump_json(exclude={"repeats", "ends"})
        if keep:
            pipe.hsetnx(key, "body", body)
        else:
            pipe.delete(key)
            pipe.hset(key, "body", body)
        pipe.expire(key, RETENTION_SECONDS)
        pipe.zadd(index, {f"{delivery.repository}:{delivery.id}": delivery.received_at}, nx=keep)
        pipe.incr(CHANGES)

    def ended(self, repository: str, delivery: str, job: str, *, ok: bool, text: str) -> None:
        """Record how a job of a delivery ended; one that is no longer in the ledger is left out."""
        key = delivery_key(repository, delivery)
        with self._broker.guard():
            if self._redis.exists(key):
                end = JobEnd(ok=ok, text=text[:1000], at=time.time())
                with self._redis.pipeline(transaction=False) as pipe:
                    pipe.hset(key, f"job:{job}", end.model_dump_json())
                    pipe.incr(CHANGES)
                    pipe.execute()

    def is_newest(self, repository: str, ref: str, sequence: int) -> bool:
        """Whether no later push of this ref was received."""
        with self._broker.guard():
            newest = self._redis.zscore(refs_key(repository), ref)
        return newest is None or int(newest) <= sequence

    def get(self, identifier: str, *, repositories: Iterable[str]) -> Delivery:
        """A delivery by id, in any of these repositories; raises NotFound."""
        with self._broker.guard():
            for repository in repositories:
                known = _read(self._redis.hgetall(delivery_key(repository, identifier)))
                if known:
                    return known
        raise NotFound(f"delivery {identifier!r} is not in the ledger", hint="it keeps 10,000 for 30 days")

    def recent(
        self, limit: int, *, repository: str | None = None, before: float | None = None
    ) -> list[Delivery]:
        """The newest deliveries first, refused ones among them; those received before a time only."""
        with self._broker.guard():
            newest: list[tuple[bytes, float]] = []
            start = "+inf" if before is None else f"({before!r}"
            for index in (DELIVERIES, REFUSED):
                newest += self._redis.zrevrangebyscore(
                    index, start, "-inf", start=0, num=LIMIT if repository else limit, withscores=True
                )
            newest.sort(key=lambda pair: pair[1], reverse=True)
            names = [name.decode() for name, _ in newest]
            names = [name for name in names if repository is None or name.startswith(f"{repository}:")][
                :limit
            ]
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(KEY + name)
                found = [_read(raw) for raw in pipe.execute()]
        return [delivery for delivery in found if delivery]

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Enqueue the pushes of a delivery again, under an id of its own; raises Conflict when it has none."""
        if not delivery.pushes:
            raise Conflict(
                f"delivery {delivery.id} has no push to enqueue",
                hint=f"it was {delivery.verdict}: {delivery.reason}",
            )
        pushes = tuple(Push(ref=p.ref, before=None, after=None) for p in delivery.pushes)
        return self.accept(
            NewDelivery(
                id=f"again-{secrets.token_hex(8)}",
                repository=delivery.repository,
                forge=delivery.forge,
                event=f"redelivery of {delivery.id}",
                pushes=pushes,
                received_at=time.time(),
                trigger=Trigger.OPERATOR,
            ),
            urgent=True,
        )


def delivery_key(repository: str, identifier: str) -> str:
    """Where a delivery is kept: two repositories may get the same id from one forge."""
    return f"{KEY}{repository}:{identifier}"


def refs_key(repository: str) -> str:
    """Where the newest sequence of each ref is kept."""
    return f"towline:refs:{repository}"


def _index(verdict: Verdict) -> tuple[str, int]:
    """Where deliveries of a verdict are listed, and how many of them."""
    return (REFUSED, REFUSED_LIMIT) if verdict is Verdict.REFUSED else (DELIVERIES, LIMIT)


def _oldest(reader: Pipe, verdict: Verdict) -> list[bytes]:
    """Those that have to go so that one more can be listed. Gone from the list alone, they would fill Redis for 30 days."""
    index, limit = _index(verdict)
    oldest: list[bytes] = reader.zrange(index, 0, -limit)
    return oldest


def _arguments(new: NewDelivery, push: Push, sequence: int) -> PushArguments:
    return PushArguments(
        repository=new.repository,
        ref=push.ref,
        sequence=sequence,
        trigger=new.trigger.value,
        delivery=new.id,
        operator=new.operator,
        allow_prune=new.allow_prune,
        received_at=new.received_at,
    )


def _decided(new: NewDelivery, verdict: Verdict, reason: str, jobs: Sequence[str]) -> Delivery:
    return Delivery(
        id=new.id,
        repository=new.repository,
        forge=new.forge,
        event=new.event,
        trigger=new.trigger,
        verdict=verdict,
        reason=reason,
        pushes=tuple(PushLine(ref=p.ref, before=p.before, after=p.after) for p in new.pushes),
        jobs=tuple(jobs),
        received_at=new.received_at,
        seconds=max(0.0, time.time() - new.received_at),
    )


def _read(raw: dict[bytes, bytes]) -> Delivery | None:
    """A delivery with what came of its jobs: failed as soon as one failed, succeeded when all ended well."""
    if b"body" not in raw:
        return None
    delivery = Delivery.model_validate_json(raw[b"body"])
    ends = {
        name.removeprefix(b"job:").decode(): JobEnd.model_validate_json(value)
        for name, value in raw.items()
        if name.startswith(b"job:")
    }
    verdict = delivery.verdict
    if any(not end.ok for end in ends.values()):
        verdict = Verdict.FAILED
    elif delivery.jobs and set(delivery.jobs) <= set(ends):
        verdict = Verdict.SUCCEEDED
    return delivery.model_copy(
        update={"ends": ends, "verdict": verdict, "repeats": int(raw.get(b"repeats", 0))}
    )
