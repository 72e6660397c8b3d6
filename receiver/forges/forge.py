"""What all forges have in common: what comes in by HTTP, what was signed, what it says. Pure: no clock, no socket.

In: lower-case headers and the body as received. Out: the JSON that the forge signed, and a Message read from it; or
BadSignature, or DeliveryError. Each forge has one implementation of ForgeRules; the repository's configuration chooses
it, never a header: Gitea and Forgejo send GitHub's and Gogs' headers beside their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Protocol, TypeVar
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from towline.shared.errors import DeliveryError, Problem
from towline.shared.model import Push, Revision, is_revision
from towline.shared.refs import is_ref_name

# Written into Redis keys and shown on the page; forges send UUIDs, GitLab's signed ids look like `msg_2xK...`.
USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
EVENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 :._-]{0,99}")
PUSHES_LIMIT = 1_000  # refs of one delivery, all in one transaction; Bitbucket Server sends the most
PROBLEMS_SHOWN = 5

ZEROS = re.compile(r"0{40}|0{64}")


class Kind(StrEnum):
    """What a delivery is about."""

    PUSH = "push"
    PING = "ping"
    OTHER = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One webhook request: headers by lower-case name, the body as received."""

    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value, "" when it was not sent."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a signature is checked with: several secrets while one is being changed; `now` in seconds."""

    secrets: tuple[str, ...]
    sha1_allowed: bool
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a verified delivery says. `urls` and `path` name the repository in any of the forge's ways."""

    kind: Kind
    event: str
    delivery_id: str | None
    pushes: tuple[Push, ...] = ()
    urls: tuple[str, ...] = ()
    path: str | None = None  # `project/slug`, where a payload has no URL at all


class ForgeRules(Protocol):
    """One forge."""

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text, once the signature over it was found right; raises BadSignature or DeliveryError."""
        ...

    def message(self, request: Request, text: bytes) -> Message:
        """What the JSON text says; raises DeliveryError."""
        ...


class Payload(BaseModel):
    """A part of somebody else's payload: the fields that are used, each of exactly its type; others are not looked at."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def _ref(text: str) -> str:
    if not is_ref_name(text):
        raise PydanticCustomError("ref", "is not the name of a ref")
    return text


def _revision(text: Revision | None) -> Revision | None:
    """None for null and for zeros, which both mean that there is (or was) no such ref."""
    if text is None or ZEROS.fullmatch(text):
        return None
    lower = text.lower()
    if not is_revision(lower):
        raise PydanticCustomError("revision", "is not a whole commit id")
    return Revision(lower)


Ref = Annotated[str, AfterValidator(_ref)]
Id = Annotated[Revision | None, AfterValidator(_revision)]

Part = TypeVar("Part", bound=Payload)


def read(model: type[Part], text: bytes) -> Part:
    """The JSON text as this model; raises DeliveryError, which repeats nothing of the text."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [
            Problem(message=each["msg"], path=".".join(map(str, each["loc"])) or None)
            for each in details[:PROBLEMS_SHOWN]
        ]
        raise DeliveryError(
            "the body is not what this forge sends", hint="see docs/webhooks.md", problems=problems
        ) from error


def one_a_ref(pushes: Iterable[Push]) -> tuple[Push, ...]:
    """One push a ref: one named twice went from the first `before` to the last `after`."""
    found: dict[str, Push] = {}
    for push in pushes:
        first = found.get(push.ref, push)
        found[push.ref] = replace(push, before=first.before)
    if len(found) > PUSHES_LIMIT:
        raise DeliveryError(f"{len(found)} refs in one delivery", hint=f"at most {PUSHES_LIMIT} are read")
    return tuple(found.values())


def usable_id(text: str) -> str | None:
    """A delivery's id, when it can be one: it becomes part of keys and pages."""
    return text if USABLE_ID.fullmatch(text) else None


def event_of(request: Request, header: str, *, forge: str) -> str:
    """The event by this forge's own header; raises DeliveryError without it."""
    event = request.header(header)
    if not EVENT.fullmatch(event):
        raise DeliveryError(
            f"the delivery has no usable header {header}",
            hint=f"the repository is configured as one of {forge}; see webhook.forge in towline.yaml",
        )
    return event


def named(*urls: str | None) -> tuple[str, ...]:
    """The URLs that a payload has."""
    return tuple(url for url in urls if url)


def is_form(request: Request) -> bool:
    """Whether the body is a form rather than JSON."""
    return media_type(request) == "application/x-www-form-urlencoded"


def form_payload(body: bytes) -> bytes:
    """The JSON text in the one field `payload` of a form; raises DeliveryError."""
    try:
        fields = parse_qsl(body, strict_parsing=True, keep_blank_values=True, max_num_fields=1)
    except ValueError as error:
        raise _not_json("the form cannot be read") from error
    if len(fields) != 1 or fields[0][0] != b"payload":
        raise _not_json("the form has no field `payload`")
    return fields[0][1]


def json_body(request: Request) -> bytes:
    """The body, which must say that it is JSON; raises DeliveryError."""
    if media_type(request) != "application/json":
        raise _not_json("the body is not of the type application/json")
    return request.body


def media_type(request: Request) -> str:
    """The media type without its parameters."""
    return request.header("content-type").partition(";")[0].strip().lower()


def _not_json(message: str) -> DeliveryError:
    return DeliveryError(message, hint="choose application/json as content type of the webhook")
