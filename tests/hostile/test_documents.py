"""YAML and JSON made to hurt: each is refused in time, with its file and line, and the process goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from towline.shared.documents import DEFAULT, Limits, load_documents
from towline.shared.errors import ConfigError, Problem
from towline.shared.team_config import parse_team_config

SECONDS = 5.0  # for the largest file that is read at all, on a slow and busy machine


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


def refusal(data: bytes, limits: Limits = DEFAULT) -> Problem:
    with in_time(), pytest.raises(ConfigError) as caught:
        load_documents(data, file="bad.yaml", limits=limits)
    assert caught.value.problems[0].file == "bad.yaml"
    return caught.value.problems[0]


def bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"[a, ", b'{"a":'], ids=repr)
def test_deep_nesting_is_refused_before_the_c_stack_ends(opening: bytes) -> None:
    assert "nested more than 100 levels" in refusal(opening * 100_000).message


def test_nested_keys_are_refused_at_once() -> None:
    assert "as a key" in refusal(b"? " * 100_000).message


def test_deep_json_is_refused() -> None:
    assert "nested more than 100 levels" in refusal(b'{"a":' * 100_000 + b"1" + b"}" * 100_000).message


@pytest.mark.parametrize(("depth", "fits"), [(99, True), (100, True), (101, False)])
def test_nesting_is_counted_exactly(depth: int, fits: bool) -> None:
    data = b"[" * depth + b"]" * depth

    if fits:
        assert len(load_documents(data, file="f.yaml")) == 1
    else:
        assert "more than 100 levels" in refusal(data).message


@pytest.mark.parametrize(("depth", "fits"), [(99, True), (100, True), (101, False)])
def test_nesting_of_json_is_counted_the_same(depth: int, fits: bool) -> None:
    data = b'{"a":' * depth + b"1" + b"}" * depth

    if fits:
        assert len(load_documents(data, file="f.json")) == 1
    else:
        assert "more than 100 levels" in refusal(data).message


def test_an_alias_bomb_is_refused_before_it_is_expanded() -> None:
    assert "once aliases are expanded" in refusal(bomb(12)).message


def test_an_alias_bomb_by_merge_keys_is_refused() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 100)}]}}" for n in range(1, 40)]

    assert "once aliases are expanded" in refusal("\n".join(lines).encode()).message


def test_a_few_aliases_are_fine() -> None:
    (document,) = load_documents(bomb(3), file="f.yaml")

    assert len(document.value["a2"]) == 10


def test_nesting_by_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 100))]

    assert "by aliases" in refusal("\n".join(lines).encode()).message


@pytest.mark.parametrize("data", [b"a: &a [*a]", b"a: &a {b: *a}", b"a: &a {<<: *a}", b"&a [[*a]]"])
def test_a_value_that_contains_itself_is_refused(data: bytes) -> None:
    assert "contains itself" in refusal(data).message


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_the_size_is_counted_exactly(size: int, fits: bool) -> None:
    data = b"a: " + b"x" * (size - 3)
    limits = Limits(size_bytes=100)

    if fits:
        assert len(load_documents(data, file="f.yaml", limits=limits)) == 1
    else:
        assert "limit of 100" in refusal(data, limits).message


@pytest.mark.parametrize(("items", "fits"), [(98, True), (99, True), (100, False)])
@pytest.mark.parametrize("form", ["[{}]", '{{"a": [{}]}}'], ids=["yaml", "json"])
def test_values_are_counted_exactly(items: int, fits: bool, form: str) -> None:
    data = form.format(",".join("1" * 1 for _ in range(items))).encode()
    limits = Limits(nodes=100 if form.startswith("[") else 102)

    if fits:
        assert len(load_documents(data, file="f", limits=limits)) == 1
    else:
        assert "more than" in refusal(data, limits).message


@pytest.mark.parametrize(
    "data",
    [
        b"a: 1\n" * 400_000,
        b"{" + b",".join(b'"k%d":1' % n for n in range(600_000)) + b"}",
        b"[" + b"1," * 2_000_000 + b"]",
        b"---\n" * 1_000_000 + b"a: {",
        b'a: "' + b"\\x41" * 1_000_000,
        b"- " * 1_000_000,
        b"&a " * 1_000_000,
        b"*a " * 1_000_000,
        b"%" * 1_000_000,
        b"a: |\n" + b" " * 5_000_000 + b"\n\tx: [",
        b"{a: " * 150 + b"x" * 1_000_000,
        b": " * 500_000,
        b"'" * 1_000_001,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_large_nonsense_is_refused_in_time(data: bytes) -> None:
    refusal(data)


def test_a_long_tag_of_nothing_is_nothing() -> None:
    with in_time():
        assert [d.value for d in load_documents(b"!" * 1_000_000, file="f.yaml")] == [""]


def test_a_large_honest_file_is_read_in_time() -> None:
    one = (
        b"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n"
        + b"  key: some text that is usual\n"
    )
    data = one * 20_000

    with in_time(10):
        assert len(load_documents(data, file="f.yaml")) == 20_000


def test_tags_make_nothing() -> None:
    (document,) = load_documents(
        b"a: !!python/object/apply:os.system [echo]\nb: !!python/name:os.system x", file="f"
    )

    assert document.value == {"a": ["echo"], "b": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"services:\n"
        + b"".join(b"  s%d: {path: p, depends_on: [s%d]}\n" % (n, n + 1) for n in range(10_000)),
        b"services:\n"
        + b"".join(b"  s%d: {path: p, depends_on: [s%d]}\n" % (n, n ^ 1) for n in range(10_000)),
        b"services:\n" + b"".join(b"  s%d: {pth: p, depends_on: [t%d]}\n" % (n, n) for n in range(8_000)),
        b"services:\n" + b"".join(b"  S_%d: 1\n" % n for n in range(30_000)),
        b"services: {a: {path: p, ignore_drift: [" + b'"/~", ' * 30_000 + b"]}}",
    ],
    ids=["chain", "circles", "typos", "names", "pointers"],
)
def test_a_team_file_full_of_faults_is_refused_in_time(data: bytes) -> None:
    with in_time(), pytest.raises(ConfigError) as caught:
        parse_team_config(data)

    assert 0 < len(caught.value.problems) <= 100
