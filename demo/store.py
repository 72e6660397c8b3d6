"""The objects of the demo's cluster: get, list, apply, create, patch, delete, with owned fields and dry runs.

A small subset of what an API server does, held to the same tests as a real one (tests/real/demo). Everything is in
memory and under one lock; an object that is kept is never changed in place. Deleting is immediate: there are no
finalizers; what an owner leaves behind goes with it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from towline.demo.changes import Changes
from towline.demo.fields import fields_of, merge, minus, without
from towline.demo.kinds import BUILT_IN, Kind, born_with, causes, defined_by
from towline.demo.managed import (
    after_apply,
    after_update,
    conflict,
    entries_of,
    entry_of,
    now,
    union,
    written,
)
from towline.demo.request import Object, Place, Refusal, Target, Writer, not_found
from towline.demo.selectors import Selector

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(slots=True)
class Store:
    """All objects of one cluster, and what happened to them."""

    changes: Changes = field(default_factory=Changes)
    _objects: dict[Place, Object] = field(default_factory=dict)

    def kinds(self) -> list[Kind]:
        """The kinds that are served now."""
        with self.changes.lock:
            definitions = [one for place, one in self._objects.items() if place[:2] == DEFINITIONS]
        return [*BUILT_IN, *(kind for definition in definitions for kind in defined_by(definition))]

    def all(self) -> list[Object]:
        """Every object, by place: for the controllers, which change none of them in place."""
        with self.changes.lock:
            return [object for _, object in sorted(self._objects.items())]

    def get(self, target: Target) -> Object:
        """One object; Refusal 404."""
        with self.changes.lock:
            object = self._objects.get(target.place)
        if object is None:
            raise not_found(target)
        return _shown(object, target.kind)

    def list(self, target: Target, selected: Selector) -> Object:
        """All objects of a kind, in a namespace or everywhere, that are selected."""
        with self.changes.lock:
            items = [
                _shown(object, target.kind)
                for (group, plural, namespace, _), object in sorted(self._objects.items())
                if (group, plural) == (target.kind.group, target.kind.plural)
                and target.namespace in ("", namespace)
                and selected.matches(object)
            ]
            version = self.changes.version
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": {"resourceVersion": str(version)},
            "items": items,
        }

    def apply(self, target: Target, applied: Object, writer: Writer) -> Object:
        """Server-side apply."""
        with self.changes.lock:
            kept = self._objects.get(target.place)
            live = kept or _fresh(target, applied)
            mine = fields_of(applied)
            others, conflicts = after_apply(live, applied, mine, writer)
            if conflicts and not writer.force:
                raise conflict(conflicts)
            left = minus(minus(entry_of(live, writer), mine), union(others))
            result = merge(without(live, left) if left else live, _settable(applied, target))
            managed = written(target, {**others, (writer.manager, writer.operation, ""): mine})
            result["metadata"] = {**result["metadata"], "managedFields": managed}
            return self._keep(target, kept, result, writer)

    def create(self, target: Target, object: Object, writer: Writer) -> Object:
        """POST; Refusal 409 when it exists."""
        with self.changes.lock:
            if target.place in self._objects:
                raise Refusal(409, "AlreadyExists", f'{target.kind.plural} "{target.name}" already exists')
            fresh = merge(_fresh(target, object), _settable(object, target))
            managed = written(target, {(writer.manager, writer.operation, ""): fields_of(object)})
            fresh["metadata"] = {**fresh["metadata"], "managedFields": managed}
            return self._keep(target, None, fresh, writer)

    def update(self, target: Target, patch: Object, writer: Writer, *, whole: bool) -> Object:
        """PUT (whole) or a JSON merge patch, of the object or of its status."""
        with self.changes.lock:
            live = self.get(target)
            version = (patch.get("metadata") or {}).get("resourceVersion")
            if version and version != live["metadata"]["resourceVersion"]:
                message = f'Operation cannot be fulfilled on {target.kind.plural} "{target.name}": '
                raise Refusal(409, "Conflict", message + "the object has been modified")
            result = _patched(live, patch, target, whole=whole)
            managed = written(target, after_update(live, result, target, writer))
            result["metadata"] = {**result["metadata"], "managedFields": managed}
            return self._keep(target, live, result, writer)

    def delete(self, target: Target, options: Object) -> Object:
        """DELETE with its preconditions; what the object owned goes with it."""
        with self.changes.lock:
            live = self.get(target)
            for name, value in (options.get("preconditions") or {}).items():
                if live["metadata"].get(name) != value:
                    raise Refusal(
                        409, "Conflict", f"the {name} in the precondition is not that of the object"
                    )
            self._forget(target.place)
            if target.kind.kind == "Namespace":
                for place in [place for place in self._objects if place[2] == target.name]:
                    self._forget(place)
            return live

    def _forget(self, place: Place) -> None:
        gone = self._objects.pop(place, None)
        if gone is None:  # it went with its owner
            return
        self.changes.version += 1
        self.changes.add(place, gone, None)
        for owned in [
            place for place, one in self._objects.items() if gone["metadata"]["uid"] in _owners(one)
        ]:
            self._forget(owned)

    def _keep(self, target: Target, live: Object | None, result: Object, writer: Writer) -> Object:
        """Check, and store unless nothing changed or it is a dry run."""
        self._check(target, live, result)
        if live is not None and _same(live, result):
            return _shown(live, target.kind)
        kept = copy.deepcopy(result)
        metadata = kept["metadata"]
        if live is None or _desired(live) != _desired(result):
            metadata["generation"] = metadata.get("generation", 0) + 1
        if live is None and (status := born_with(kept)):
            kept["status"] = status
        if not writer.dry_run:
            self.changes.version += 1
            metadata["resourceVersion"] = str(self.changes.version)
            self._objects[target.place] = kept
            self.changes.add(target.place, live, kept)
        return _shown(kept, target.kind)

    def _check(self, target: Target, live: Object | None, result: Object) -> None:
        if target.namespace and ("", "namespaces", "", target.namespace) not in self._objects:
            raise Refusal(404, "NotFound", f'namespaces "{target.namespace}" not found')
        problems = list(causes(result, live))
        if problems:
            text = ", ".join(f"{where}: Invalid value: {what}" for where, what in problems)
            kind = f"{target.kind.kind}.{target.kind.group}" if target.kind.group else target.kind.kind
            message = f'{kind} "{target.name}" is invalid: {text}'
            raise Refusal(422, "Invalid", message, problems, cause="FieldValueInvalid")


def _shown(object: Object, kind: Kind) -> Object:
    return {**object, "apiVersion": kind.api_version}


def _owners(object: Object) -> Iterator[str]:
    for reference in object["metadata"].get("ownerReferences") or ():
        yield reference.get("uid", "")


def _fresh(target: Target, object: Object) -> Object:
    namespace = {"namespace": target.namespace} if target.namespace else {}
    return {
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {
            "name": target.name,
            **namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
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
        return {**live, "status": status}
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


def _same(live: Object, result: Object) -> bool:
    """Whether nothing changed but the times in managedFields."""
    return _comparable(live) == _comparable(result)


def _comparable(object: Object) -> str:
    metadata = {name: v for name, v in object["metadata"].items() if name != "managedFields"}
    entries = [(list(key), fields) for key, fields in sorted(entries_of(object).items())]
    return json.dumps([{**object, "metadata": metadata}, entries], sort_keys=True)


def _desired(object: Object) -> str:
    """What a change of which is a new generation."""
    body = {name: v for name, v in object.items() if name not in ("metadata", "status", "apiVersion")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
