"""Judges a custom resource by the schema of a CustomResourceDefinition that is not in the cluster yet: pure.

In: an object and the CRDs of the same set. Out: what would be refused, as far as can be said without an API server:
types, fields that are not declared (an apply refuses them), required fields, enums, bounds. Rules in CEL, patterns and
formats are left to the API server, which judges the object when its kind is served. No state.

Structural schemas: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from towline.shared.errors import Problem
from towline.shared.model import Object
from towline.shared.objects import group_of
from towline.worker.fields import mapping, mappings, texts

DEPTH = 100  # a schema cannot refer to itself, but a hostile one can be deep
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
IMPLIED = frozenset({"apiVersion", "kind", "metadata"})  # every object has them, whatever its schema says


def schema_of(object: Object, crds: Iterable[Object]) -> Mapping[str, Any] | None:
    """The schema of an object's kind and version in one of these CRDs; None where none of them has one."""
    group, _, version = str(object.get("apiVersion")).rpartition("/")
    for crd in crds:
        spec = mapping(crd.get("spec"))
        if (spec.get("group"), mapping(spec.get("names")).get("kind")) != (group, object.get("kind")):
            continue
        for one in mappings(spec.get("versions")):
            if one.get("name") == version:
                return mapping(mapping(one.get("schema")).get("openAPIV3Schema"))
    return None


def defined_kind(crd: Object) -> tuple[str, str]:
    """Group and kind that a CRD defines."""
    spec = mapping(crd.get("spec"))
    return str(spec.get("group")), str(mapping(spec.get("names")).get("kind"))


def kind_of(object: Object) -> tuple[str, str]:
    """Group and kind of an object."""
    return group_of(str(object.get("apiVersion"))), str(object.get("kind"))


def schema_problems(object: Object, schema: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that the schema refuses about an object, with the path in it."""
    top = {name: value for name, value in object.items() if name not in IMPLIED}
    relaxed = {**schema, "required": [name for name in texts(schema.get("required")) if name not in IMPLIED]}
    yield from _judge(top, relaxed, path="", depth=0)


def _judge(value: object, schema: Mapping[str, Any], *, path: str, depth: int) -> Iterator[Problem]:
    if depth > DEPTH:
        return
    if value is None:
        if not schema.get("nullable") and not path:
            yield _problem(path, "must not be null")
        return  # elsewhere a null is dropped, or filled by a default
    if not _has_type(value, schema):
        yield _problem(path, f"must be of type {_wanted_type(schema)}, not {_type_name(value)}")
        return
    yield from _bounds(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path=path, depth=depth)
    elif isinstance(value, list):
        items = mapping(schema.get("items"))
        for index, item in enumerate(value):
            yield from _judge(item, items, path=f"{path}[{index}]", depth=depth + 1)


def _object(
    value: Mapping[str, Any], schema: Mapping[str, Any], *, path: str, depth: int
) -> Iterator[Problem]:
    properties = mapping(schema.get("properties"))
    additional = schema.get("additionalProperties")
    is_open = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    for name in texts(schema.get("required")):
        if name not in value and "default" not in mapping(properties.get(name)):
            yield _problem(f"{path}.{name}", "is required")
    for name, inner in value.items():
        if schema.get("x-kubernetes-embedded-resource") and name in IMPLIED:
            continue
        if name in properties:
            yield from _judge(inner, mapping(properties[name]), path=f"{path}.{name}", depth=depth + 1)
        elif isinstance(additional, dict):
            yield from _judge(inner, additional, path=f"{path}.{name}", depth=depth + 1)
        elif not is_open and schema.get("type") == "object":
            yield _problem(f"{path}.{name}", "is not declared in the schema")


def _has_type(value: object, schema: Mapping[str, Any]) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    types = TYPES.get(str(schema.get("type")))
    if types is None:
        return True
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, float) and value.is_integer():
        return int in types
    return isinstance(value, types)


def _wanted_type(schema: Mapping[str, Any]) -> str:
    return "integer or string" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type"))


def _bounds(value: object, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        yield _problem(path, f"must be one of {', '.join(map(str, enum[:20]))}")
    size, low, high = _measure(value)
    if (minimum := _number(schema.get(low))) is not None and size is not None and size < minimum:
        yield _problem(path, f"is below {low} {minimum}")
    if (maximum := _number(schema.get(high))) is not None and size is not None and size > maximum:
        yield _problem(path, f"is above {high} {maximum}")


def _measure(value: object) -> tuple[float | None, str, str]:
    """How large a value is, and which two keywords of a schema bound it."""
    if isinstance(value, str):
        return len(value), "minLength", "maxLength"
    if isinstance(value, list):
        return len(value), "minItems", "maxItems"
    if isinstance(value, dict):
        return len(value), "minProperties", "maxProperties"
    return _number(value), "minimum", "maximum"


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _type_name(value: object) -> str:
    return next((name for name, types in TYPES.items() if type(value) in types), type(value).__name__)


def _problem(path: str, message: str) -> Problem:
    return Problem(message=message, path=path.removeprefix(".") or None)
