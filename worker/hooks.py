"""Hooks: what runs before a revision is applied, and after it is healthy; how they are started, judged and deleted.

    rendered -> named -> divided from the objects -> due (once for each revision that is synced as its inputs changed)
    -> tried by a dry run before anything is written -> started, a wave a step (worker/steps.py) -> judged by conclude
    -> deleted: always before the next run, and afterwards as its policy says (after success by default)

In: rendered objects with a hook annotation of Towline, Argo CD or Helm. Out: HookRuns for the record. A hook carries the
label of its set, so that the watcher sees it, and `towline.dev/run`, which marks it as a hook: it is no object of the release,
is never repaired, stored, pruned or rolled back. Jobs and Pods run; of another kind a hook is done when it is healthy.

Killed half-way: the mark of the run is the same when the step is taken again, so what was started is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog

from towline.shared.controls import RUN, Hook, hook, hook_deletion, is_run
from towline.shared.errors import ClusterError, Problem, TowlineError
from towline.shared.model import HookState, Moment, Object, ObjectKey, short
from towline.shared.objects import annotations_of, is_ours, metadata_of
from towline.shared.pending import HookRun, ended_runs, runs_of
from towline.shared.release import ReleaseStatus
from towline.shared.wanted import Wanted
from towline.worker.apply import Claim
from towline.worker.dry_run import problems_of, refuse, stand_in
from towline.worker.fields import mapping
from towline.worker.live import read_metadata
from towline.worker.order import stages
from towline.worker.parallel import in_parallel
from towline.worker.plan import key_and_object
from towline.worker.policy import Placed
from towline.worker.render.rendered import Rendered
from towline.worker.send import as_member
from towline.worker.state import State
from towline.worker.target import Target
from towline.worker.waiting import RUN_GONE_SECONDS, await_gone

MOMENTS = {Hook.PRE_SYNC: Moment.PRE_SYNC, Hook.POST_SYNC: Moment.POST_SYNC}
NAME_LENGTH = 63  # a Job's name becomes a label of its pods

log = structlog.get_logger(__name__)


def moment_of(object: Object) -> Moment | None:
    """When a hook runs, None for what is an object of the release, or is never applied."""
    found = hook(object)
    return MOMENTS.get(found) if found is not None else None


def named(rendered: Sequence[Rendered], revision: str) -> list[Rendered]:
    """The same objects, in which hooks with a `generateName` are named by the revision. Pure."""
    return [replace(one, object=_named(one.object, revision)) for one in rendered]


def _named(object: Object, revision: str) -> Object:
    metadata = mapping(object.get("metadata"))
    prefix = metadata.get("generateName")
    if not isinstance(prefix, str) or metadata.get("name") or moment_of(object) is None:
        return object
    name = f"{prefix[: NAME_LENGTH - len(short(revision))]}{short(revision)}"
    kept = {key: value for key, value in metadata.items() if key != "generateName"}
    return {**object, "metadata": {**kept, "name": name}}


def divided(placed: Iterable[Placed]) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    """The objects of the release, and its hooks. Pure."""
    objects: list[Placed] = []
    hooks: list[Placed] = []
    for item in placed:
        (objects if moment_of(item.object) is None else hooks).append(item)
    return tuple(objects), tuple(hooks)


def run_mark(status: ReleaseStatus | None, inputs_digest: str) -> str:
    """What marks the hooks of a revision that is begun now; the same until something of it is recorded. Pure."""
    before = status.claim if status else ""
    return hashlib.sha256(f"{before} {inputs_digest}".encode()).hexdigest()[:16]


def due(hooks: Sequence[Placed], known: Sequence[HookRun], *, is_new: bool) -> tuple[Placed, ...]:
    """The hooks that are to run: those of changed inputs, or what is left of them; none for a mere look. Pure.

    `known`: what came of the hooks of this revision by now. `is_new`: its inputs changed, or it is still being brought.
    """
    if not is_new and not any(one.state is HookState.FAILED for one in known):
        return ()
    done = {one.key for one in known if one.state is HookState.SUCCEEDED}
    return tuple(item for item in hooks if item.key not in done)


def known_runs(state: State, wanted: Wanted, *, now: datetime) -> tuple[HookRun, ...]:
    """What came of this revision's hooks by now. Pure."""
    if state.release is None or state.is_new:
        return ()
    status, before = state.release.status, state.continued
    if before is None:
        return status.hooks
    told = {"revision": wanted.revision}
    runs = tuple(one.model_copy(update=told) for one in runs_of(status.hooks, before.revision))
    if not state.is_healthy_so_far(wanted):
        return runs
    return ended_runs(runs, wanted.revision, HookState.SUCCEEDED, now=now)


