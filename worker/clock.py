"""Process: what must happen though nobody asks for it.

One clock is active an installation (a lease in Redis); a second one waits and takes over. Each turn: jobs that are
due again, and, at their intervals, the outbox sweep and the look at every repository's refs. It makes jobs and does
none of them, so that a slow forge or cluster never holds it up. Killed at any line, the next turn does the rest.

Redis keys:

    towline:clock           string   token of the active clock, expires when it dies
    towline:looked          hash     repository -> time of the last look at its refs
"""

from __future__ import annotations

import random
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from towline.shared.config import Config
from towline.shared.errors import TowlineError
from towline.shared.jobs import JobName, conclude_call, refs_call
from towline.shared.queue import EXECUTION_HORIZON_SECONDS, Outbox, Parked
from towline.shared.watchers import Watchers
from towline.worker.dependants import Waiters
from towline.worker.runner import give_up_on
from towline.worker.tending import Tending
from towline.worker.tools import Tools

TURN_SECONDS = 0.5
LEASE_SECONDS = 10
SWEEP_SECONDS = 5.0
JUDGE_SECONDS = 2.0
WATCHED_SECONDS = 300.0  # the same where a watcher sees the cluster change, should it ever miss something
RUNS = 3  # times a job is run again because its worker died; then it is recorded as failed
TOKEN = "towline:clock"
LOOKED = "towline:looked"
JITTER = 0.2  # share of an interval that a look may come early
FORGOTTEN_SECONDS = 3600.0  # a sync that never said it stopped

RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) else return 0 end"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Clock:
    """The active clock's memory: what it saw missing at the last sweep, and the signs of life of what ran."""

    tools: Tools
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    swept_at: float = 0.0
    missing: frozenset[str] = frozenset()
    running: Mapping[str, float] = field(default_factory=dict)
    judging: dict[str, tuple[float, str]] = field(default_factory=dict)  # release -> when, job id
    tending: Tending = field(init=False)
    waiters: Waiters = field(init=False)

    def __post_init__(self) -> None:
        self.tending = Tending(self.tools)
        self.waiters = Waiters(self.tools)

    def turn(self, now: float) -> None:
        """One turn, when this clock is the active one."""
        if not self._active():
            return
        self.retry_due(self.tools.broker.time())
        if is_due(self.swept_at, every=SWEEP_SECONDS, now=now):
            self.swept_at = now
            self.sweep(now)
            self.tools.views.forget_syncing(before=now - FORGOTTEN_SECONDS)
        self.judge(now)
        self.tending.turn(now)
        self.look(now)

    def _active(self) -> bool:
        redis = self.tools.broker.redis
        with self.tools.broker.guard():
            if redis.set(TOKEN, self.token, nx=True, ex=LEASE_SECONDS):
                return True
            return bool(redis.eval(RENEW, 1, TOKEN, self.token, LEASE_SECONDS))

    def resign(self) -> None:
        """Let another clock take over at once."""
        with self.tools.broker.guard():
            if self.tools.broker.redis.get(TOKEN) == self.token.encode():
                self.tools.broker.redis.delete(TOKEN)

    def retry_due(self, now: float) -> None:
        """Enqueue what was to be tried again by now, which is told by Redis' clock."""
        if not (due := self.tools.queue.due(now=now)):
            return
        outbox = self.tools.queue.outbox()
        for identifier in due:
            if identifier in outbox.parked:
                self.tools.queue.again(identifier, outbox.parked[identifier])
            else:
                self.tools.queue.ended(identifier)

    def sweep(self, now: float) -> None:
        """Run again what is in the outbox and nowhere else, seen so in two sweeps: its worker died or lost it."""
        outbox = self.tools.queue.outbox()
        if outbox.foreign:
            self._start_over(outbox)
        parked = outbox.parked
        alive = self.tools.queue.in_line() | self._beating(now)
        gone = {
            name
            for name in set(parked) - alive
            if is_due(parked[name].parked_at, every=SWEEP_SECONDS, now=now)
        }
        for identifier in sorted(gone & self.missing):
            self._rescue(identifier, parked[identifier])
        self.missing = frozenset(gone - self.missing)
        self.tools.queue.forget_dead(parked, now=now)
        self.waiters.turn(outbox, now)

    def _beating(self, now: float) -> set[str]:
        """Ids of jobs whose workers give signs of life."""
        before, self.running = self.running, self.tools.queue.running()
        return {
            name.partition(":")[0]
            for name, until in self.running.items()
            if is_beating(until, before.get(name), now=now)
        }

    def _start_over(self, outbox: Outbox) -> None:
        """Set aside what nobody can run, and find what should run as if Redis had been wiped."""
        log.error(
            "outbox.foreign",
            jobs=len(outbox.foreign),
            hint="somebody else writes to this Redis, or the secret key or the version of Towline was changed",
        )
        self.tools.queue.drop_foreign(outbox)
        self.tools.views.forget_handled()
        with self.tools.broker.guard():
            self.tools.broker.redis.delete(LOOKED)

    def _rescue(self, identifier: str, parked: Parked) -> None:
        if parked.runs < RUNS + 1:
            again = parked.model_copy(update={"runs": parked.runs + 1})
            log.warning("job.abandoned", job=identifier, again=self.tools.queue.again(identifier, again))
            return
        reason = f"abandoned {RUNS} times: its worker died each time it ran"
        log.error(
            "job.given_up", job=identifier, reason=reason, hint="see the worker's log and its memory limit"
        )
        call = parked.call()
        if parked.job is JobName.PUSH:
            asked = parked.arguments
            repository, delivery = str(asked["repository"]), str(asked["delivery"])
            self.tools.ledger.ended(repository, delivery, parked.first_id, ok=False, text=reason)
        give_up_on(self.tools, call.arguments, reason)
        self.tools.queue.ended(identifier)

    def judge(self, now: float) -> None:
        """Have each release that waits to become healthy judged again, when its last judgement is done.

        Where a watcher is active it does this in the moment in which something changes, and the clock only seldom.
        """
        verifying = self.tools.views.verifying()
        active = Watchers(self.tools.broker).active(self.tools.config.clusters) if verifying else set()
        environments = {name.partition("/")[0] for name in verifying}
        seen = {one for one in environments if _cluster_of(self.tools.config, one) in active}
        watched = {name for name in verifying if name.partition("/")[0] in seen}
        first_seen = {name: (now, "") for name in watched}
        self.judging = {name: one for name, one in (first_seen | self.judging).items() if name in verifying}
        waiting = self.tools.queue.waiting([job for _, job in self.judging.values() if job])
        due = [
            name
            for name in verifying
            if self._is_due(name, now, WATCHED_SECONDS if name in watched else JUDGE_SECONDS, waiting)
        ]
        if due:
            jobs = self._asked() if watched.intersection(due) else {}
            new = [name for name in due if name not in jobs]
            if new:
                made = self.tools.queue.enqueue(
                    [conclude_call(name, revision=verifying[name]) for name in new]
                )
                jobs |= zip(new, made, strict=True)
            self.judging.update({name: (now, jobs[name]) for name in due})

    def _asked(self) -> dict[str, str]:
        """The releases that a watcher has asked to judge, and the job that will: thousands may wait behind syncs."""
        parked = self.tools.queue.outbox().parked
        return {
            str(one.arguments["release"]): identifier
            for identifier, one in parked.items()
            if one.job is JobName.CONCLUDE
        }

    def _is_due(self, name: str, now: float, every: float, waiting: set[str]) -> bool:
        at, job = self.judging.get(name, (0.0, ""))
        return is_due(at, every=every, now=now) and job not in waiting

    def look(self, now: float) -> None:
        """Have each repository's refs looked at when its interval is over; all at once when Redis was wiped."""
        with self.tools.broker.guard():
            raw = self.tools.broker.redis.hgetall(LOOKED)
        looked = {name.decode(): float(at) for name, at in raw.items()}
        interval = self.tools.config.sync.clock_interval_seconds
        for name in self.tools.config.repositories_by_name:
            if is_due(looked.get(name, 0.0), every=interval, now=now):
                # Jitter: repositories of one forge are not asked in the same second for ever.
                at = now - random.uniform(0.0, JITTER) * interval
                with self.tools.broker.guard():
                    self.tools.broker.redis.hset(LOOKED, name, at)
                self.tools.queue.enqueue([refs_call(name)])


