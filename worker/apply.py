"""Carries out the writes of a checked plan: stage after stage, parallel inside a stage.

In: a Plan that `dry_run` has checked, and `claim`, which raises when another attempt has taken the release. Out: Applied.
A refusal half-way is a value (`problems`), since what was applied before it must be recorded; a first install that is
refused is undone and raised as PlanRefused, and so is the refusal of a single write; but never what is only still being
deleted: the API server took that apply. State: the objects in the cluster. Killed half-way: the record still says what was
there before, so the next run finds the rest and ends in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from towline.shared.errors import ClusterError, Problem, UnknownKind
from towline.shared.faults import Point, fault
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import is_ours, is_terminating, metadata_of, owned_hash
from towline.shared.release import AppliedObject
from towline.worker.adopt import adopt
from towline.worker.dry_run import problems_of, refuse
from towline.worker.live import read_metadata
from towline.worker.order import Rank, rank_of
from towline.worker.parallel import in_parallel
from towline.worker.plan import Plan
from towline.worker.policy import Placed
from towline.worker.send import Sent, TakenOver, send
from towline.worker.target import Target
from towline.worker.undo import undo
from towline.worker.waiting import TERMINATING, await_gone, await_served, until

Claim = Callable[[], None]

# A changed schema is used a moment after its CRD was written; until then the old one refuses new fields.
DEFERRED_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of a plan's writes; with `problems` it ended half-way, and nothing may be pruned.

    `is_in_the_way`: there is no other problem than that something is being deleted, and not gone yet.
    """

    objects: tuple[AppliedObject, ...] = ()
    created: tuple[ObjectKey, ...] = ()
    changed: tuple[ObjectKey, ...] = ()
    left: tuple[ObjectKey, ...] = ()
    taken_over: tuple[TakenOver, ...] = ()
    recreated: tuple[ObjectKey, ...] = ()
    deferred: tuple[ObjectKey, ...] = ()
    unverified: tuple[ObjectKey, ...] = ()
    problems: tuple[Problem, ...] = ()
    is_in_the_way: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one object: an answer, or problems."""

    item: Placed
    sent: Sent | None = None
    problems: tuple[Problem, ...] = ()
    is_in_the_way: bool = False


def apply(target: Target, plan: Plan, *, claim: Claim) -> Applied:
    """Write what the plan says. Raises PlanRefused (nothing of it is left), ClusterDown, and what `claim` raises."""
    if not plan.is_checked:
        raise ValueError("a plan is applied only after its dry run")
    outcomes: list[Outcome] = []
    stages = plan.stages()
    for index, stage in enumerate(stages):
        claim()
        outcomes += in_parallel(partial(_outcome, target, plan), stage)
        if bad := [one for one in outcomes if one.problems]:
            is_refused = not all(one.is_in_the_way for one in bad)
            if is_refused and plan.is_atomic:
                refuse([problem for one in bad for problem in one.problems])
            if is_refused and plan.is_install:
                _give_up_install(target, plan, outcomes, not_reached=stages[index + 1 :])
            break
    return _applied(plan, outcomes)


def _outcome(target: Target, plan: Plan, item: Placed) -> Outcome:
    try:
        return Outcome(item=item, sent=_write(target, plan, item))
    except ClusterError as error:
        problems = tuple(problems_of(item, error))
        return Outcome(item=item, problems=problems, is_in_the_way=error.reason == TERMINATING)


def _write(target: Target, plan: Plan, item: Placed) -> Sent:
    cluster = target.deployer
    if item.key in plan.recreate:
        _delete_old(target, plan, item.key)
    elif (live := plan.live.get(item.key)) is not None:
        adopt(cluster, item, live)
    sent = _send_when_served(target, plan, item)
    fault(Point.OBJECT_SENT)
    if is_terminating(sent.answer):
        # The server took the apply, and the object will be gone all the same.
        uid = str(metadata_of(sent.answer).get("uid"))
        await_gone(cluster, item.key, uid=uid)
        sent = send(cluster, item, set_id=plan.set_id, dry_run=False)
    if rank_of(item.key) is Rank.FOUNDATION:
        await_served(cluster, sent.answer, item.key)
    return sent


def _delete_old(target: Target, plan: Plan, key: ObjectKey) -> None:
    """Make room for the replacement, which the dry run has judged. Raises ClusterError where it is not ours any more."""
    live = read_metadata(target.deployer, key)
    if live is None:
        return
    if not is_ours(live, plan.set_id):
        raise ClusterError(
            f"{key} is not deleted: it no longer belongs to this release", code=409, reason="Conflict"
        )
    uid = str(metadata_of(live).get("uid"))
    version = str(metadata_of(live).get("resourceVersion"))
    resource = target.deployer.preferred(key.group, key.kind)
    target.deployer.delete(resource, key.name, key.namespace, uid=uid, resource_version=version)
    await_gone(target.deployer, key, uid=uid)


def _send_when_served(target: Target, plan: Plan, item: Placed) -> Sent:
    attempt = partial(send, target.deployer, item, set_id=plan.set_id, dry_run=False)
    if item.key not in plan.deferred:
        return attempt()
    result: list[Sent | ClusterError] = []

    def is_settled() -> bool:
        try:
            result.append(attempt())
        except ClusterError as error:
            result.append(error)
            return not _may_be_too_early(error)
        return True

    until(is_settled, seconds=DEFERRED_SECONDS)
    if isinstance(result[-1], ClusterError):
        raise result[-1]
    return result[-1]


def _may_be_too_early(error: ClusterError) -> bool:
    return isinstance(error, UnknownKind) or error.code in (404, 500)


def _give_up_install(
    target: Target, plan: Plan, outcomes: Sequence[Outcome], *, not_reached: Sequence[Sequence[Placed]]
) -> None:
    """Collect what else would have been refused, remove what was made, raise PlanRefused."""
    problems = [problem for one in outcomes for problem in one.problems]
    rest = [item for stage in not_reached for item in stage if item.key not in plan.deferred]
    problems += [
        problem for found in in_parallel(partial(_would_be_refused, target, plan), rest) for problem in found
    ]
    kept = undo(target, [(one.item.key, one.sent.answer) for one in outcomes if one.sent is not None])
    hint = "nothing of it was left in the cluster; correct the files and push again"
    if kept:
        hint = f"everything else was removed again, but not {', '.join(map(str, kept))}; correct the files and push again"
    refuse(problems, hint=hint)


def _would_be_refused(target: Target, plan: Plan, item: Placed) -> Sequence[Problem]:
    try:
        send(target.deployer, item, set_id=plan.set_id, dry_run=True)
    except ClusterError as error:
        return problems_of(item, error)
    return ()


def _applied(plan: Plan, outcomes: Sequence[Outcome]) -> Applied:
    written = [(one.item, one.sent) for one in outcomes if one.sent is not None]
    new = {item.key for item in plan.create}
    done = {item.key for item, _ in written}
    bad = [one for one in outcomes if one.problems]
    return Applied(
        objects=plan.leave + tuple(_record(item, sent.answer) for item, sent in written),
        created=tuple(item.key for item, _ in written if item.key in new),
        changed=tuple(item.key for item, _ in written if item.key not in new),
        left=tuple(record.key for record in plan.leave),
        taken_over=tuple(one for _, sent in written for one in sent.taken_over),
        recreated=tuple(sorted(done & plan.recreate)),
        deferred=tuple(sorted(done & plan.deferred)),
        unverified=tuple(sorted(done & plan.unverified)),
        problems=tuple(problem for one in bad for problem in one.problems),
        is_in_the_way=bool(bad) and all(one.is_in_the_way for one in bad),
    )


def _record(item: Placed, answer: Object) -> AppliedObject:
    return AppliedObject.of(item.key, digest=item.digest, owned=owned_hash(answer))
