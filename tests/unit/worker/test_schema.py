"""A custom resource judged by a schema that no API server serves yet."""

from __future__ import annotations

from typing import Any

import pytest

from towline.shared.model import Object
from towline.worker.schema import schema_of, schema_problems

TEXT = {"type": "string"}
SPEC = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {**TEXT, "minLength": 2, "maxLength": 5},
        "mode": {**TEXT, "enum": ["fast", "slow"], "default": "fast"},
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number"},
        "on": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": True},
        "list": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {"a": TEXT}}},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "any": {"type": "object", "additionalProperties": True},
        "pod": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"spec": {"type": "object"}},
        },
        "maybe": {**TEXT, "nullable": True},
    },
}
SCHEMA = {"type": "object", "required": ["spec", "kind"], "properties": {"spec": SPEC}}


def problems(**spec: Any) -> list[tuple[str | None, str]]:
    object = {"apiVersion": "example.com/v1", "kind": "Backup", "metadata": {"name": "x"}, "spec": spec}
    return [(one.path, one.message) for one in schema_problems(object, SCHEMA)]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"mode": "slow", "size": 9, "share": 0.5, "on": True},
        {"size": 3.0},
        {"share": 2},
        {"port": 80},
        {"port": "http"},
        {"list": [{"a": "x"}, {}]},
        {"labels": {"a": "b"}},
        {"open": {"a": {"b": 1}}},
        {"any": {"a": 1}},
        {"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"x": 1}, "spec": {}}},
        {"maybe": None},
        {"mode": None},
    ],
    ids=str,
)
def test_what_the_schema_allows_has_no_problem(spec: dict[str, Any]) -> None:
    assert problems(name="abc", **spec) == []


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({"name": 5}, "spec.name", "must be of type string, not integer"),
        ({"name": "a"}, "spec.name", "below minLength 2"),
        ({"name": "abcdef"}, "spec.name", "above maxLength 5"),
        ({"name": "abc", "mode": "other"}, "spec.mode", "one of fast, slow"),
        ({"name": "abc", "size": 0}, "spec.size", "below minimum 1"),
        ({"name": "abc", "size": 2.5}, "spec.size", "type integer"),
        ({"name": "abc", "size": True}, "spec.size", "type integer, not boolean"),
        ({"name": "abc", "on": "yes"}, "spec.on", "type boolean, not string"),
        ({"name": "abc", "port": 1.5}, "spec.port", "integer or string"),
        ({"name": "abc", "list": {}}, "spec.list", "type array, not object"),
        ({"name": "abc", "list": [{}, {}, {}]}, "spec.list", "above maxItems 2"),
        ({"name": "abc", "list": [{"b": "x"}]}, "spec.list[0].b", "not declared"),
        ({"name": "abc", "labels": {"a": 1}}, "spec.labels.a", "type string"),
        ({"name": "abc", "nmae": "abc"}, "spec.nmae", "not declared"),
        ({}, "spec.name", "required"),
    ],
    ids=str,
)
def test_what_the_schema_refuses_is_named_with_its_path(spec: dict[str, Any], path: str, said: str) -> None:
    ((where, message),) = problems(**spec)

    assert where == path
    assert said in message


def test_a_missing_spec_is_named_and_the_kind_is_implied() -> None:
    (problem,) = schema_problems({"apiVersion": "example.com/v1", "kind": "Backup"}, SCHEMA)

    assert problem.path == "spec"


def test_a_schema_without_end_ends() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"a": schema}
    object: dict[str, Any] = {}
    object["a"] = {"a": object}

    assert list(schema_problems(object, schema)) == []


def crd(group: str = "example.com", kind: str = "Backup", version: str = "v1") -> Object:
    versions = [{"name": version, "schema": {"openAPIV3Schema": {"type": "object"}}}]
    return {"spec": {"group": group, "names": {"kind": kind}, "versions": versions}}


def test_the_schema_is_that_of_group_kind_and_version() -> None:
    object = {"apiVersion": "example.com/v1", "kind": "Backup"}

    assert schema_of(object, [crd(group="example.org"), crd(kind="Restore"), crd()]) == {"type": "object"}
    assert schema_of(object, [crd(version="v2")]) is None
    assert schema_of(object, [{"spec": {"versions": "x"}}, {}, crd(kind="Restore")]) is None