def is_due(at: float, *, every: float, now: float) -> bool:
    """Whether so much time has passed; also when `at` lies ahead: it was noted before the clock was set back."""
    return not 0 <= now - at < every


def is_beating(until: float, before: float | None, *, now: float) -> bool:
    """Whether a worker gives signs of life: one that is not over by our clock, or another than at the last sweep. Pure.

    The second makes up for clocks that disagree: one was set, or that of another host is wrong.
    """
    return 0 <= until - now <= EXECUTION_HORIZON_SECONDS or before not in (None, until)


def _cluster_of(config: Config, environment: str) -> str:
    """Where an environment is, told by itself or by the template that it was made from; "" for one that is not known."""
    if fixed := config.environments.get(environment):
        return fixed.cluster
    made = [one for one in config.templates.values() if environment.startswith(f"{one.name}-")]
    return max(made, key=lambda one: len(one.name)).cluster if made else ""


def prepare_clusters(tools: Tools) -> None:
    """Have each cluster serve the Release kind before the first push: a server holds the first use of a new kind 2 s."""
    clusters = {environment.cluster: environment for environment in tools.config.environments.values()}
    for name, environment in clusters.items():
        try:
            tools.records(environment).ensure_crd()
        except TowlineError as error:  # the first sync tries again, and says so where people look
            log.info("clock.cluster_not_prepared", cluster=name, error=error.message)


def run_clock(tools: Tools) -> int:
    """Turn until SIGTERM or SIGINT."""
    threading.Thread(target=prepare_clusters, args=(tools,), daemon=True).start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    clock = Clock(tools)
    while not stopped.is_set():
        try:
            clock.turn(time.time())
        except TowlineError as error:
            log.warning("clock.waits", error=error.message, hint=error.hint)
        except Exception:
            log.exception("clock.failed")
        stopped.wait(TURN_SECONDS)
    try:
        clock.resign()
    except TowlineError as error:
        log.warning("clock.resign", error=error.message)
    return 0
