"""Sends one object by server-side apply, as a dry run or for good, and settles what a plain apply cannot.

In: one placed object. Out: Sent: the answer, and what was taken over from whom. No state. Killed half-way: each request
happened or did not, and the same call again ends in the same state.

An apply is sent without force first: the answer names every field that somebody else owns, and costs nothing where nobody
does. What an autoscaler (or a person) set through the `scale` subresource stays theirs: the field is taken out of what we
send. Everything else is taken over, since what runs follows Git, and is named in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.shared.cluster import MERGE_PATCH, Cluster
from towline.shared.cluster_session import Request
from towline.shared.errors import ClusterError, FieldConflict, Problem
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import MANAGER, PART_OF, canonical, labels_of, metadata_of
from towline.worker.policy import Placed

# k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go, printManager
MANAGER_OF_CONFLICT = re.compile(r'conflict with "([^"]*)"(?: with subresource "([^"]*)")?')
PLAIN_PATH = re.compile(r"(\.[A-Za-z0-9_-]+)+")  # the path of a scale subresource has no lists in it

# Kinds with a strategy that refuses the `rollingUpdate` which the server itself once filled in: (field, type).
STRATEGIES = {"Deployment": ("strategy", "Recreate"), "StatefulSet": ("updateStrategy", "OnDelete")}


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """A field that another manager owned."""

    key: ObjectKey
    path: str
    manager: str

    def __str__(self) -> str:
        return f"{self.key}: {self.path} taken over from {self.manager}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one apply did, or would do."""

    answer: Object
    taken_over: tuple[TakenOver, ...] = ()


def send(cluster: Cluster, item: Placed, *, set_id: str, dry_run: bool) -> Sent:
    """Apply one object as a member of the set. Raises ClusterError of any kind but FieldConflict, and ClusterDown."""
    wanted = as_member(item.object, set_id)
    try:
        return _settle(cluster, item.key, wanted, dry_run=dry_run)
    except ClusterError as error:
        patch = strategy_patch(wanted)
        if patch is None or not _is_about_rolling_update(error):
            raise
        if dry_run:
            return Sent(answer=_dry_run_patch(cluster, item, {**wanted, "spec": {**wanted["spec"], **patch}}))
        cluster.merge_patch(item.resource, item.key.name, item.key.namespace, {"spec": patch})
        return _settle(cluster, item.key, wanted, dry_run=False)


def as_member(object: Object, set_id: str) -> Object:
    """The object with the label of its set."""
    labels = {**labels_of(object), PART_OF: set_id}
    return {**object, "metadata": {**metadata_of(object), "labels": labels}}


def _settle(cluster: Cluster, key: ObjectKey, wanted: Object, *, dry_run: bool) -> Sent:
    try:
        return Sent(answer=cluster.apply(wanted, dry_run=dry_run, force=False))
    except FieldConflict as conflict:
        conflicts = list(_conflicts(conflict.problems))
    for path, _, subresource in conflicts:
        if subresource == "scale":
            wanted = without(wanted, path)
    taken = [
        TakenOver(key=key, path=path, manager=manager)
        for path, manager, subresource in conflicts
        if subresource != "scale" and manager != MANAGER
    ]
    return Sent(answer=cluster.apply(wanted, dry_run=dry_run, force=True), taken_over=tuple(taken))


def _conflicts(causes: Sequence[Problem]) -> Iterator[tuple[str, str, str]]:
    """Field, manager and subresource of each conflict."""
    for cause in causes:
        found = MANAGER_OF_CONFLICT.search(cause.message)
        if found:
            yield cause.path or "", found[1], found[2] or ""


def without(object: Object, path: str) -> Object:
    """The object without the field at a path such as `.spec.replicas`; as it is where there is none."""
    if not PLAIN_PATH.fullmatch(path):
        return object
    return _without(object, path.removeprefix(".").split("."))


def _without(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    first, *rest = names
    if not rest:
        return {name: one for name, one in value.items() if name != first}
    inner = value.get(first)
    return {**value, first: _without(inner, rest)} if isinstance(inner, dict) else dict(value)


def _is_about_rolling_update(error: ClusterError) -> bool:
    return error.code == 422 and any(
        (one.path or "").endswith("trategy.rollingUpdate") for one in error.problems
    )


def strategy_patch(object: Object) -> dict[str, Any] | None:
    """What of the spec a merge patch must change before a type without `rollingUpdate` can be applied.

    An apply cannot: it merges a null as if nothing had been said, and removes only what it owned before, while this was
    filled in by the server (seen on 1.36).
    """
    field, type_ = STRATEGIES.get(str(object.get("kind")), ("", ""))
    spec = object.get("spec")
    strategy = spec.get(field) if field and isinstance(spec, dict) else None
    if not isinstance(strategy, dict) or strategy.get("type") != type_ or strategy.get("rollingUpdate"):
        return None
    return {field: {"type": type_, "rollingUpdate": None}}


def _dry_run_patch(cluster: Cluster, item: Placed, wanted: Object) -> Object:
    """Judge the whole object as a merge patch, since no apply can be tried before the strategy has changed."""
    return cluster.request(
        Request(
            verb="dry run",
            method="PATCH",
            path=item.resource.path(item.key.name, item.key.namespace),
            query={"fieldManager": MANAGER, "dryRun": "All"},
            body=canonical(wanted),
            content_type=MERGE_PATCH,
        )
    )
