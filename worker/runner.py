"""Runs one job: opens its seal, does what it asks for, decides what an error means, closes its books.

A job leaves the outbox when it has ended, in whatever way; until then the clock runs it again. An error of our tree
with `retry` is tried again later, with back-off; any other ends the job with a recorded result. RQ's failed list
holds only bugs and retries used up. Nothing of an error reaches Redis but its message, without a traceback's locals.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import structlog
from redis import RedisError
from rq import Queue as RqQueue
from rq.executions import Execution
from rq.job import Job
from rq.timeouts import JobTimeoutException
from rq.utils import now
from rq.worker import SimpleWorker
from rq.worker_registration import clean_worker_registry

from towline.shared.errors import AccessError, NotGoneYet, TowlineError, Unavailable
from towline.shared.faults import Point, fault
from towline.shared.jobs import (
    TIMEOUT_SECONDS,
    Arguments,
    JobName,
    PushArguments,
    QueueName,
    SyncArguments,
    readable,
)
from towline.shared.model import ReleaseName
from towline.shared.queue import Parked
from towline.worker.beat import every
from towline.worker.conclude import conclude
from towline.worker.heal import heal
from towline.worker.push import push
from towline.worker.refs import refs
from towline.worker.render.kustomize import remove_left_folders
from towline.worker.steer import steer
from towline.worker.sync import give_up, sync
from towline.worker.tools import Tools

HEARTBEAT_SECONDS = 4.0
HEARTBEAT_TTL_SECONDS = 15  # a killed worker's job is run again after this and two sweeps
WORKER_TTL_SECONDS = 20
MAINTENANCE_SECONDS = 5
METRICS_SECONDS = 1.0

ATTEMPTS = 12  # with the back-off below some 40 minutes
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 300.0
BACKGROUND_TURN = 10  # every tenth pick tries the background first, or it would starve behind syncs

log = structlog.get_logger(__name__)

# A job returns one line for its delivery and for the dashboard.
TABLE: dict[JobName, Callable[[Tools, Any], str]] = {
    JobName.PUSH: push,
    JobName.SYNC: sync,
    JobName.CONCLUDE: conclude,
    JobName.STEER: steer,
    JobName.HEAL: heal,
    JobName.REFS: refs,
}


# The clock asks for these again by itself: retries would pile up while a cluster or a Git server is away.
REPEATED = frozenset({JobName.REFS, JobName.CONCLUDE})


class JobFailed(Exception):
    """What RQ's failed list shows: a bug, or retries used up."""


def run(tools: Tools, identifier: str, *arguments: object) -> str:
    """Do what a job asks for; returns one line that says what came of it."""
    name, asked = tools.queue.open(identifier, arguments[0] if len(arguments) == 1 else None)
    parked = tools.queue.parked(identifier)
    if parked is None:
        return "ended before, or taken over under another id"
    with structlog.contextvars.bound_contextvars(job=identifier):
        try:
            fault(Point.JOB_TAKEN)
            text = _within_limit(tools, name, asked)
        except TowlineError as error:
            if error.retry and name not in REPEATED and _failures(parked, error) < ATTEMPTS:
                return _later(tools, identifier, parked, error)
            _close(tools, identifier, parked, asked, ok=False, text=str(error))
            if error.retry and name not in REPEATED:
                give_up_on(tools, asked, f"gave up after {parked.attempt} attempts: {error.message}")
                raise JobFailed(readable(error.message)) from None
            log.warning("job.refused", error=error.message, hint=error.hint)
            return readable(error.message)
        except Exception as error:
            log.exception("job.failed")
            _close(tools, identifier, parked, asked, ok=False, text=f"internal error: {type(error).__name__}")
            give_up_on(tools, asked, f"internal error: {type(error).__name__}")
            raise JobFailed(f"{type(error).__name__}, see the worker's log") from None
        _close(tools, identifier, parked, asked, ok=True, text=text)
        return text


def _within_limit(tools: Tools, name: JobName, asked: Arguments) -> str:
    """Do it; what took too long may pass, like anything else that does not answer."""
    try:
        return TABLE[name](tools, asked)
    except JobTimeoutException as error:
        message = f"the {name} job took longer than {TIMEOUT_SECONDS[name]} s"
        raise Unavailable(message, hint="see which stage its history or the log names last") from error


def delay_seconds(attempt: int, *, asked: float | None, jitter: float) -> float:
    """When to try again: exponential from FIRST_DELAY_SECONDS, at least what the server asked for; jitter in 0..1."""
    backoff = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1))
    return float(max(asked or 0.0, backoff * (0.75 + 0.5 * jitter)))