def with_started(known: Sequence[HookRun], started: Sequence[HookRun]) -> tuple[HookRun, ...]:
    """The record with hooks that run now. Pure."""
    keys = {one.key for one in started}
    return (*(one for one in known if one.key not in keys), *started)


def left_over(state: State) -> tuple[HookRun, ...]:
    """Hooks that still ran when their revision was superseded by this one. Pure."""
    if state.release is None or not state.is_new:
        return ()
    return tuple(one for one in state.release.status.hooks if one.state is HookState.RUNNING)


def not_undone(runs: Iterable[HookRun], revision: str) -> Iterator[str]:
    """What a rollback cannot undo, one line a hook of the revision that failed. Pure."""
    for one in runs_of(runs, revision):
        yield f"{one.key}: ran as a {one.moment} hook, and what it did is not undone"


def try_out(target: Target, hooks: Sequence[Placed]) -> None:
    """Have the API server judge all hooks, under another name, since the last run may be there. Raises PlanRefused."""
    found = in_parallel(partial(_problems, target), hooks)
    refuse([problem for problems in found for problem in problems])


def _problems(target: Target, item: Placed) -> Sequence[Problem]:
    object = stand_in(as_run(item.object, target.set_id, "check"), item.key.namespace)
    try:
        target.deployer.apply(object, dry_run=True, force=True)
    except ClusterError as error:
        return problems_of(item, error)
    return ()


def as_run(object: Object, set_id: str, mark: str) -> Object:
    """The hook as it is sent."""
    metadata = {**metadata_of(object), "annotations": {**annotations_of(object), RUN: mark}}
    return as_member({**object, "metadata": metadata}, set_id)


def start(target: Target, hooks: Sequence[Placed], *, mark: str, claim: Claim) -> tuple[Problem, ...]:
    """Start these hooks, anew where an earlier run is there. Returns what was refused. Raises ClusterDown."""
    problems: list[Problem] = []
    for stage in stages(hooks, of=key_and_object):
        claim()
        problems += [one for found in in_parallel(partial(_start, target, mark), stage) for one in found]
        if problems:
            break
    return tuple(problems)


def _start(target: Target, mark: str, item: Placed) -> Sequence[Problem]:
    try:
        live = read_metadata(target.deployer, item.key)
        if live is not None and annotations_of(live).get(RUN) == mark:
            return ()  # started before the worker died
        if live is not None:
            if not is_ours(live, target.set_id):
                return [item.problem("is there already and is no hook of this release; rename one of them")]
            _delete(target, item.key, live)
            uid = str(metadata_of(live).get("uid"))
            await_gone(target.deployer, item.key, uid=uid, seconds=RUN_GONE_SECONDS)
        target.deployer.apply(as_run(item.object, target.set_id, mark), force=False)
    except ClusterError as error:
        return problems_of(item, error)
    return ()


def started(hooks: Iterable[Placed], revision: str) -> tuple[HookRun, ...]:
    """The record of hooks that run now."""
    return tuple(
        HookRun(
            group=item.key.group,
            kind=item.key.kind,
            namespace=item.key.namespace,
            name=item.key.name,
            moment=moment,
            revision=revision,
            delete_on=hook_deletion(item.object),
        )
        for item in hooks
        if (moment := moment_of(item.object)) is not None
    )


def to_delete(runs: Iterable[HookRun]) -> tuple[HookRun, ...]:
    """Those that go, by what came of them. Pure."""
    return tuple(one for one in runs if one.state in one.delete_on)


def delete(target: Target, runs: Sequence[HookRun]) -> None:
    """Delete these, while they are hooks of this release; what cannot be deleted now goes before its next run."""

    def remove(one: HookRun) -> None:
        try:
            live = read_metadata(target.deployer, one.key)
            if live is not None and is_run(live) and is_ours(live, target.set_id):
                _delete(target, one.key, live)
        except TowlineError as error:
            log.warning("hook.not_deleted", object=str(one.key), error=error.message)

    in_parallel(remove, runs)


def _delete(target: Target, key: ObjectKey, live: Object) -> None:
    resource = target.deployer.preferred(key.group, key.kind)
    uid = str(metadata_of(live).get("uid"))
    target.deployer.delete(resource, key.name, key.namespace, uid=uid, resource_version="")
