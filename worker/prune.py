"""Deletes what no longer belongs to a release: exactly the objects that were judged, as they were when judged.

In: the checked plan's deletions, after everything else was applied without a problem. Out: Pruned. No state. Killed
half-way: what is left is still in the record, and carries the set's label, so the next sync deletes it.

Each DELETE names uid and resourceVersion: an object that changed since is read and judged again, never deleted blindly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from towline.shared.errors import ClusterError, Problem
from towline.shared.model import ObjectKey
from towline.shared.objects import is_terminating
from towline.shared.release import AppliedObject
from towline.worker.apply import Applied
from towline.worker.live import read_metadata
from towline.worker.order import deletion_stages
from towline.worker.parallel import in_parallel
from towline.worker.plan import Doomed, Kept, Plan, doomed, reason_to_keep
from towline.worker.target import Target

ATTEMPTS = 4  # a controller may write an object's status at the same moment, hardly four times running


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was deleted, what was not and why; `problems` are refusals of the API server."""

    pruned: tuple[ObjectKey, ...] = ()
    kept: tuple[Kept, ...] = ()
    problems: tuple[Problem, ...] = ()


def prune(target: Target, plan: Plan, *, claim: Callable[[], None]) -> Pruned:
    """Delete what the plan says, in reverse order. Raises ClusterDown, and what `claim` raises."""
    outcomes: list[ObjectKey | Kept | Problem] = []
    for stage in deletion_stages(plan.prune, key=lambda one: one.key):
        claim()
        outcomes += in_parallel(partial(_delete, target, plan), stage)
    return Pruned(
        pruned=tuple(one for one in outcomes if isinstance(one, ObjectKey)),
        kept=plan.keep + tuple(one for one in outcomes if isinstance(one, Kept)),
        problems=tuple(one for one in outcomes if isinstance(one, Problem)),
    )


def _delete(target: Target, plan: Plan, one: Doomed) -> ObjectKey | Kept | Problem:
    key = one.key
    try:
        for _ in range(ATTEMPTS):
            if _is_deleted(target, one):
                return key
            live = read_metadata(target.deployer, key)
            if live is None or is_terminating(live):
                return key
            why = reason_to_keep(key, live, environment=target.environment, set_id=plan.set_id)
            if why is not None:
                return Kept(key=key, why=why)
            one = doomed(key, live)
    except ClusterError as error:
        return Problem(message=f"was not deleted: {error.message}", object=str(key))
    return Problem(
        message="was not deleted: it changed each time; the next sync tries again", object=str(key)
    )


def _is_deleted(target: Target, one: Doomed) -> bool:
    resource = target.deployer.preferred(one.key.group, one.key.kind)
    try:
        target.deployer.delete(
            resource, one.key.name, one.key.namespace, uid=one.uid, resource_version=one.resource_version
        )
    except ClusterError as error:
        if error.code == 409:
            return False
        raise
    return True


def recorded_after(plan: Plan, applied: Applied, pruned: Pruned | None) -> tuple[AppliedObject, ...]:
    """What the release's record says afterwards: what was applied or left, and what is still to be changed or deleted."""
    known = {record.key for record in applied.objects}
    pending = {item.key for item in plan.writes + plan.later} - known
    if pruned is None:
        pending |= {one.key for one in plan.prune}
    else:
        pending |= set(_named(plan, pruned.problems))
    kept = tuple(record for record in plan.recorded if record.key in pending)
    if plan.later:  # without a digest: whatever is wanted next, it is to be looked at, and not judged before
        kept = tuple(record.model_copy(update={"digest": ""}) for record in kept)
    return applied.objects + kept


def _named(plan: Plan, problems: Iterable[Problem]) -> Iterable[ObjectKey]:
    names = {problem.object for problem in problems}
    return (one.key for one in plan.prune if str(one.key) in names)