def _failures(parked: Parked, error: TowlineError) -> int:
    """How often it failed in a row by now: what only waits has not, and has its time limit elsewhere."""
    return 0 if isinstance(error, NotGoneYet) else parked.attempt


def _later(tools: Tools, identifier: str, parked: Parked, error: TowlineError) -> str:
    failures = _failures(parked, error)
    seconds = delay_seconds(failures, asked=error.retry_after, jitter=random.random())
    log.warning(
        "job.later", error=error.message, hint=error.hint, seconds=round(seconds, 1), attempt=parked.attempt
    )
    tools.queue.later(
        identifier,
        parked.model_copy(update={"attempt": failures + 1}),
        at=tools.broker.time() + seconds,
    )
    return readable(f"again in {seconds:.0f} s: {error.message}")


def _close(tools: Tools, identifier: str, parked: Parked, asked: Arguments, *, ok: bool, text: str) -> None:
    """The delivery's line first: killed in between, the job runs again and writes the same line."""
    fault(Point.JOB_ENDING)
    if isinstance(asked, PushArguments):
        tools.ledger.ended(asked.repository, asked.delivery, parked.first_id, ok=ok, text=text)
    tools.queue.ended(identifier)
    fault(Point.JOB_ENDED)


def give_up_on(tools: Tools, asked: Arguments, reason: str) -> None:
    """Record that a job will not be tried again, where people look for it."""
    if isinstance(asked, SyncArguments):
        try:
            give_up(tools, asked, reason)
        except AccessError as error:  # the wish is not ours, so it is nobody's
            log.error("job.foreign_wish", release=asked.release, error=error.message, hint=error.hint)
        tools.views.stopped(ReleaseName.parse(asked.release))  # a worker that died did not say so


class ClosedJob(Job):
    """A job that can only do what TABLE holds: neither its function nor its callbacks are imported by name."""

    tools: ClassVar[Tools]

    @property
    def func(self) -> Callable[..., str]:
        """The one function there is."""
        return partial(run, self.tools, self.id)

    @property
    def success_callback(self) -> None:
        """None: a name in Redis is never imported."""

    @property
    def failure_callback(self) -> None:
        """None: a name in Redis is never imported."""

    @property
    def stopped_callback(self) -> None:
        """None: a name in Redis is never imported."""

    def send_webhooks(self, status: object, *, exc_string: str | None = None) -> None:
        """Nothing: an address in Redis is never called."""


class WarmWorker(SimpleWorker):
    """RQ's in-process worker, with heartbeats during a job and a turn for the background queue."""

    job_class = ClosedJob
    log_result_lifespan = False
    _picks = 0

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds after which a job without a heartbeat counts as abandoned, however long it may run."""
        return HEARTBEAT_TTL_SECONDS

    def execute_job(self, job: Job, queue: RqQueue) -> None:
        """Run one job, telling Redis all the while that this worker is alive."""
        execution = self.prepare_execution(job)
        with every(HEARTBEAT_SECONDS, partial(self._beat, job, execution)):
            self.perform_job(job, queue, execution)
        self.set_state("idle")

    def _beat(self, job: Job, execution: Execution) -> None:
        try:
            self.maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("heartbeat.failed", error=type(error).__name__)

    def clean_registries(self) -> None:
        """RQ's upkeep of its lists, but for abandoned jobs: the sweep runs them again, and RQ would call them failed."""
        for queue in self.queues:
            queue.finished_job_registry.cleanup()
            queue.failed_job_registry.cleanup()
            clean_worker_registry(queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ declares it as None

    def reorder_queues(self, reference_queue: RqQueue) -> None:
        """RQ asks after each pick: every tenth next one looks at the background queue first."""
        self._picks += 1
        turn = self._picks % BACKGROUND_TURN == 0
        self._ordered_queues = sorted(
            self.queues,
            key=lambda queue: (turn and queue.name != QueueName.BACKGROUND, self.queues.index(queue)),
        )


def work(tools: Tools, queues: list[QueueName], *, name: str) -> int:
    """Take jobs from these queues, the first ones first, until SIGTERM."""
    ClosedJob.tools = tools
    remove_left_folders(Path(tempfile.gettempdir()), now=time.time())
    worker = WarmWorker(
        [tools.queue.rq(queue) for queue in queues],
        name=name,
        connection=tools.broker.redis,
        worker_ttl=WORKER_TTL_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        serializer="rq.serializers.JSONSerializer",
        log_job_description=False,
        prepare_for_work=True,
    )
    with every(METRICS_SECONDS, tools.metrics.flush):
        worker.work(logging_level="WARNING")
    tools.metrics.flush()
    return 0
