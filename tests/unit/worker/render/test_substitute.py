from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.worker.render.substitute import substituted

VALUES = {
    "REPLICAS": "3",
    "TAG": "1.10",
    "ON": "true",
    "HOST": "example.com",
    "REPLICAS_MAX": "5",
    "EMPTY": "",
}


def of(value: Any, field: str = "x") -> Any:
    return substituted({field: value}, VALUES)[field]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${REPLICAS}", 3),
        ("${ON}", True),
        ("${HOST}", "example.com"),
        ("${EMPTY}", ""),
        ("nginx:${TAG}", "nginx:1.10"),
        ("${REPLICAS}${REPLICAS_MAX}", "35"),
        ("$${REPLICAS}", "${REPLICAS}"),
        ("a $${REPLICAS} b ${REPLICAS}", "a ${REPLICAS} b 3"),
        ("${OTHER}", "${OTHER}"),
        ("$${OTHER}", "$${OTHER}"),
        ("$REPLICAS", "$REPLICAS"),
        ("${REPLICAS:-1}", "${REPLICAS:-1}"),
        ("${ REPLICAS }", "${ REPLICAS }"),
        ("$(REPLICAS)", "$(REPLICAS)"),
    ],
)
def test_only_listed_names_are_replaced(text: str, expected: Any) -> None:
    assert of(text) == expected
    assert type(of(text)) is type(expected)


@pytest.mark.parametrize(
    "field", ["labels", "annotations", "data", "stringData", "args", "value", "name", "matchLabels"]
)
def test_where_kubernetes_takes_only_text_a_number_stays_text(field: str) -> None:
    assert of({"a": "${REPLICAS}"}, field) == {"a": "3"}
    assert of(["${REPLICAS}"], field) == ["3"]


def test_objects_are_not_changed_in_place() -> None:
    # given
    value: dict[str, Any] = {"spec": {"replicas": "${REPLICAS}", "list": ["${TAG}"]}}
    # when
    new = substituted(value, VALUES)
    # then
    assert new == {"spec": {"replicas": 3, "list": [1.1]}}
    assert value == {"spec": {"replicas": "${REPLICAS}", "list": ["${TAG}"]}}


def test_keys_are_left_as_they_are() -> None:
    assert substituted({"${HOST}": "x"}, VALUES) == {"${HOST}": "x"}


def test_a_value_is_put_in_once() -> None:
    assert substituted({"x": "a${A}"}, {"A": "${B}", "B": "b"}) == {"x": "a${B}"}


def test_a_value_cannot_bring_in_more_than_a_scalar() -> None:
    assert substituted({"x": "${A}"}, {"A": "{a: b}"}) == {"x": "{a: b}"}
    assert substituted({"x": "${A}"}, {"A": "a: b\nc: d"}) == {"x": "a: b\nc: d"}


scalars = st.none() | st.booleans() | st.integers() | st.text()
trees = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.dictionaries(st.text(), trees))
def test_without_values_nothing_changes(value: dict[str, Any]) -> None:
    assert substituted(value, {}) == value
    assert substituted(value, {"A_NAME_THAT_IS_NOT_THERE": "x"}) == value
