"""Files as Kubernetes reads them: documents, lines, what is refused, and the way back to text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.shared.documents import Limits, dump, load_documents
from towline.shared.errors import ConfigError, Problem

TABLE = json.loads((Path(__file__).parents[2] / "data" / "yaml_documents.json").read_text(encoding="utf-8"))

# kubectl reads these in another way, on purpose or because libyaml is not goyaml: (text, why)
STRICTER = {
    "a: {x: 1, x: 2}": "a key twice",
    "true: 1\nTrue: 2": "a key twice",
    "1: a\n'1': b": "a key twice",
    "a: b\n...\nc: d\n": "kubectl reads the first document only and drops the second in silence",
}
AS_JSON = {
    '{"a": "\\ud83d\\ude00"}': {"a": "\U0001f600"},
    '{"a": "\\/"}': {"a": "/"},
    '\t{"a": 1}': {"a": 1},
    "%YAML 1.2\n---\na: 1": {"a": 1},
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda x: not (math.isfinite(x) and x.is_integer())
    )
    | st.text(st.characters(codec="utf-8"))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=20), inner, max_size=4)
    ),
    max_leaves=20,
)


def load(text: str, **limits: int) -> list[Any]:
    return [d.value for d in load_documents(text.encode(), file="f.yaml", limits=Limits(**limits))]


def problems(text: str | bytes) -> tuple[Problem, ...]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        load_documents(data, file="f.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    "row", [r for r in TABLE["rows"] if r["text"] not in {**STRICTER, **AS_JSON}], ids=lambda r: r["text"]
)
def test_a_document_is_read_as_kubernetes_reads_it(row: dict[str, Any]) -> None:
    if "error" in row:
        assert problems(row["text"])
        return

    found = load(row["text"])

    assert (found or [None]) == [row["value"]]


@pytest.mark.parametrize("text", STRICTER)
def test_what_kubectl_takes_in_silence_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize("text", AS_JSON)
def test_json_is_read_as_json(text: str) -> None:
    assert load(text) == [AS_JSON[text]]


def test_documents_keep_their_place_in_the_file() -> None:
    text = "# licence\n---\na: 1\n---\n# nothing\n---\n\nb:\n  c: [1, 2]\n"

    documents = load_documents(text.encode(), file="f.yaml")

    assert [(d.value, d.line, d.index) for d in documents] == [({"a": 1}, 3, 0), ({"b": {"c": [1, 2]}}, 8, 2)]


def test_a_place_inside_has_its_line() -> None:
    text = "---\nx: 1\n---\nspec:\n  list:\n    - a\n    - name: b\n      port: 80\n  8080: y\n"
    document = load_documents(text.encode(), file="f.yaml")[1]

    paths: list[list[str | int]] = [
        ["spec"],
        ["spec", "list", 1, "port"],
        ["spec", "8080"],
        ["spec", "list", 0],
    ]

    assert [document.line_of(path) for path in paths] == [4, 8, 9, 6]


def test_an_unknown_place_has_the_line_of_its_nearest_parent() -> None:
    (document,) = load_documents(b"spec:\n  list:\n    - a\n", file="f.yaml")

    assert document.line_of(["spec", "list", 7, "x"]) == 2
    assert document.line_of(["nothing"]) == 1


def test_json_has_lines_too() -> None:
    documents = load_documents(b'{"a": {\n "b": 1}}\n\n{"c": 2}', file="f.json")

    assert [d.line for d in documents] == [1, 4]
    assert documents[0].line_of(["a", "b"]) == 2


def test_json_objects_may_follow_each_other() -> None:
    assert load('{"a": 1}{"b": 2}\n {"c": 3}\n') == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_key_twice_names_both_lines() -> None:
    (problem,) = problems("a:\n  b: 1\n  c: 2\n  b: 3\n")

    assert (problem.line, problem.path) == (4, "a.b")
    assert "lines 2 and 4" in problem.message


def test_a_key_twice_in_json_is_refused_too() -> None:
    (problem,) = problems('{"a": 1,\n "a": 2}')

    assert "lines 1 and 2" in problem.message


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = problems("a: 1\na: 2\nb: .inf\n---\n~: x\nc: !!int x\n")

    assert [p.line for p in found] == [2, 3, 5, 6]


def test_only_so_many_problems_are_listed() -> None:
    found = problems("\n".join("a: 1" for _ in range(1000)))

    assert len(found) == 20


def test_syntax_errors_have_a_line_and_say_where_it_began() -> None:
    (problem,) = problems("a:\n  - b\n  c: d\n")

    assert problem.line == 3
    assert problem.file == "f.yaml"


def test_a_template_is_recognised() -> None:
    with pytest.raises(ConfigError) as caught:
        load_documents(b"{{- if .Values.x }}\na: 1\n{{- end }}\n", file="f.yaml")

    assert "template" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: \xff", "not UTF-8"),
        ("a: 1".encode("utf-16"), "not UTF-8"),
        (b'a: "\x01"', "control characters"),
        (b"a\x00b", "control characters"),
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, message: str) -> None:
    (problem,) = problems(data)

    assert message in problem.message


def test_the_line_of_a_bad_byte_is_named() -> None:
    assert problems(b"a: 1\nb: \xff")[0].line == 2
    assert problems(b"a: 1\nb: \x01")[0].line == 2


def test_merges_follow_the_order_of_the_file() -> None:
    text = "x: &x {a: 1, b: 1}\nlast:\n  b: 2\n  <<: *x\nfirst:\n  <<: *x\n  b: 2\n"

    (value,) = load(text)

    assert (value["last"], value["first"]) == ({"b": 1, "a": 1}, {"a": 1, "b": 2})


def test_an_alias_is_a_copy_of_its_own() -> None:
    (value,) = load("a: &a {b: [1]}\nc: *a\nd: *a\n")

    value["c"]["b"].append(2)

    assert value["a"] == value["d"] == {"b": [1]}


def test_an_anchor_may_be_used_again_for_something_else() -> None:
    assert load("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == [{"a": 1, "b": 1, "c": 2, "d": 2}]


def test_anchors_end_with_their_document() -> None:
    (problem,) = problems("a: &x 1\n---\nb: *x\n")

    assert (problem.line, "not known" in problem.message) == (3, True)


def test_an_empty_file_has_no_documents() -> None:
    assert load("") == load("# nothing\n") == load("---\n---\nnull\n") == []


def test_plain_text_is_written_so_that_people_can_read_it() -> None:
    value = {
        "kind": "ConfigMap",
        "data": {"n": "no", "v": "1.20", "text": "a\nb\n", "time": "12:30", "eq": "="},
    }

    text = dump(value)

    assert text.startswith("kind: ConfigMap\ndata:\n")
    assert "'no'" in text and "'1.20'" in text and "&" not in text


@given(values)
def test_what_is_written_is_read_again(value: Any) -> None:
    documents = load_documents(dump(value).encode(), file="f.yaml")

    assert [d.value for d in documents] == ([value] if value is not None else [])


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=10), values, max_size=4))
def test_json_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    documents = load_documents(json.dumps(value).encode(), file="f.json")

    assert [d.value for d in documents] == [value]


@given(st.binary(max_size=200) | st.text("ab:-[]{}&*!|>'\"%@\n\t #?,<0.\\", max_size=60).map(str.encode))
def test_whatever_comes_in_is_read_or_refused(data: bytes) -> None:
    try:
        documents = load_documents(data, file="f.yaml")
    except ConfigError as error:
        assert error.problems
        return

    for document in documents:
        json.dumps(document.value, allow_nan=False)


def test_every_file_of_the_real_applications_is_read_or_named(corpus: Path) -> None:
    files = [
        p for p in (corpus / "apps").rglob("*") if p.suffix in (".yaml", ".yml", ".json") and p.is_file()
    ]
    refused = {}
    for path in files:
        try:
            load_documents(path.read_bytes(), file=path.name)
        except ConfigError as error:
            refused[path.relative_to(corpus / "apps").as_posix()] = error

    assert len(files) > 300
    assert all("/templates/" in f"/{name}" for name in refused), refused.keys()
    assert all(error.problems[0].line and "template" in error.hint for error in refused.values())
