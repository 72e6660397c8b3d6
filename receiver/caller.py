"""What an operator may see and ask for, by API or page: the caller's environments are checked here and nowhere else.

In: a Caller and names as they came. Out: views and deliveries, or the ids of jobs that were enqueued. Each request is
one Redis transaction of the ledger or the queue; killed before it nothing was accepted.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import structlog

from towline.receiver.context import Context
from towline.receiver.tokens import Grant
from towline.shared.errors import InvalidInput, NotFound, Problem, TowlineError
from towline.shared.ledger import Delivery, NewDelivery, Verdict
from towline.shared.model import Push, ReleaseName, Trigger
from towline.shared.views import ReleaseView

LOOK_BACK = 2_000  # deliveries looked through at once when not all of them are asked for; some 40 ms

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and what the answer is made from."""

    context: Context
    grant: Grant


def view_for(caller: Caller, name: ReleaseName) -> ReleaseView:
    """A release by name; raises NotFound, the same one for what the caller may not know of."""
    view = caller.context.views.get(name) if caller.grant.covers(name.environment) else None
    if view is None:
        raise NotFound(f"there is no release {name}", hint="see `towline status` for those there are")
    return view


def delivery_for(caller: Caller, identifier: str) -> Delivery:
    """A delivery by id; raises NotFound, the same one for what the caller may not know of."""
    try:
        delivery = caller.context.ledger.get(
            identifier, repositories=caller.context.config.repositories_by_name
        )
    except NotFound:
        delivery = None
    if delivery is None or not covers(caller, delivery):
        raise NotFound("there is no such delivery", hint="the ledger keeps 10,000 of them for 30 days")
    return delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """Some deliveries, the newest first; `older_than`: the time before which others may lie, None at the end."""

    deliveries: tuple[Delivery, ...]
    older_than: float | None


def visible_deliveries(
    caller: Caller,
    *,
    limit: int,
    repository: str | None = None,
    verdict: Verdict | None = None,
    before: float | None = None,
) -> DeliveryPage:
    """The newest deliveries that the caller may see, at most `limit`."""
    narrowed = verdict is not None or caller.grant.environments is not None
    looked_at = LOOK_BACK if narrowed else limit
    found = caller.context.ledger.recent(looked_at, repository=repository, before=before)
    chosen = [
        delivery
        for delivery in found
        if (verdict is None or delivery.verdict is verdict) and covers(caller, delivery)
    ]
    last = None
    if len(chosen) >= limit:
        last = chosen[limit - 1]
    elif len(found) >= looked_at:
        last = found[-1]
    return DeliveryPage(deliveries=tuple(chosen[:limit]), older_than=last.received_at if last else None)


def covers(caller: Caller, delivery: Delivery) -> bool:
    """Whether all that a delivery deploys is in the caller's environments; what deploys nothing is for everybody
    whose token is not narrowed."""
    if caller.grant.environments is None:
        return True
    config = caller.context.config
    try:
        repository = config.repository(delivery.repository)
    except TowlineError:
        return False  # it is not configured any more
    names = {
        environment.name
        for each in delivery.pushes
        for environment in config.environments_for(repository, each.ref)
    }
    return bool(names) and all(caller.grant.covers(name) for name in names)


def start_redelivery(caller: Caller, identifier: str) -> Delivery:
    """Enqueue the pushes of a delivery again; raises NotFound, or Conflict when it has none."""
    delivery = delivery_for(caller, identifier)
    log.info("api.redeliver", delivery=delivery.id, operator=caller.grant.name)
    return caller.context.ledger.redeliver(delivery)


def operator_delivery(caller: Caller, *, repository: str, ref: str, allow_prune: bool) -> NewDelivery:
    """The entry of the ledger for what an operator asks for."""
    return NewDelivery(
        id=f"operator-{secrets.token_hex(8)}",
        repository=repository,
        forge=caller.context.config.repository(repository).webhook.forge,
        event=f"asked for by {caller.grant.name}",
        pushes=(Push(ref=ref, before=None, after=None),),
        received_at=time.time(),
        trigger=Trigger.OPERATOR,
        operator=caller.grant.name,
        allow_prune=allow_prune,
    )


def start_push(caller: Caller, repository_name: str, ref_or_branch: str, *, allow_prune: bool) -> Delivery:
    """Look at a ref as if the forge had called; raises InvalidInput for one that deploys nothing that is the caller's."""
    config = caller.context.config
    repository = config.repository(repository_name)
    ref = ref_or_branch if ref_or_branch.startswith("refs/") else f"refs/heads/{ref_or_branch}"
    environments = [each.name for each in config.environments_for(repository, ref)]
    if not environments or not all(caller.grant.covers(name) for name in environments):
        raise unusable("ref", found=ref_or_branch, allowed="a branch that `branches` maps to an environment")
    log.info("api.push", repository=repository.name, ref=ref, operator=caller.grant.name)
    new = operator_delivery(caller, repository=repository.name, ref=ref, allow_prune=allow_prune)
    return caller.context.ledger.accept(new, urgent=True)


def unusable(path: str, *, found: str, allowed: str) -> InvalidInput:
    """The error for one parameter that cannot be used."""
    return InvalidInput(
        f"{path} is not usable",
        hint="see /api/v1/openapi.json",
        problems=[Problem(message="is not usable", path=path, found=repr(found[:100]), allowed=allowed)],
    )
