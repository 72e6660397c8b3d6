"""The lease of a release, held by a job: renewed while it works, given back in the end, and nobody is left waiting for it.

In: a lease that was taken. Out: nothing. State: the lease (shared/wanted.py). Killed half-way: the lease expires, and the
sweep runs the job again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from redis import RedisError

from towline.shared.jobs import QueueName, steer_labels, sync_call
from towline.shared.model import ReleaseName, Trigger
from towline.shared.wanted import Lease
from towline.worker.beat import every
from towline.worker.tools import Tools

RENEW_SECONDS = 4.0  # well below the lease's 12 s

log = structlog.get_logger(__name__)


@contextmanager
def holding(tools: Tools, name: ReleaseName, lease: Lease) -> Iterator[None]:
    """Hold a lease for a job that is no sync; a sync job that found it held, and firm, has ended, and gets another one."""
    try:
        with renewed(lease):
            yield
    finally:
        with tools.broker.guard():
            lease.drop()
        hear_operator(tools, name)
        if lease.is_firm:
            let_others_go_on(tools, name)


@contextmanager
def renewed(lease: Lease) -> Iterator[None]:
    """Keep a lease from expiring."""
    with every(RENEW_SECONDS, partial(_renew, lease)):
        yield


def _renew(lease: Lease) -> None:
    try:
        lease.renew()
    except RedisError as error:
        log.warning("lease.not_renewed", error=type(error).__name__)


def hear_operator(tools: Tools, name: ReleaseName) -> bool:
    """Have an operator's word that found the lease held carried out soon, however long it was to wait; whether there is one."""
    return tools.queue.hurry(steer_labels(str(name)))


def let_others_go_on(tools: Tools, name: ReleaseName) -> None:
    """Enqueue a sync for what is wanted and not done."""
    with tools.broker.guard():
        wanted = tools.queue.wishes.get(str(name))
    if wanted is not None:
        queue = QueueName.URGENT if wanted.trigger is Trigger.OPERATOR else QueueName.SYNCS
        call = sync_call(str(name), revision=wanted.revision, trigger=wanted.trigger, queue=queue)
        tools.queue.enqueue([call])
