"""Enqueueing: every job's id goes into the outbox in the transaction that pushes it, and leaves it when the job ends.

RQ pops from several queues with BLPOP, so a worker that is killed between popping and starting loses the job for good;
the sweep (worker/clock.py) finds such ids in the outbox, in no queue and in no execution, and enqueues them anew.
This module is the only one, with the worker's start, that knows RQ.

Redis keys:

    towline:number     string   counter behind job ids; an id is never used twice
    towline:outbox     hash     job id -> Parked as signed JSON: every job that has not ended
    towline:due        zset     job id of the outbox -> time, by Redis' clock, at which it is to be tried again
    towline:words      set      those of them that write an operator's word: few, and looked for after each sync
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError
from rq import Queue as RqQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from towline.shared.broker import Broker, Pipe
from towline.shared.errors import AccessError
from towline.shared.jobs import (
    ARGUMENTS,
    TIMEOUT_SECONDS,
    Arguments,
    Call,
    JobName,
    QueueName,
    Seal,
    job_id,
    readable,
)
from towline.shared.stamp import Stamp
from towline.shared.wanted import Wanted, Wishes

NUMBER = "towline:number"
OUTBOX = "towline:outbox"
DUE = "towline:due"
WORDS = "towline:words"

RESULT_TTL_SECONDS = 3600
FAILURE_TTL_SECONDS = 7 * 24 * 3600
EXECUTION_HORIZON_SECONDS = 120  # a heartbeat that lies further ahead was made before the clock was set back
DUE_HORIZON_SECONDS = 900.0  # above the longest pause between two attempts
DEAD_SECONDS = 60.0  # after the last sign of life; the sweep has run the job again by then


class Parked(BaseModel):
    """A job in the outbox: all that is needed to enqueue it again under a new id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: JobName
    queue: QueueName
    label: str
    description: str
    arguments: dict[str, object]
    runs: int = 1  # times enqueued because a worker died with it
    attempt: int = 1  # times tried, when what it needs did not answer
    first_id: str  # the id that a delivery knows it by
    parked_at: float

    def call(self) -> Call:
        """What to enqueue."""
        return Call(
            job=self.job,
            arguments=ARGUMENTS[self.job].model_validate(self.arguments),
            queue=self.queue,
            label=self.label,
            description=self.description,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The jobs that have not ended, and the ids of those that we did not put there or cannot read."""

    parked: Mapping[str, Parked]
    foreign: frozenset[bytes]


class Queue:
    """The queues and the outbox."""

    def __init__(self, broker: Broker, secret_key: str) -> None:
        self.broker = broker
        self.wishes = Wishes(broker, secret_key)
        self._seal = Seal(secret_key)
        self._stamp = Stamp(secret_key, purpose="parked job")
        self._known: dict[bytes, tuple[bytes, Parked]] = {}  # what `outbox` last read
        self._queues = {
            name: RqQueue(name.value, connection=broker.redis, serializer=JSONSerializer)
            for name in QueueName
        }

    def rq(self, name: QueueName) -> RqQueue:
        """RQ's own queue."""
        return self._queues[name]

    def open(self, identifier: str, sealed: object) -> tuple[JobName, Arguments]:
        """What a job asks for; raises AccessError unless we made it."""
        return self._seal.open(identifier, sealed)

    def number(self, count: int) -> int:
        """The first of `count` numbers for job ids; gaps are harmless."""
        return int(self.broker.redis.incrby(NUMBER, count)) - count + 1

    def put(self, calls: Sequence[Call], *, pipe: Pipe, first_number: int) -> list[str]:
        """Push jobs and park them in the outbox, inside the caller's transaction; returns their ids."""
        now = time.time()
        return [
            self._put(call, job_id(call.label, first_number + index), pipe, now)
            for index, call in enumerate(calls)
        ]

    def _put(self, call: Call, identifier: str, pipe: Pipe, now: float) -> str:
        parked = Parked(
            job=call.job,
            queue=call.queue,
            label=call.label,
            description=call.description,
            arguments=call.arguments.model_dump(mode="json"),
            first_id=identifier,
            parked_at=now,
        )
        self._push(parked, identifier, pipe)
        return identifier

    def _push(self, parked: Parked, identifier: str, pipe: Pipe) -> None:
        queue = self._queues[parked.queue]
        call = parked.call()
        job = queue.create_job(
            func=call.job.value,
            args=(self._seal.close(identifier, call.job, call.arguments),),
            job_id=identifier,
            timeout=TIMEOUT_SECONDS[call.job],
            result_ttl=RESULT_TTL_SECONDS,
            failure_ttl=FAILURE_TTL_SECONDS,
            description=readable(call.description),
        )
        pipe.hset(OUTBOX, identifier, self._stamp.on(parked.model_dump_json()))
        queue.enqueue_job(job, pipeline=pipe)

    def enqueue(
        self,
        calls: Sequence[Call],
        wishes: Iterable[Wanted] = (),
        *,
        also: Callable[[Pipe], None] | None = None,
        overtaken: Callable[[Wanted], None] | None = None,
    ) -> list[str]:
        """One transaction: what is wanted, the jobs, the outbox, and what the caller adds. Returns the ids.

        `overtaken` is told after it of each wish that will not have its turn: those replaced, and those that came late.
        """
        wishes = tuple(wishes)
        with self.broker.guard():
            first = self.number(len(calls))
            with self.broker.redis.pipeline(transaction=True) as pipe:
                pipe.multi()  # RQ would call it at the first job, and redis-py refuses it after other commands
                self.wishes.want(wishes, pipe=pipe)
                ids = self.put(calls, pipe=pipe, first_number=first)
                if also is not None:
                    also(pipe)
                answers = pipe.execute()
        if overtaken is not None:
            for wanted in self.wishes.overtaken(wishes, answers[: len(wishes)]):
                overtaken(wanted)
        return ids

    def again(self, identifier: str, parked: Parked) -> str:
        """Enqueue a parked job under a new id, in the place of the old one; `parked` carries the new counts."""
        with self.broker.guard():
            new = job_id(parked.label, self.number(1))
            with self.broker.redis.pipeline(transaction=True) as pipe:
                pipe.multi()  # as above
                _forget(identifier, pipe)
                # Where a worker for one queue alone has a job between taking and starting it.
                pipe.lrem(self._queues[parked.queue].intermediate_queue_key, 0, identifier)
                self._push(parked.model_copy(update={"parked_at": time.time()}), new, pipe)
                pipe.execute()
            return new

    def later(self, identifier: str, parked: Parked, *, at: float) -> None:
        """Leave a job in the outbox and have the clock try it again at a time by Redis' clock, which all hosts share."""
        with self.broker.guard(), self.broker.redis.pipeline(transaction=True) as pipe:
            pipe.hset(OUTBOX, identifier, self._stamp.on(parked.model_dump_json()))
            pipe.zadd(DUE, {identifier: at})
            if parked.job is JobName.STEER:
                pipe.sadd(WORDS, identifier)
            pipe.execute()

    def hurry(self, labels: Iterable[str]) -> bool:
        """Have operators' words with these labels that wait tried at the clock's next turn; whether there are any."""
        wanted = {_unnumbered(job_id(label, 0)) for label in labels}
        with self.broker.guard():
            words = [raw.decode("utf-8", "replace") for raw in self.broker.redis.smembers(WORDS)]
            asked = [identifier for identifier in words if _unnumbered(identifier) in wanted]
            waiting = [self._hurry(identifier) for identifier in asked]  # all of them
        return any(waiting)

    def _hurry(self, identifier: str) -> bool:
        """Whether it still waits; another version of us may have had it tried, which does not know WORDS."""
        redis = self.broker.redis
        if redis.zscore(DUE, identifier) is None:
            redis.srem(WORDS, identifier)
            return False
        redis.zadd(DUE, {identifier: 0.0}, xx=True)  # xx: the clock may have had it tried meanwhile
        return True

    def parked(self, identifier: str) -> Parked | None:
        """What the outbox holds under an id; raises AccessError when that is not ours."""
        with self.broker.guard():
            body = self.broker.redis.hget(OUTBOX, identifier)
        return self._unparked(body) if body else None

    def outbox(self) -> Outbox:
        """Every job that has not ended. Those that are as they were the last time are not read anew: thousands may wait."""
        with self.broker.guard():
            raw = self.broker.redis.hgetall(OUTBOX)
        known, self._known = self._known, {}
        foreign = set()
        for name, body in raw.items():
            before = known.get(name)
            try:
                one = before[1] if before and before[0] == body else self._unparked(body)
                self._known[name] = (body, one)
            except AccessError:
                foreign.add(name)
        parked = {name.decode("utf-8", "replace"): one for name, (_, one) in self._known.items()}
        return Outbox(parked=parked, foreign=frozenset(foreign))

    def drop_foreign(self, outbox: Outbox) -> None:
        """Take out of the outbox what nobody can run."""
        with self.broker.guard():
            self.broker.redis.hdel(OUTBOX, *outbox.foreign)

    def _unparked(self, body: bytes) -> Parked:
        text = self._stamp.off(body)
        try:
            parked = Parked.model_validate_json(text)
            parked.call()
            return parked
        except ValidationError as error:
            hint = "it is dropped, and the repositories are looked at anew"
            raise AccessError("a parked job was made by another version of Towline", hint=hint) from error

    def in_line(self) -> set[str]:
        """Ids that wait in a queue, or for the time at which they are tried again."""
        with self.broker.guard():
            found = {raw.decode() for raw in self.broker.redis.zrange(DUE, 0, -1)}
            return found.union(*(queue.get_job_ids() for queue in self._queues.values()))

    def running(self) -> dict[str, float]:
        """What workers have taken, as `<job id>:<execution>`, and until when each counts as alive by its worker's clock."""
        found: dict[str, float] = {}
        with self.broker.guard():
            for queue in self._queues.values():
                pairs = self.broker.redis.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
                found.update((raw.decode(), until) for raw, until in pairs)
        return found

    def due(self, *, now: float) -> list[str]:
        """Ids whose time has come; also those whose time is further away than any we set: the clock was set back."""
        with self.broker.guard(), self.broker.redis.pipeline(transaction=False) as pipe:
            pipe.zrangebyscore(DUE, "-inf", now)
            pipe.zrangebyscore(DUE, now + DUE_HORIZON_SECONDS, "+inf")
            return [raw.decode() for found in pipe.execute() for raw in found]

    def forget_dead(self, parked: Container[str], *, now: float) -> None:
        """Drop what RQ keeps of jobs whose worker died: the sweep ran them again, so they are not `parked` any more.

        RQ itself would put them among the failed ones. A worker that was only paused may still write to the job's
        hash, so that is not deleted but expires.
        """
        with self.broker.guard():
            for queue in self._queues.values():
                key = queue.started_job_registry.key
                dead = self.broker.redis.zrangebyscore(key, 0, now - DEAD_SECONDS)
                dead += self.broker.redis.zrangebyscore(key, now + EXECUTION_HORIZON_SECONDS, "+inf")
                with self.broker.redis.pipeline(transaction=False) as pipe:
                    for raw in dead:
                        if (identifier := raw.decode().partition(":")[0]) not in parked:
                            pipe.zrem(key, raw)
                            pipe.expire(Job.key_for(identifier), RESULT_TTL_SECONDS)
                    pipe.execute()

    def waiting(self, identifiers: Sequence[str]) -> set[str]:
        """Those of these jobs that have not ended."""
        if not identifiers:
            return set()
        with self.broker.guard():
            found = self.broker.redis.hmget(OUTBOX, list(identifiers))
        return {identifier for identifier, body in zip(identifiers, found, strict=True) if body is not None}

    def ended(self, identifier: str) -> None:
        """A job has ended, in whatever way: nobody needs to run it again."""
        with self.broker.guard(), self.broker.redis.pipeline(transaction=True) as pipe:
            _forget(identifier, pipe)
            pipe.execute()

    def depths(self) -> dict[QueueName, int]:
        """Jobs waiting in each queue."""
        with self.broker.guard(), self.broker.redis.pipeline(transaction=False) as pipe:
            for name in QueueName:
                pipe.llen(self._queues[name].key)
            return dict(zip(QueueName, map(int, pipe.execute()), strict=True))

    def oldest_seconds(self, *, now: float) -> dict[QueueName, float]:
        """How long the first job of each queue has waited; 0 for an empty one."""
        ages = {}
        with self.broker.guard():
            for name, queue in self._queues.items():
                first = queue.get_job_ids(0, 1)
                parked = self.parked(first[0]) if first else None
                ages[name] = max(0.0, now - parked.parked_at) if parked else 0.0
        return ages


def _forget(identifier: str, pipe: Pipe) -> None:
    """Take a job out of wherever it is parked; part of the caller's transaction."""
    pipe.hdel(OUTBOX, identifier)
    pipe.zrem(DUE, identifier)
    pipe.srem(WORDS, identifier)


def _unnumbered(identifier: str) -> str:
    return identifier.rpartition("_")[0]
