"""`POST /webhooks/<repository>`: a delivery comes in, push jobs leave.

Order: size -> repository -> body -> signature -> rate -> parse -> ledger and jobs in one transaction -> 202. Nothing of
the body is looked at before its signature was found right, and the answer is sent after the transaction: killed before
it, nothing is claimed and the forge shows a failure; killed after it, the jobs run though the forge may send it again,
which is then a duplicate. State: the ledger's, the queue's and the rate limit's; none here.

Ids come from unsigned headers on some forges, and `after` from the payload: neither is trusted. The push job takes the
tip of the ref as fetched, which is what makes a replayed or late delivery harmless.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from flask import Blueprint, Response
from flask import request as call

from towline.receiver.api_models import NothingToDo, PushAccepted, accepted
from towline.receiver.body import check_length, read_body
from towline.receiver.context import Context
from towline.receiver.forges.forge import Keys, Kind, Message, Request
from towline.receiver.forges.rules import RULES
from towline.receiver.rate import RateLimit
from towline.shared.config import Config, Repository
from towline.shared.errors import ConfigError, DeliveryError, RedisDown, Unavailable, UnknownRepository
from towline.shared.faults import Point, fault
from towline.shared.ledger import Delivery, NewDelivery, Verdict
from towline.shared.metrics import DELIVERIES
from towline.shared.model import Push
from towline.shared.refs import TAGS
from towline.shared.urls import parse_repository_url, same_repository

REASON_LIMIT = 500  # characters in the ledger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a message: the pushes to enqueue, or why there are none."""

    pushes: tuple[Push, ...]
    reason: str = ""


def blueprint(context: Context) -> Blueprint:
    """The one route that forges call."""
    intake = Intake(context)
    routes = Blueprint("webhooks", __name__)
    routes.add_url_rule(
        "/webhooks/<name>", "receive", intake.receive, methods=["POST"], provide_automatic_options=False
    )
    return routes


class Intake:
    """Takes deliveries in."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._limit_bytes = context.config.server.max_body_bytes
        self._rate = RateLimit(context.broker)

    def receive(self, name: str) -> Response:
        """The answer to one request; raises TowlineError for the others."""
        received_at = time.time()
        repository = self._context.config.repositories_by_name.get(name)
        try:
            check_length(call, limit_bytes=self._limit_bytes)
            if repository is None:
                raise UnknownRepository(
                    "there is no such repository", hint="see `repositories` of towline.yaml"
                )
            return self._take(repository, received_at)
        except DeliveryError as error:
            if repository is not None:
                self._refuse(repository, error, received_at)
            raise

    def _take(self, repository: Repository, received_at: float) -> Response:
        request = Request(
            headers={name.lower(): value for name, value in call.headers.items()},
            body=read_body(call, limit_bytes=self._limit_bytes),
        )
        rules = RULES[repository.webhook.forge]
        text = rules.signed(request, keys_of(repository, now=time.time()))
        self._rate.take(repository)
        message = rules.message(request, text)
        decision = decide(self._context.config, repository, message)
        new = NewDelivery(
            id=message.delivery_id or f"random-{secrets.token_hex(8)}",
            repository=repository.name,
            forge=repository.webhook.forge,
            event=message.event,
            pushes=decision.pushes,
            received_at=received_at,
        )
        return self._record(new, decision)

    def _record(self, new: NewDelivery, decision: Decision) -> Response:
        ledger = self._context.ledger
        if decision.reason:
            delivery = ledger.note(new, Verdict.IGNORED, decision.reason)
        else:
            delivery = ledger.accept(new)
            fault(Point.DELIVERY_ENQUEUED)
        self._tell(delivery)
        if delivery.verdict is not Verdict.ACCEPTED:
            return _answer(NothingToDo(delivery=new.id, reason=delivery.reason), HTTPStatus.OK)
        return _answer(accepted(delivery), HTTPStatus.ACCEPTED)

    def _refuse(self, repository: Repository, error: DeliveryError, received_at: float) -> None:
        """Record why; that Redis is away must not change the answer to a delivery that is refused anyway."""
        new = NewDelivery(
            id="",
            repository=repository.name,
            forge=repository.webhook.forge,
            event="",
            received_at=received_at,
        )
        try:
            self._tell(self._context.ledger.note(new, Verdict.REFUSED, str(error)[:REASON_LIMIT]))
        except RedisDown:
            log.warning("webhook.unrecorded", repository=repository.name, reason=error.message)

    def _tell(self, delivery: Delivery) -> None:
        self._context.metrics.count(DELIVERIES, forge=delivery.forge, verdict=delivery.verdict)
        write = log.warning if delivery.verdict is Verdict.REFUSED else log.info
        write(
            f"webhook.{delivery.verdict}",
            delivery=delivery.id,
            repository=delivery.repository,
            forge=delivery.forge,
            reason=delivery.reason,
            refs=[push.ref for push in delivery.pushes[:10]],
            seconds=round(time.time() - delivery.received_at, 4),
        )


def keys_of(repository: Repository, *, now: float) -> Keys:
    """The secrets that can be read; one that cannot is left out, so that a half-done rotation stops nothing."""
    found = []
    for secret in repository.webhook.secrets:
        try:
            found.append(secret.value())
        except ConfigError as error:
            log.error("webhook.secret", repository=repository.name, reason=error.message, hint=error.hint)
    if not found:
        raise Unavailable("the receiver cannot check signatures of this repository", hint="see its log")
    return Keys(secrets=tuple(found), sha1_allowed=repository.webhook.sha1, now=now)


def decide(config: Config, repository: Repository, message: Message) -> Decision:
    """What a verified message asks for. Pure."""
    if message.kind is not Kind.PUSH:
        return Decision(pushes=(), reason=message.kind.value)
    if not is_about(repository, message):
        return Decision(pushes=(), reason="repository")
    if not message.pushes:
        return Decision(pushes=(), reason="empty")
    mapped = tuple(push for push in message.pushes if config.environments_for(repository, push.ref))
    if mapped:
        return Decision(pushes=mapped)
    only_tags = all(push.ref.startswith(TAGS) for push in message.pushes)
    return Decision(pushes=message.pushes, reason="tag" if only_tags else "branch")


def is_about(repository: Repository, message: Message) -> bool:
    """Whether one of the addresses in a message is one of the repository's."""
    ours = (repository.url, *repository.aliases)
    if message.urls:
        return any(same_repository(mine, theirs) for mine in ours for theirs in message.urls)
    return message.path is not None and any(_ends_with(mine, message.path) for mine in ours)


def _ends_with(url: str, path: str) -> bool:
    """Whether a URL's path ends with `project/slug`, by whole names."""
    parsed = parse_repository_url(url)
    wanted = path.lower().split("/")
    return parsed is not None and parsed.path.lower().split("/")[-len(wanted) :] == wanted


def _answer(body: PushAccepted | NothingToDo, status: HTTPStatus) -> Response:
    headers = {"Cache-Control": "no-store"}
    text = body.model_dump_json(by_alias=True)
    return Response(text, status=status, mimetype="application/json", headers=headers)
