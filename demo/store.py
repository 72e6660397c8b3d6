"""The objects of the demo's cluster: get, list, apply, create, patch, delete, with owned fields and dry runs.

A small subset of what an API server does, held to the same tests as a real one (tests/real/demo). Everything is in
memory and under one lock. Deleting is immediate: there are no finalizers; what an owner leaves behind goes with it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from towline.demo.fields import Fields, changed, common, fields_of, merge, minus, names_of, without
from towline.demo.kinds import BUILT_IN, Kind, causes, defined_by, status_of

Object = dict[str, Any]
Place = tuple[str, str, str, str]  # group, plural, namespace, name


class Refusal(Exception):
    """An answer that is an error, as a `Status`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        problems: list[tuple[str, str]] | None = None,
        *,
        cause: str = "",
    ) -> None:
        super().__init__(message)
        causes = [{"reason": cause, "field": where, "message": what} for where, what in problems or []]
        details = {"causes": causes}
        self.code = code
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about."""

    kind: Kind
    namespace: str
    name: str
    subresource: str = ""

    @property
    def place(self) -> Place:
        """Where the object is kept: versions of one kind share it."""
        return (self.kind.group, self.kind.plural, self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and how."""

    manager: str
    operation: str  # Apply or Update
    dry_run: bool = False
    force: bool = False


@dataclass(slots=True)
class _Kept:
    object: Object
    changed_at: float


