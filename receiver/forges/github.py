"""GitHub: what it signs and says.

Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries and
https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

from __future__ import annotations

from towline.receiver.forges.forge import (
    Id,
    Keys,
    Kind,
    Message,
    Payload,
    Ref,
    Request,
    event_of,
    form_payload,
    is_form,
    json_body,
    named,
    read,
    usable_id,
)
from towline.receiver.forges.signatures import SHA1, check_hex, missing
from towline.shared.errors import BadSignature
from towline.shared.model import Push

PREFIX_256 = "sha256="
PREFIX_1 = "sha1="


class Repository(Payload):
    """`repository` of a push."""

    clone_url: str | None = None
    ssh_url: str | None = None
    html_url: str | None = None


class PushPayload(Payload):
    """`push`: one branch or tag."""

    ref: Ref
    before: Id = None
    after: Id
    repository: Repository


class GitHub:
    """`X-Hub-Signature-256` over the body as received; SHA-1 only where the operator turned it on."""

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text; of a form it is the signed field's content."""
        given = request.header("x-hub-signature-256")
        if given.removeprefix(PREFIX_256):  # `sha256=` alone is what a sender without a secret sends
            check_hex(given.removeprefix(PREFIX_256), request.body, secrets=keys.secrets)
        else:
            self._check_older(request, keys)
        return form_payload(request.body) if is_form(request) else json_body(request)

    def _check_older(self, request: Request, keys: Keys) -> None:
        digest = request.header("x-hub-signature").removeprefix(PREFIX_1)
        if not digest:
            raise missing()
        if not keys.sha1_allowed:
            raise BadSignature(
                "the delivery is signed by SHA-1 alone", hint="update the forge, or set webhook.sha1: true"
            )
        check_hex(digest, request.body, secrets=keys.secrets, algorithm=SHA1)

    def message(self, request: Request, text: bytes) -> Message:
        """One push, a ping or another event."""
        event = event_of(request, "x-github-event", forge="GitHub")
        return hub_message(event, usable_id(request.header("x-github-delivery")), text)


def hub_message(event: str, delivery_id: str | None, text: bytes) -> Message:
    """What a payload of GitHub's form says; that of Gogs, Gitea and Forgejo has the same."""
    if event != "push":
        read(Payload, text)
        return Message(
            kind=Kind.PING if event == "ping" else Kind.OTHER, event=event, delivery_id=delivery_id
        )
    payload = read(PushPayload, text)
    where = payload.repository
    return Message(
        kind=Kind.PUSH,
        event=event,
        delivery_id=delivery_id,
        pushes=(Push(ref=payload.ref, before=payload.before, after=payload.after),),
        urls=named(where.clone_url, where.ssh_url, where.html_url),
    )
