"""Scalars against the table that the real loader wrote (tests/data/scalars.json names it)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from towline.shared.documents import dump, load_documents
from towline.shared.errors import ConfigError
from towline.shared.scalars import INT64_MAX, Unreadable, key_of, resolve, resolve_tagged, seen_by_json

TABLE = json.loads((Path(__file__).parents[2] / "data" / "scalars.json").read_text(encoding="utf-8"))
NAMES = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}


def described(value: Any) -> tuple[str, str | None]:
    """Type and text of a value as the table has them."""
    name = NAMES[type(value)]
    text = {"null": None, "bool": str(value).lower(), "float": repr(value)}.get(name, str(value))
    return name, text


def read(text: str) -> tuple[str, Any]:
    try:
        documents = load_documents(f"v: {text}\n".encode(), file="f.yaml")
    except ConfigError:
        return "error", None
    return described(documents[0].value["v"])


def key(text: str) -> str | None:
    try:
        documents = load_documents(f"? {text}\n: v\n".encode(), file="f.yaml")
    except ConfigError:
        return None
    return next(iter(documents[0].value), None) if isinstance(documents[0].value, dict) else None


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(TABLE["rows"]) > 1500


def test_every_scalar_is_read_as_kubernetes_reads_it() -> None:
    different = [
        (text, kind, value, read(text))
        for text, kind, value, _ in TABLE["rows"]
        if read(text) != (kind, value)
    ]

    assert different == []


def test_every_key_is_read_as_kubernetes_reads_it() -> None:
    different = [
        (text, expected, key(text)) for text, _, _, expected in TABLE["rows"] if key(text) != expected
    ]

    assert different == []


def test_every_scalar_of_the_table_survives_being_written_as_text() -> None:
    texts = [text for text, *_ in TABLE["rows"]]

    (document,) = load_documents(dump(texts).encode(), file="f.yaml")

    assert document.value == texts


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [
        ("str", "12", "12"),
        ("str", "yes", "yes"),
        ("int", "0x10", 16),
        ("float", "3", 3.0),
        ("bool", "on", True),
        ("null", "~", None),
        ("binary", "aGVsbG8=", "hello"),
        ("timestamp", "2026-11-24", "2026-11-24"),
    ],
)
def test_a_tag_says_how_a_scalar_is_read(tag: str, text: str, value: object) -> None:
    result = resolve_tagged(f"tag:yaml.org,2002:{tag}", text)

    assert (type(result), result) == (type(value), value)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("int", "x"),
        ("int", "1.5"),
        ("int", "yes"),
        ("bool", "1"),
        ("null", "x"),
        ("float", "on"),
        ("binary", "!!"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(tag: str, text: str) -> None:
    with pytest.raises(Unreadable):
        resolve_tagged(f"tag:yaml.org,2002:{tag}", text)


def test_a_tag_of_somebody_else_makes_a_string() -> None:
    assert resolve_tagged("tag:yaml.org,2002:python/object/apply:os.system", "id") == "id"
    assert resolve_tagged("!vault", "12") == "12"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (3.0, 3),
        (-0.0, 0),
        (1e20, 1e20),
        (float(2**62), 4611686018427388000),
        (INT64_MAX, INT64_MAX),
        (1.5, 1.5),
    ],
)
def test_numbers_arrive_as_go_writes_them_to_json(value: float, seen: float) -> None:
    result = seen_by_json(value)

    assert (type(result), result) == (type(seen), seen)


def test_an_integer_above_64_bits_arrives_as_a_float() -> None:
    assert isinstance(seen_by_json(INT64_MAX + 1), float)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_cannot_write_is_refused(value: float) -> None:
    with pytest.raises(Unreadable):
        seen_by_json(value)


@pytest.mark.parametrize("value", [None, INT64_MAX + 1])
def test_keys_that_kubernetes_refuses_are_refused(value: int | None) -> None:
    with pytest.raises(Unreadable):
        key_of(value)


def test_a_number_of_many_digits_costs_no_time() -> None:
    assert resolve("9" * 100_000) == "9" * 100_000
    assert resolve("0x" + "f" * 100_000) == "0x" + "f" * 100_000