@dataclass(slots=True)
class Store:
    """All objects of one cluster."""

    _objects: dict[Place, _Kept] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 0

    def kinds(self) -> list[Kind]:
        """The kinds that are served now."""
        with self._lock:
            definitions = [
                kept.object
                for place, kept in self._objects.items()
                if place[1] == "customresourcedefinitions"
            ]
        return [*BUILT_IN, *(kind for definition in definitions for kind in defined_by(definition))]

    def get(self, target: Target) -> Object:
        """One object; Refusal 404."""
        with self._lock:
            kept = self._objects.get(target.place)
            if kept is None:
                raise _not_found(target)
            return self._shown(kept, target.kind)

    def list(self, target: Target, labels: dict[str, str]) -> Object:
        """All objects of a kind, in a namespace or everywhere, with these labels."""
        with self._lock:
            items = [
                self._shown(kept, target.kind)
                for (group, plural, namespace, _), kept in sorted(self._objects.items())
                if (group, plural) == (target.kind.group, target.kind.plural)
                and target.namespace in ("", namespace)
                and labels.items() <= (kept.object["metadata"].get("labels") or {}).items()
            ]
            return {
                "kind": f"{target.kind.kind}List",
                "apiVersion": target.kind.api_version,
                "metadata": {"resourceVersion": str(self._version)},
                "items": items,
            }

    def apply(self, target: Target, applied: Object, writer: Writer) -> Object:
        """Server-side apply."""
        with self._lock:
            kept = self._objects.get(target.place)
            live = kept.object if kept else _fresh(target, applied)
            mine = fields_of(applied)
            others, conflicts = _others(live, applied, mine, writer)
            if conflicts and not writer.force:
                raise _conflict(conflicts)
            before = _entry(live, writer) or {}
            left = minus(minus(before, mine), _union(others))
            result = merge(without(live, left) if left else live, _settable(applied, target))
            result["metadata"] = {
                **result["metadata"],
                "managedFields": _managed(target, writer, mine, others),
            }
            return self._keep(target, live if kept else None, result, writer)

    def create(self, target: Target, object: Object, writer: Writer) -> Object:
        """POST; Refusal 409 when it exists."""
        with self._lock:
            if target.place in self._objects:
                raise Refusal(409, "AlreadyExists", f'{target.kind.plural} "{target.name}" already exists')
            fresh = merge(_fresh(target, object), _settable(object, target))
            owner = _managed(target, writer, fields_of(object), {})
            fresh["metadata"] = {**fresh["metadata"], "managedFields": owner}
            return self._keep(target, None, fresh, writer)

    def update(self, target: Target, patch: Object, writer: Writer, *, whole: bool) -> Object:
        """PUT (whole) or a JSON merge patch, of the object or of its status."""
        with self._lock:
            live = self.get(target)
            version = (patch.get("metadata") or {}).get("resourceVersion")
            if version and version != live["metadata"]["resourceVersion"]:
                message = f'Operation cannot be fulfilled on {target.kind.plural} "{target.name}": '
                raise Refusal(409, "Conflict", message + "the object has been modified")
            result = _patched(live, patch, target, whole=whole)
            mine = changed(live, result)
            entries = {key: minus(fields, mine) for key, fields in _entries(live).items()}
            own = (writer.manager, "Update", target.subresource)
            entries[own] = _union({own: entries.get(own, {}), ("", "", ""): mine})
            result["metadata"]["managedFields"] = _written(target, entries)
            return self._keep(target, live, result, writer)

    def delete(self, target: Target, options: Object) -> Object:
        """DELETE with its preconditions; what the object owned goes with it."""
        with self._lock:
            live = self.get(target)
            for name, value in (options.get("preconditions") or {}).items():
                if live["metadata"].get(name) != value:
                    raise Refusal(
                        409, "Conflict", f"the {name} in the precondition is not that of the object"
                    )
            del self._objects[target.place]
            self._version += 1
            self._collect(live["metadata"]["uid"])
            if target.kind.kind == "Namespace":
                self._empty(target.name)
            return live

    def _collect(self, owner: str) -> None:
        for place, kept in list(self._objects.items()):
            owners = kept.object["metadata"].get("ownerReferences") or []
            if any(one.get("uid") == owner for one in owners):
                self._objects.pop(place, None)
                self._collect(kept.object["metadata"]["uid"])

    def _empty(self, namespace: str) -> None:
        for place in [place for place in self._objects if place[2] == namespace]:
            del self._objects[place]

    def _keep(self, target: Target, live: Object | None, result: Object, writer: Writer) -> Object:
        """Check, and store unless nothing changed or it is a dry run."""
        self._check(target, live, result)
        if live is not None and _same(live, result):
            return copy.deepcopy(live)
        metadata = result["metadata"]
        if live is None or _desired(live) != _desired(result):
            metadata["generation"] = metadata.get("generation", 0) + 1
        if writer.dry_run:
            return copy.deepcopy(result)
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        kept = self._objects.get(target.place)
        rolled = live is None or _desired(live) != _desired(result)
        at = time.monotonic() if rolled or kept is None else kept.changed_at
        self._objects[target.place] = _Kept(copy.deepcopy(result), at)
        return self._shown(self._objects[target.place], target.kind)

    def _check(self, target: Target, live: Object | None, result: Object) -> None:
        if target.namespace and ("", "namespaces", "", target.namespace) not in self._objects:
            raise Refusal(404, "NotFound", f'namespaces "{target.namespace}" not found')
        problems = list(causes(result, live))
        if problems:
            text = ", ".join(f"{where}: Invalid value: {what}" for where, what in problems)
            kind = f"{target.kind.kind}.{target.kind.group}" if target.kind.group else target.kind.kind
            message = f'{kind} "{target.name}" is invalid: {text}'
            raise Refusal(422, "Invalid", message, problems, cause="FieldValueInvalid")

    def _shown(self, kept: _Kept, kind: Kind) -> Object:
        object = copy.deepcopy(kept.object)
        object["apiVersion"] = kind.api_version
        if status := status_of(object, changed_at=kept.changed_at):
            object["status"] = status
        return object


def _fresh(target: Target, object: Object) -> Object:
    namespace = {"namespace": target.namespace} if target.namespace else {}
    return {
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {
            "name": target.name,
            **namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
        },
    }


def _settable(object: Object, target: Target) -> Object:
    """What a request may set: the status only through its own subresource, where there is one."""
    result = copy.deepcopy(object)
    if target.kind.has_status and not target.subresource:
        result.pop("status", None)
    for name in ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"):
        result.get("metadata", {}).pop(name, None)
    return result


