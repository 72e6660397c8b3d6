"""Server-side apply on plain values: which fields an object sets, whose they are, what an apply makes of both.

A subset of structured-merge-diff without schemas: maps merge, lists of objects with a known key merge by that key, any
other list is one value. Field sets are nested dicts in the form of `fieldsV1`
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

from __future__ import annotations

import json
from typing import Any

Fields = dict[str, Any]

# The keys by which lists of the demo's kinds are merged, after the API's own listMapKeys.
LIST_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "env": (("name",),),
    "volumes": (("name",),),
    "volumeMounts": (("mountPath",),),
    "imagePullSecrets": (("name",),),
    "conditions": (("type",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "ownerReferences": (("uid",),),
}
DEFAULTS = {"protocol": "TCP"}  # what the API fills in where a key is left out

# Set by the server or named by the path: nobody's fields.
UNOWNED = frozenset({"apiVersion", "kind"})
UNOWNED_METADATA = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)


def fields_of(object: dict[str, Any]) -> Fields:
    """The fields that an object sets, as far as they can be owned."""
    owned = {name: value for name, value in object.items() if name not in UNOWNED}
    metadata = {name: v for name, v in (object.get("metadata") or {}).items() if name not in UNOWNED_METADATA}
    owned["metadata"] = metadata
    if not metadata:
        del owned["metadata"]
    return _fields(owned)


def _fields(value: dict[str, Any]) -> Fields:
    return {f"f:{name}": _below(name, item) for name, item in value.items()}


def _below(name: str, value: Any) -> Fields:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict) and value:
        return _fields(value)
    keys = key_names(name, value)
    if keys:
        return {f"k:{item_key(item, keys)}": {".": {}, **_fields(item)} for item in value}
    return {}


def key_names(name: str, value: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - any JSON value
    """The key of a list that merges by key; None for any other value."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return None
    for keys in LIST_KEYS.get(name, ()):
        if all(item.get(keys[0]) is not None for item in value):
            return keys
    return None


def item_key(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    """The key of one item, as `fieldsV1` writes it."""
    return json.dumps({key: item.get(key, DEFAULTS.get(key)) for key in keys}, separators=(",", ":"))


def merge(live: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    """The live object with everything that the applied one sets; neither is changed."""
    merged = dict(live)
    for name, value in applied.items():
        merged[name] = _merged(name, live.get(name), value)
    return merged


def _merged(name: str, live: Any, applied: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(live, dict) and isinstance(applied, dict):
        return merge(live, applied)
    keys = key_names(name, applied)
    if keys and key_names(name, live) == keys:
        found = {item_key(item, keys): item for item in live}
        given = {item_key(item, keys): item for item in applied}
        return [
            merge(found.get(key, {}), given[key]) if key in given else found[key]
            for key in {**found, **given}
        ]
    return applied


def without(value: dict[str, Any], gone: Fields) -> dict[str, Any]:
    """The value without the fields of a set; a map or list that is emptied by it goes too."""
    result: dict[str, Any] = {}
    for name, item in value.items():
        below = gone.get(f"f:{name}")
        if below is None:
            result[name] = item
        elif below:
            kept = _without_below(name, item, below)
            if kept not in ({}, []):
                result[name] = kept
    return result


def _without_below(name: str, value: Any, gone: Fields) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return without(value, gone)
    keys = key_names(name, value)
    if not keys:
        return value
    kept = []
    for item in value:
        below = gone.get(f"k:{item_key(item, keys)}")
        if below is None:
            kept.append(item)
        elif "." not in below:
            kept.append(without(item, below))
    return kept


def minus(left: Fields, right: Fields) -> Fields:
    """The fields of the left set that are not in the right one."""
    result: Fields = {}
    for name, below in left.items():
        if name not in right:
            result[name] = below
        elif below and (rest := minus(below, right[name])):
            result[name] = rest
    return result


def common(left: Fields, right: Fields) -> Fields:
    """The fields that are in both sets."""
    result: Fields = {}
    for name, below in left.items():
        if name in right:
            shared = common(below, right[name])
            if shared or not (below and right[name]):
                result[name] = shared
    return result


def changed(before: dict[str, Any], after: dict[str, Any]) -> Fields:
    """The fields that the second object sets to another value than the first."""
    return _changed(fields_of(after), before, after)


def _changed(fields: Fields, before: Any, after: Any) -> Fields:  # noqa: ANN401 - any JSON value
    result: Fields = {}
    for name, below in fields.items():
        key = name.removeprefix("f:")
        old = before.get(key) if isinstance(before, dict) else None
        new = after.get(key) if isinstance(after, dict) else None
        if old == new:
            continue
        deeper = _changed(below, old, new) if isinstance(new, dict) else {}
        result[name] = deeper or below
    return result


def names_of(fields: Fields, prefix: str = "") -> list[str]:
    """The fields of a set as paths, for messages: `.spec.replicas`."""
    found = []
    for name, below in fields.items():
        if name == ".":
            continue
        path = f"{prefix}[{name[2:]}]" if name.startswith("k:") else f"{prefix}.{name[2:]}"
        found += names_of(below, path) if below else [path]
    return found
