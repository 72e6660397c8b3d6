"""Bitbucket Cloud, and Bitbucket Server or Data Center: one signature, two payloads.

Both carry several refs in a delivery, or none. Neither has to name a clone URL: Cloud gives a page, older servers give
only project and slug.

Source: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push and
https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
    one_a_ref,
    read,
    usable_id,
)
from towline.receiver.forges.signatures import check_hex, missing
from towline.shared.errors import DeliveryError
from towline.shared.model import Push, Revision
from towline.shared.refs import HEADS, TAGS, is_ref_name

CLOUD = "https://bitbucket.org"
PREFIX = "sha256="

# Which events tell that the other product is calling.
SERVER_EVENTS = ("repo:refs_changed", "diagnostics:", "pr:", "mirror:")
CLOUD_EVENTS = ("repo:push", "pullrequest:")

FOLDERS = {"branch": HEADS, "named_branch": HEADS, "tag": TAGS, "annotated_tag": TAGS}


class Link(Payload):
    """One address."""

    href: str


class Target(Payload):
    """The commit of a ref."""

    hash: Id


class CloudRef(Payload):
    """A branch or tag by its short name."""

    type: str
    name: str
    target: Target


class CloudChange(Payload):
    """One ref: `old` is null for a new one, `new` for a deleted one."""

    old: CloudRef | None = None
    new: CloudRef | None = None


class CloudChanges(Payload):
    """`push`."""

    changes: tuple[CloudChange, ...]


class CloudLinks(Payload):
    """`repository.links`."""

    html: Link


class CloudRepository(Payload):
    """`repository`."""

    full_name: str | None = None
    links: CloudLinks


class CloudPush(Payload):
    """`repo:push`."""

    push: CloudChanges
    repository: CloudRepository


class BitbucketCloud:
    """`X-Hub-Signature: sha256=...`, SHA-256 in the header that GitHub uses for SHA-1."""

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text."""
        return _signed(request, keys)

    def message(self, request: Request, text: bytes) -> Message:
        """All refs of a push, or another event."""
        event = _event(request, forge="Bitbucket Cloud", foreign=SERVER_EVENTS)
        delivery_id = usable_id(request.header("x-request-uuid"))
        if event != "repo:push":
            read(Payload, text)
            return Message(kind=Kind.OTHER, event=event, delivery_id=delivery_id)
        payload = read(CloudPush, text)
        pushes = [push for change in payload.push.changes if (push := _cloud_push(change))]
        where = payload.repository
        return Message(
            kind=Kind.PUSH,
            event=event,
            delivery_id=delivery_id,
            pushes=one_a_ref(pushes),
            urls=named(where.links.html.href, where.full_name and f"{CLOUD}/{where.full_name}"),
        )


class ServerRef(Payload):
    """A ref by its whole name."""

    id: Ref


class ServerChange(Payload):
    """One ref."""

    ref: ServerRef
    from_hash: Annotated[Id, Field(alias="fromHash")] = None
    to_hash: Annotated[Id, Field(alias="toHash")]


class ServerLinks(Payload):
    """`repository.links`."""

    clone: tuple[Link, ...] = ()


class ServerProject(Payload):
    """`repository.project`."""

    key: str


class ServerRepository(Payload):
    """`repository`."""

    slug: str
    project: ServerProject
    links: ServerLinks = ServerLinks()


class ServerPush(Payload):
    """`repo:refs_changed`."""

    changes: tuple[ServerChange, ...]
    repository: ServerRepository


class BitbucketServer:
    """The same signature; the payload of Bitbucket Server and Data Center."""

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text."""
        return _signed(request, keys)

    def message(self, request: Request, text: bytes) -> Message:
        """All refs of a push, the button "Test connection", or another event."""
        event = _event(request, forge="Bitbucket Server", foreign=CLOUD_EVENTS)
        delivery_id = usable_id(request.header("x-request-id"))
        if event != "repo:refs_changed":
            read(Payload, text)
            kind = Kind.PING if event == "diagnostics:ping" else Kind.OTHER
            return Message(kind=kind, event=event, delivery_id=delivery_id)
        payload = read(ServerPush, text)
        where = payload.repository
        pushes = [
            Push(ref=change.ref.id, before=change.from_hash, after=change.to_hash)
            for change in payload.changes
        ]
        return Message(
            kind=Kind.PUSH,
            event=event,
            delivery_id=delivery_id,
            pushes=one_a_ref(pushes),
            urls=named(*(link.href for link in where.links.clone)),
            path=f"{where.project.key}/{where.slug}",
        )


def _signed(request: Request, keys: Keys) -> bytes:
    digest = request.header("x-hub-signature").removeprefix(PREFIX)
    if not digest:
        raise missing()
    check_hex(digest, request.body, secrets=keys.secrets)
    return json_body(request)


def _event(request: Request, *, forge: str, foreign: tuple[str, ...]) -> str:
    event = event_of(request, "x-event-key", forge=forge)
    if event.startswith(foreign):
        raise DeliveryError(f"{event} is not an event of {forge}", hint="see webhook.forge in towline.yaml")
    return event


def _cloud_push(change: CloudChange) -> Push | None:
    """The push of one change; None for what is neither branch nor tag (bookmarks of older repositories)."""
    which = change.new or change.old
    if which is None:
        raise DeliveryError("a change has neither an old nor a new state", hint="see docs/webhooks.md")
    if which.type not in FOLDERS:
        return None
    ref = FOLDERS[which.type] + which.name
    if not is_ref_name(ref):
        raise DeliveryError("a change names no usable ref", hint="see docs/webhooks.md")
    return Push(ref=ref, before=_hash(change.old), after=_hash(change.new))


def _hash(ref: CloudRef | None) -> Revision | None:
    return ref.target.hash if ref else None