def _patched(live: Object, patch: Object, target: Target, *, whole: bool) -> Object:
    if target.subresource:
        status = (
            patch.get("status")
            if whole
            else _merge_patch(live.get("status") or {}, patch.get("status") or {})
        )
        return {**live, "metadata": dict(live["metadata"]), "status": status}
    given = _settable(patch, target)
    if not whole:
        merged: Object = _merge_patch(live, given)
        return merged
    kept = ("name", "namespace", "uid", "generation", "creationTimestamp", "resourceVersion", "managedFields")
    server = {name: live["metadata"][name] for name in kept if name in live["metadata"]}
    status = {"status": live["status"]} if "status" in live and target.kind.has_status else {}
    return {**given, **status, "metadata": {**given.get("metadata", {}), **server}}


def _merge_patch(target: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON value (RFC 7396)
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge_patch(result.get(name), value)
    return result


Entries = dict[tuple[str, str, str], Fields]  # (manager, operation, subresource) -> fields


def _entries(object: Object) -> Entries:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in object["metadata"].get("managedFields") or []
    }


def _entry(object: Object, writer: Writer) -> Fields | None:
    return _entries(object).get((writer.manager, writer.operation, ""))


def _others(live: Object, applied: Object, mine: Fields, writer: Writer) -> tuple[Entries, dict[str, Fields]]:
    """The other managers' fields after this apply, and those of them that it sets to another value."""
    theirs = {key: fields for key, fields in _entries(live).items() if key[:2] != (writer.manager, "Apply")}
    differing = common(mine, changed(live, merge(live, applied)))
    conflicts = {key[0]: both for key, fields in theirs.items() if (both := common(fields, differing))}
    return {key: minus(fields, differing) for key, fields in theirs.items()}, conflicts


def _union(entries: Entries) -> Fields:
    total: Fields = {}
    for fields in entries.values():
        total = _joined(total, fields)
    return total


def _joined(left: Fields, right: Fields) -> Fields:
    return {name: _joined(left.get(name, {}), right.get(name, {})) for name in dict.fromkeys([*left, *right])}


def _managed(target: Target, writer: Writer, mine: Fields, others: Entries) -> list[Object]:
    return _written(target, {**others, (writer.manager, writer.operation, ""): mine})


def _written(target: Target, entries: Entries) -> list[Object]:
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": target.kind.api_version,
            "time": _now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
            **({"subresource": subresource} if subresource else {}),
        }
        for (manager, operation, subresource), fields in entries.items()
        if fields
    ]


def _same(live: Object, result: Object) -> bool:
    """Whether nothing changed but the times in managedFields."""
    return _comparable(live) == _comparable(result)


def _comparable(object: Object) -> str:
    metadata = {name: v for name, v in object["metadata"].items() if name != "managedFields"}
    entries = [(list(key), fields) for key, fields in sorted(_entries(object).items())]
    return json.dumps([{**object, "metadata": metadata}, entries], sort_keys=True)


def _desired(object: Object) -> str:
    """What a change of which is a new generation."""
    body = {name: v for name, v in object.items() if name not in ("metadata", "status")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _conflict(conflicts: dict[str, Fields]) -> Refusal:
    problems = [
        (path, f'conflict with "{manager}"')
        for manager, fields in conflicts.items()
        for path in names_of(fields)
    ]
    text = ", ".join(f"{what}: {where}" for where, what in problems)
    message = f"Apply failed with {len(problems)} conflicts: {text}"
    return Refusal(409, "Conflict", message, problems, cause="FieldManagerConflict")


def _not_found(target: Target) -> Refusal:
    group = f".{target.kind.group}" if target.kind.group else ""
    return Refusal(404, "NotFound", f'{target.kind.plural}{group} "{target.name}" not found')


def selector(text: str) -> dict[str, str]:
    """Equality terms of a label selector, the only ones that Towline uses."""
    return dict(_terms(text))


def _terms(text: str) -> Iterator[tuple[str, str]]:
    for term in filter(None, text.split(",")):
        name, _, value = term.replace("==", "=").partition("=")
        yield name, value


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
