"""What a plan would change, field by field, by asking the API server for a dry run: for people, so masked.

In: a checked plan. Out: a Difference for each object that would really change; PlanRefused where a new object would be
refused. Nothing is written, no state.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from towline.shared.documents import dump
from towline.shared.errors import ClusterError, Problem
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import SERVER_METADATA, canonical, mask_pair, metadata_of
from towline.worker.dry_run import problems_of, refuse
from towline.worker.parallel import in_parallel
from towline.worker.plan import Doomed, Plan
from towline.worker.policy import Placed
from towline.worker.send import TakenOver, as_member, send
from towline.worker.target import Target

CONTEXT = 3  # unchanged lines round a change


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that would change: `action` is create, change, recreate or delete; `text` a unified diff of YAML."""

    key: ObjectKey
    action: str
    text: str
    taken_over: tuple[TakenOver, ...] = ()


def differences(target: Target, plan: Plan) -> tuple[Difference, ...]:
    """Everything that would change, in the order in which it would. Raises PlanRefused, ClusterDown."""
    items = [item for stage in plan.stages() for item in stage]
    if plan.is_install:
        _check_install(target, plan, items)
    written = in_parallel(partial(_written, target, plan), items)
    deleted = in_parallel(partial(_deleted, target), plan.prune)
    return tuple(one for one in (*written, *deleted) if one is not None)


def _check_install(target: Target, plan: Plan, items: Sequence[Placed]) -> None:
    """A sync leaves this out, as it can take a first install back; here somebody asked."""
    ready = [item for item in items if item.key not in plan.deferred]
    refuse([problem for found in in_parallel(partial(_refusal, target, plan), ready) for problem in found])


def _refusal(target: Target, plan: Plan, item: Placed) -> Sequence[Problem]:
    try:
        send(target.deployer, item, set_id=plan.set_id, dry_run=True)
    except ClusterError as error:
        # The environment's own namespace is made by the first sync.
        return () if error.code == 404 else problems_of(item, error)
    return ()


def _written(target: Target, plan: Plan, item: Placed) -> Difference | None:
    key, cluster = item.key, target.deployer
    wanted = as_member(item.object, plan.set_id)
    is_new = any(one.key == key for one in plan.create)
    before = None if is_new else cluster.get(item.resource, key.name, key.namespace)
    if before is None:
        return Difference(key=key, action="create", text=text_of(None, wanted, key))
    if key in plan.recreate or key in plan.deferred or key in plan.unverified:
        action = "recreate" if key in plan.recreate else "change"
        return Difference(key=key, action=action, text=text_of(before, wanted, key))
    sent = send(cluster, item, set_id=plan.set_id, dry_run=True)
    text = text_of(before, sent.answer, key)
    return Difference(key=key, action="change", text=text, taken_over=sent.taken_over) if text else None


def _deleted(target: Target, one: Doomed) -> Difference | None:
    key = one.key
    resource = target.deployer.preferred(key.group, key.kind)
    before = target.deployer.get(resource, key.name, key.namespace)
    return None if before is None else Difference(key=key, action="delete", text=text_of(before, None, key))


def text_of(before: Object | None, after: Object | None, key: ObjectKey) -> str:
    """A unified diff of both as YAML, without what only a server sets, Secrets masked; "" where they are equal."""
    old, new = (_lines(one) for one in mask_pair(_shown(before), _shown(after)))
    return "".join(_unified(old, new, str(key)))


def _lines(object: Object | None) -> list[str]:
    """As YAML with sorted keys, since a file and an API server order them differently."""
    return dump(json.loads(canonical(object))).splitlines(keepends=True) if object is not None else []


def _unified(old: Sequence[str], new: Sequence[str], name: str) -> Iterable[str]:
    live, wanted = f"{name} (live)" if old else "/dev/null", f"{name} (wanted)" if new else "/dev/null"
    return difflib.unified_diff(list(old), list(new), live, wanted, n=CONTEXT)


def _shown(object: Object | None) -> Object | None:
    if object is None:
        return None
    metadata = {name: value for name, value in metadata_of(object).items() if name not in SERVER_METADATA}
    return {**{name: value for name, value in object.items() if name != "status"}, "metadata": metadata}
