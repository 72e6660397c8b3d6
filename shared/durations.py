"""Lengths of time as people write them (`90s`, `5m`, `1h30m`, `72h`), in whole seconds; pure."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

PATTERN = r"^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$"
DURATION = re.compile(PATTERN)
SECONDS = (86_400, 3_600, 60, 1)
ALLOWED = "a length of time above zero, such as 90s, 5m, 1h30m, 3d"


def parse_seconds(text: str) -> int | None:
    """The seconds of `1h30m`; None for anything else, zero included."""
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    parts = zip(match.groups(), SECONDS, strict=True)
    return sum(int(part[:-1]) * unit for part, unit in parts if part) or None


def _validated(value: Any) -> int:  # noqa: ANN401 - whatever stands in the file
    seconds = parse_seconds(value) if isinstance(value, str) else None
    if seconds is None:
        raise PydanticCustomError("duration", "is not a length of time", {"allowed": ALLOWED})
    return seconds


Seconds = Annotated[
    int,
    PlainValidator(_validated),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "minLength": 2, "examples": ["90s", "5m", "72h"]}),
]
