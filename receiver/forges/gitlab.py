"""GitLab: what it signs and says, with the older token or with a signing token (Standard Webhooks, GitLab 19).

GitLab 19 sends `webhook-id` on every delivery, so the presence of `webhook-signature` alone chooses the scheme; a
delivery that has a signature must pass it and never falls back to the token.

Source: https://docs.gitlab.com/user/project/integrations/webhooks/ and
https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events
"""

from __future__ import annotations

import hashlib

from itsdangerous.encoding import want_bytes

from towline.receiver.forges.forge import (
    Id,
    Keys,
    Kind,
    Message,
    Payload,
    Ref,
    Request,
    event_of,
    json_body,
    named,
    read,
    usable_id,
)
from towline.receiver.forges.signatures import HINT, STANDARD_PREFIX, check_standard, missing, raw, same
from towline.shared.errors import BadSignature
from towline.shared.model import Push

PUSH_HOOKS = frozenset({"Push Hook", "Tag Push Hook"})
SYSTEM_HOOK = "System Hook"
SYSTEM_PUSHES = frozenset({"push", "tag_push"})


class Project(Payload):
    """`project` of a push."""

    git_http_url: str | None = None
    git_ssh_url: str | None = None
    web_url: str | None = None


class PushPayload(Payload):
    """`push` and `tag_push`: one branch or tag. The commits listed are 20 at most, and never looked at."""

    ref: Ref
    before: Id = None
    after: Id
    project: Project


class SystemPayload(Payload):
    """Any system hook."""

    event_name: str


class GitLab:
    """`webhook-signature` when it is there, `X-Gitlab-Token` otherwise."""

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text."""
        if "webhook-signature" in request.headers:
            parts = (
                request.header("webhook-id"),
                request.header("webhook-timestamp"),
                request.header("webhook-signature"),
            )
            check_standard(parts, request.body, secrets=keys.secrets, now=keys.now)
        else:
            self._check_token(request.header("x-gitlab-token"), keys)
        return json_body(request)

    def _check_token(self, token: str, keys: Keys) -> None:
        if not token:
            raise missing("the delivery has neither a signature nor a token")
        # A signing token signs; one that is sent as it is was given away.
        tokens = [secret for secret in keys.secrets if not secret.startswith(STANDARD_PREFIX)]
        given = raw(token)
        results = [same(want_bytes(each), given) for each in tokens]
        if not any(results):
            raise BadSignature("the token is not right", hint=HINT)

    def message(self, request: Request, text: bytes) -> Message:
        """One push, or another event."""
        event = event_of(request, "x-gitlab-event", forge="GitLab")
        delivery_id = _delivery_id(request)
        is_push = event in PUSH_HOOKS
        if event == SYSTEM_HOOK:
            name = read(SystemPayload, text).event_name
            is_push = name in SYSTEM_PUSHES
        if not is_push:
            read(Payload, text)
            return Message(kind=Kind.OTHER, event=event, delivery_id=delivery_id)
        payload = read(PushPayload, text)
        where = payload.project
        return Message(
            kind=Kind.PUSH,
            event=event,
            delivery_id=delivery_id,
            pushes=(Push(ref=payload.ref, before=payload.before, after=payload.after),),
            urls=named(where.git_http_url, where.git_ssh_url, where.web_url),
        )


def _delivery_id(request: Request) -> str | None:
    """The signed id, else the one that stays the same when GitLab sends a delivery again.

    `X-Gitlab-Event-UUID` is shared by all deliveries that one webhook caused, so it counts together with the body.
    """
    signed = "webhook-signature" in request.headers
    for header in ("webhook-id", "idempotency-key") if signed else ("idempotency-key", "webhook-id"):
        if found := usable_id(request.header(header)):
            return found
    event = usable_id(request.header("x-gitlab-event-uuid"))
    return usable_id(f"{event}-{hashlib.sha256(request.body).hexdigest()[:16]}") if event else None
