"""The single values that `towline.yaml` and `.towline.yaml` are made of: the form of each, and its words for people."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from towline.shared.prune_limit import ALLOWED as PRUNE_ALLOWED
from towline.shared.prune_limit import PruneLimit, parse_prune_limit
from towline.shared.validation import ALLOWED

BRANCH = "{branch}"  # in a namespace: makes the environment a template
LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):([0-9]{1,5})")
LISTEN_ALLOWED = "host:port, such as 127.0.0.1:8080"


class Part(BaseModel):
    """A mapping of a file: strict, and nothing but the keys that are named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def _shape(pattern: str, words: str, *, longest: int) -> Any:  # noqa: ANN401 - as pydantic types its Field
    return Field(pattern=pattern, min_length=1, max_length=longest, json_schema_extra={ALLOWED: words})


Text = Annotated[str, Field(min_length=1, max_length=2048)]
Label = Annotated[
    str,
    _shape(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lower-case letters, digits and `-`, at most 63 characters",
        longest=63,
    ),
]
Kind = Annotated[
    str,
    _shape(
        r"^[A-Z][A-Za-z0-9]*(\.[a-z0-9][-a-z0-9.]*)?$",
        "Kind or Kind.group, such as Deployment or Database.db.example.com",
        longest=253,
    ),
]
Namespace = Annotated[
    str,
    _shape(
        r"^[-a-z0-9]*(\{branch\})?[-a-z0-9]*$",
        "lower-case letters, digits and `-`, with {branch} once in a template",
        longest=63,
    ),
]
RepositoryName = Annotated[
    str,
    _shape(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "letters, digits, `.`, `_` and `-`, at most 63 characters",
        longest=63,
    ),
]
Variable = Annotated[str, _shape(r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and `_`", longest=255)]
RedisUrl = Annotated[
    str, _shape(r"^(rediss?|unix)://", "redis://host:port/db, rediss://... or unix:///path", longest=2048)
]
PublicUrl = Annotated[str, _shape(r"^https?://[^/@\s]+", "https://host", longest=2048)]
RateLimit = Annotated[
    str,
    _shape(
        r"^[1-9][0-9]{0,6}/(second|minute|hour)$",
        "a number a second, minute or hour, such as 600/minute",
        longest=20,
    ),
]


def _one_or_more(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


OneOrMoreNames = Annotated[
    tuple[Label, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]


def _listen(value: Any) -> tuple[str, int]:  # noqa: ANN401 - whatever stands in the file
    match = LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > 65535:
        raise PydanticCustomError("listen", "is not an address", {"allowed": LISTEN_ALLOWED})
    return match[1].strip("[]"), int(match[2])


Listen = Annotated[
    tuple[str, int], PlainValidator(_listen), WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]{1,5}$"})
]


def _prune_limit(value: Any) -> PruneLimit:  # noqa: ANN401 - whatever stands in the file
    limit = parse_prune_limit(value)
    if limit is None:
        raise PydanticCustomError("prune_limit", "is not a limit", {"allowed": PRUNE_ALLOWED})
    return limit


MaxPrune = Annotated[
    PruneLimit,
    PlainValidator(_prune_limit),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"}]}
    ),
]
