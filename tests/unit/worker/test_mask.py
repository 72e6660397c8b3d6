"""What a cluster says is shown without secrets: the service's own values, and what looks like a credential."""

from __future__ import annotations

import base64
import json
import time

import pytest

from towline.shared.model import Object
from towline.worker.mask import Mask


def secret(**values: str) -> Object:
    """A Secret as it is rendered."""
    return {"apiVersion": "v1", "kind": "Secret", "stringData": values}


def stored(**values: str) -> Object:
    """A Secret as it is sent."""
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "data": data}


@pytest.mark.parametrize("make", [secret, stored], ids=["stringData", "data"])
def test_a_value_is_masked_as_it_is_and_in_base64(make: object) -> None:
    mask = Mask([make(password="tr0ub4dor&3")])  # type: ignore[operator]
    assert mask("login with tr0ub4dor&3 failed") == "login with *** failed"
    assert mask("data: dHIwdWI0ZG9yJjM=") == "data: ***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("first line\nsecond line", "second line", id="a line"),
        pytest.param("USER=cart\nDB_URL=db.internal/cart", "db.internal/cart", id="what a line assigns"),
        pytest.param("user: cart\npin: '482913'", "482913", id="what YAML assigns"),
        pytest.param(
            json.dumps({"auths": {"r.io": {"auth": "Y2FydDpwdw"}}}), "Y2FydDpwdw", id="a leaf of JSON"
        ),
        pytest.param('a "quoted" one', 'a \\"quoted\\" one', id="as JSON writes it"),
        pytest.param("four", "four", id="four characters"),
    ],
)
def test_parts_of_a_value_that_programs_print_alone_are_masked(value: str, shown: str) -> None:
    assert Mask([secret(file=value)])(f"<{shown}>") == "<***>"


def test_a_value_that_holds_another_leaves_nothing_of_itself() -> None:
    mask = Mask([secret(short="abcd", long="xxabcdyy")])
    assert mask("xxabcdyy") == "***"


def test_a_short_value_and_what_is_no_secret_stay() -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"mode": "quiet"}}
    assert Mask([secret(n="no"), settings])("no quiet place") == "no quiet place"


def test_half_of_a_value_is_masked_where_a_text_was_cut() -> None:
    mask = Mask([secret(password="correct-horse-battery")])
    assert mask("with correct-ho…") == "with ***…"
    assert mask("is correct…") == "is ***…"
    assert mask("as correct-ho was") == "as correct-ho was"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET https://bob:pw@host/path", "GET https://***@host/path"),
        ("DB_PASSWORD=hunter2 is wrong", "DB_PASSWORD=*** is wrong"),
        ('{"api_key": "k-123", "user": "bob"}', '{"api_key": ***, "user": "bob"}'),
        ("Authorization: Bearer abc.def-123456", "Authorization: ***"),
        ("sent Bearer abcdef123456", "sent Bearer ***"),
        ("got eyJhbGciOi.eyJzdWIi.c2ln of bob", "got *** of bob"),
        ("clone with ghp_0123456789abcdefghij", "clone with ***"),
        ("glpat-0123456789abcdefghij", "***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, masked: str) -> None:
    assert Mask()(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        'secret "db" not found',
        "couldn't find key password in Secret shop/db",
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector",
        "ended 3 times, at last with exit code 1, Error: unexpected token at line 3",
    ],
)
def test_what_an_operator_has_to_read_stays(text: str) -> None:
    assert Mask()(text) == text


@pytest.mark.parametrize("text", ["password" * 250, "a" * 2000, "token=" * 300, "eyJ" * 600, "://" * 600])
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    Mask([secret(many="\n".join(f"value-{number}" for number in range(2000)))])(text + "…")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("values", [None, [], "x", {"a": None}, {"a": 12345}, {"a": {"b": "c"}}])
def test_an_odd_secret_is_none(values: object) -> None:
    odd = {"apiVersion": "v1", "kind": "Secret", "data": values, "stringData": values}
    assert Mask([odd])("all is well") == "all is well"
