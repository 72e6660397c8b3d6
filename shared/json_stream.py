"""A stream of JSON objects as Kubernetes reads it: one after the other, with nothing between them.

JSON is not quite a part of YAML 1.1: characters above U+FFFF are two escapes, and tabs indent. What is not plain JSON
(or JSON with a key twice, or nested too deep) is left to the YAML loader, which says why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from towline.shared.scalars import seen_by_json


class TooManyValues(Exception):
    """More values than may be read; not left to the YAML loader, which would take much longer to say the same."""


def read_json(text: str, *, depth: int, nodes: int) -> list[tuple[int, Any]] | None:
    """Each object with the line it starts on (from 1); None for what is not plain JSON. Raises TooManyValues."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_float=lambda digits: seen_by_json(float(digits)),
        parse_int=lambda digits: seen_by_json(int(digits)),
        parse_constant=lambda name: seen_by_json(float(name)),
    )
    found: list[tuple[int, Any]] = []
    try:
        position = _after_space(text, 0)
        while position < len(text):
            value, end = decoder.raw_decode(text, position)
            nodes -= _count(value, levels=depth)
            if nodes < 0:
                raise TooManyValues
            found.append((text.count("\n", 0, position) + 1, value))
            position = _after_space(text, end)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # half of a pair of escapes fails
    except (ValueError, RecursionError):
        return None
    return found


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key twice")
    return result


def _count(value: Any, *, levels: int) -> int:  # noqa: ANN401 - whatever the file holds
    """How many values and keys are in it; ValueError when it is nested more than so many levels deep."""
    if isinstance(value, dict):
        inner = len(value)
        items: Sequence[Any] = list(value.values())
    elif isinstance(value, list):
        inner, items = 0, value
    else:
        return 1
    if levels == 0:
        raise ValueError("too deep")
    return 1 + inner + sum(_count(item, levels=levels - 1) for item in items)
