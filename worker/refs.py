"""Job: look whether a ref of a repository moved without a webhook, and make it a push like any other.

Forges drop webhooks: GitLab sends none for a push of more than 3 refs, GitHub none over 25 MB. In: a repository; out:
one push job for each ref whose tip is not the last handled one. Killed half-way, the next tick does the rest.
"""

from __future__ import annotations

import secrets
import time

import structlog

from towline.shared.jobs import RefsArguments
from towline.shared.ledger import NewDelivery
from towline.shared.model import Push, Revision, Trigger
from towline.shared.views import TIP
from towline.worker.tools import Tools

LIST_SECONDS = 20.0  # a worker is held meanwhile, and the clock asks again

log = structlog.get_logger(__name__)


def refs(tools: Tools, arguments: RefsArguments) -> str:
    """Enqueue a push for each ref of the repository that is not where we last handled it."""
    repository = tools.config.repository(arguments.repository)
    tips = tools.mirror(repository).refs(deadline_seconds=LIST_SECONDS)
    moved = [push for ref, tip in tips.items() if (push := _moved(tools, repository.name, ref, tip))]
    mapped = tuple(push for push in moved if tools.config.environments_for(repository, push.ref))
    if mapped:
        delivery = NewDelivery(
            id=f"clock-{secrets.token_hex(6)}",
            repository=repository.name,
            forge=repository.webhook.forge.value,
            event="clock",
            pushes=mapped,
            received_at=time.time(),
            trigger=Trigger.CLOCK,
        )
        tools.ledger.accept(delivery)
        log.info("clock.found", repository=repository.name, refs=[push.ref for push in mapped])
    return f"{len(mapped)} of {len(tips)} refs moved"


def _moved(tools: Tools, repository: str, ref: str, tip: Revision) -> Push | None:
    handled = (tools.views.handled(repository, ref) or {}).get(TIP)
    return None if handled == tip else Push(ref=ref, before=Revision(handled) if handled else None, after=tip)
