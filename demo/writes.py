"""What the pretended controllers decide to write, and how they find their objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.demo.managed import now
from towline.demo.request import Object

Status = dict[str, Any]
Children = Mapping[str, Sequence[Object]]  # uid of what made them -> objects


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object."""

    object: Object


@dataclass(frozen=True, slots=True)
class Patch:
    """Change an object by a JSON merge patch."""

    object: Object
    patch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Put this in the place of an object's status."""

    object: Object
    status: Status


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object."""

    object: Object


Write = Create | Patch | Report | Delete


def name_of(object: Object) -> str:
    """Its name."""
    return str(object["metadata"]["name"])


def by_controller(objects: Iterable[Object]) -> Children:
    """The objects that each object made, by the uid of what made them."""
    children: dict[str, list[Object]] = {}
    for one in objects:
        if uid := controller_of(one).get("uid"):
            children.setdefault(uid, []).append(one)
    return children


def owned_by(owner: Object, children: Children) -> list[Object]:
    """The objects that this one made."""
    return list(children.get(owner["metadata"]["uid"], ()))


def controller_of(object: Object) -> Mapping[str, Any]:
    """The reference to what made an object, empty where nothing did."""
    references = object["metadata"].get("ownerReferences") or ()
    return next((one for one in references if one.get("controller")), {})


def child_of(owner: Object, name: str, labels: Mapping[str, str]) -> Object:
    """The metadata of an object that this one makes."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    namespace = owner["metadata"]["namespace"]
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": [reference]}


def pod_of(owner: Object, name: str, labels: Mapping[str, str]) -> Create:
    """A pod from the owner's template."""
    template = owner["spec"]["template"]
    metadata = child_of(owner, name, {**labels_of(template), **labels})
    if annotations := (template.get("metadata") or {}).get("annotations"):
        metadata["annotations"] = annotations
    return Create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})


def labels_of(template: Object) -> dict[str, str]:
    """The labels of a pod template."""
    return dict((template.get("metadata") or {}).get("labels") or {})


def condition(before: Status, type_: str, status: bool, reason: str, message: str = "") -> Status:
    """A condition; it keeps its time while its status does not change."""
    value = "True" if status else "False"
    old = next((one for one in before.get("conditions") or () if one["type"] == type_), None)
    kept = old is not None and old["status"] == value
    since = old["lastTransitionTime"] if old is not None and kept else now()
    return {
        "type": type_,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


def is_ready(pod: Object) -> bool:
    """Whether a pod serves."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
