"""Job: a ref moved. Bring the mirror up to date, find the releases whose inputs changed, enqueue one sync for each.

In: repository and ref. Out: `wanted` and one sync job for each changed release, in one transaction with the digests
handled. The tip as fetched counts, never what the payload said, so a replayed or late delivery takes nothing back.
Nothing is asked of a cluster, unless Redis forgot what was handled: then the Releases are listed once.
Killed before the transaction, the job runs again; after it, running again finds nothing changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from towline.shared import contained
from towline.shared.broker import Pipe
from towline.shared.config import Environment, Repository
from towline.shared.errors import ConfigError, Problem, UnsafePrune
from towline.shared.jobs import PushArguments, QueueName, sync_call
from towline.shared.model import ReleaseName, Revision, Trigger, short
from towline.shared.views import TIP
from towline.shared.wanted import Wanted
from towline.worker.dependants import Depends, in_order, remember
from towline.worker.outcome import view_of
from towline.worker.repository import all_inputs_in, inputs_in, services_in
from towline.worker.stages import Stages
from towline.worker.state import environment_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree

FETCH_SECONDS = 60.0

# Above both, releases that vanish from Git in one push wait for an operator: a mistyped pattern looks the same.
VANISH_COUNT = 5
VANISH_SHARE = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one push means to one environment."""

    digests: Mapping[str, str]  # release -> inputs digest at the tip
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    before: str | None = None  # the tip compared with; None: the Releases themselves
    depends: Depends = field(default_factory=dict)
    meanwhile: tuple[str, ...] = ()  # releases that may have changed since the one that is brought was last


def push(tools: Tools, arguments: PushArguments) -> str:
    """Enqueue a sync for each release that this ref's tip changes."""
    asked_for = arguments.release is not None or arguments.allow_prune  # an operator's word is never dropped
    if not asked_for and not tools.ledger.is_newest(arguments.repository, arguments.ref, arguments.sequence):
        return "superseded by a later push of this ref"
    repository = tools.config.repository(arguments.repository)
    mirror = tools.mirror(repository)
    stages = Stages(tools.metrics)
    with stages("fetch"):
        tip = mirror.fetch(arguments.ref, deadline_seconds=FETCH_SECONDS)
    if tip is None:
        return f"{arguments.ref} is gone; releases are never removed by a branch delete"
    with stages("changes"):
        changes = changes_of(tools, repository, arguments, tip)
        commits = mirror.brought(tip, after=changes.before or "", limit=contained.LIMIT)
    with stages("enqueue"):
        contained.remember(tools.broker, repository.name, ref=arguments.ref, tip=tip, commits=commits)
        return _enqueue(tools, arguments, tip, changes)


def changes_of(tools: Tools, repository: Repository, arguments: PushArguments, tip: Revision) -> Changes:
    """Compare the inputs of every release of the ref with those last handled."""
    tree = tools.mirror(repository).tree(tip)
    environments = tools.config.environments_for(repository, arguments.ref)
    if arguments.release is not None:
        return _of_one(tools, tree, repository, arguments)
    digests: dict[str, str] = {}
    depends: dict[str, tuple[str, ...]] = {}
    for environment in environments:
        place = f"{environment.name}/"
        inputs = all_inputs_in(tools, tree, repository, environment)
        digests |= {place + name: one.digest for name, one in inputs.items()}
        for name, service in services_in(tree, repository, environment).items():
            if service.depends_on:
                depends[place + name] = tuple(place + one for one in service.depends_on)
    known = tools.views.handled(repository.name, arguments.ref)
    before = known if known is not None else _recorded(tools, repository, arguments.ref, environments)
    changed = tuple(name for name, digest in digests.items() if before.get(name) != digest)
    removed = tuple(sorted(before.keys() - digests.keys() - {TIP}))
    tip_before = known.get(TIP, "") if known is not None else None
    return Changes(digests=digests, changed=changed, removed=removed, before=tip_before, depends=depends)


def _of_one(tools: Tools, tree: Tree, repository: Repository, arguments: PushArguments) -> Changes:
    """One release alone: an operator's sync waits for nobody; one that was let go waits for what was pushed meanwhile."""
    assert arguments.release is not None
    name = ReleaseName.parse(arguments.release)
    changes = Changes(digests={}, changed=(arguments.release,), removed=())
    if arguments.trigger == Trigger.OPERATOR:
        return changes
    try:
        environment = environment_of(tools, repository, name, ref=arguments.ref)
        services = services_in(tree, repository, environment)
    except ConfigError:  # its sync finds the same, and records it at the release
        return changes
    service = services.get(name.service)
    if service is None or _is_at(tools, name, inputs_in(tools, tree, service, environment).digest):
        return changes
    after = tuple(f"{environment.name}/{one}" for one in service.depends_on)
    return replace(changes, depends={str(name): after}, meanwhile=after)


def _is_at(tools: Tools, name: ReleaseName, digest: str) -> bool:
    view = tools.views.get(name)
    return view is not None and view.status.get("inputsDigest") == digest


def _recorded(
    tools: Tools, repository: Repository, ref: str, environments: tuple[Environment, ...]
) -> dict[str, str]:
    """Inputs digests by the Releases themselves, when Redis knows nothing of this ref; they are shown again."""
    recorded, views = {}, []
    for environment in environments:
        for release in tools.records(environment).list(environment.namespace):
            status = release.status
            if status.repository == repository.name and status.environment == environment.name:
                name = ReleaseName(environment.name, release.name)
                is_known = status.ref == ref and not release.is_unfinished
                recorded[str(name)] = status.inputs_digest if is_known else ""
                views.append(
                    view_of(release, name, cluster=environment.cluster, namespace=environment.namespace)
                )
    tools.views.fill(views)
    return recorded


def _enqueue(tools: Tools, arguments: PushArguments, tip: Revision, changes: Changes) -> str:
    removed = changes.removed
    vanished = _vanished(changes, allowed=arguments.allow_prune)
    if vanished:
        removed = ()
    names = [*changes.changed, *removed]
    trigger = Trigger(arguments.trigger)
    queue = QueueName.SYNCS if arguments.release is None else QueueName.URGENT
    wanted = [_wanted(arguments, name, tip) for name in names]
    wishes = in_order(tools, wanted, changes.depends, removed, meanwhile=changes.meanwhile)
    calls = [sync_call(name, revision=tip, trigger=trigger, queue=queue) for name in names]

    def also(pipe: Pipe) -> None:
        remember(wishes, pipe=pipe)
        _handle(tools, arguments, tip, changes, removed, pipe=pipe)

    if not names and not vanished:
        tools.views.touch_nothing(arguments.repository, tip)
    tools.views.touch(arguments.repository, tip, names, "wanted")
    tools.queue.enqueue(
        calls,
        wishes,
        also=also,
        overtaken=lambda wish: _supersede(tools, wish, arguments, tip),
    )
    log.info(
        "push.enqueued",
        repository=arguments.repository,
        ref=arguments.ref,
        revision=tip,
        changed=len(changes.changed),
        removed=len(removed),
    )
    if vanished:
        raise vanished
    return f"{short(tip)}: {len(changes.changed)} changed, {len(removed)} removed of {len(changes.digests)} releases"


def _handle(
    tools: Tools,
    arguments: PushArguments,
    tip: Revision,
    changes: Changes,
    removed: Sequence[str],
    *,
    pipe: Pipe,
) -> None:
    """Remember what is enqueued; an operator's sync of one release handles none of what the push changes."""
    repository, ref = arguments.repository, arguments.ref
    if arguments.release is not None:
        return
    if changes.before is None:
        kept = {name: "" for name in changes.removed if name not in removed}  # until an operator's word
        tools.views.handle_first(repository, ref, {**kept, **changes.digests, TIP: tip}, pipe=pipe)
        return
    digests = {name: changes.digests[name] for name in changes.changed}
    tools.views.handle(repository, ref, {**digests, TIP: tip}, removed, before=changes.before, pipe=pipe)


def _supersede(tools: Tools, wish: Wanted, arguments: PushArguments, tip: Revision) -> None:
    """Tell a revision that it will not have its turn. Killed before this, it is shown as wanted; nothing else."""
    came_late = wish.sequence == arguments.sequence
    if came_late or (wish.repository, wish.revision) != (arguments.repository, tip):
        text = (
            f"{'a later push' if came_late else f'{short(tip)} of {arguments.repository}'} is wanted by now"
        )
        is_ours = not came_late and wish.repository == arguments.repository
        tools.views.supersede(
            wish.repository, wish.revision, wish.release, text=text, by=tip if is_ours else ""
        )


def _wanted(arguments: PushArguments, release: str, tip: Revision) -> Wanted:
    return Wanted(
        release=release,
        repository=arguments.repository,
        ref=arguments.ref,
        revision=tip,
        sequence=arguments.sequence,
        trigger=Trigger(arguments.trigger),
        delivery=arguments.delivery,
        operator=arguments.operator,
        received_at=arguments.received_at,
        full=arguments.release is not None and arguments.trigger == Trigger.OPERATOR,
        allow_prune=arguments.allow_prune,
    )


def _vanished(changes: Changes, *, allowed: bool) -> UnsafePrune | None:
    """An error when more releases vanish than one push may take along."""
    before = len(changes.removed) + len(changes.digests)
    many = len(changes.removed) > VANISH_COUNT and len(changes.removed) > VANISH_SHARE * before
    if allowed or not many:
        return None
    return UnsafePrune(
        f"{len(changes.removed)} of {before} releases are gone from Git in one push; none of them was removed",
        hint='if that is meant: POST /api/v1/repositories/<name>/push with "allowPrune": true (docs/api.md)',
        problems=[
            Problem(message="is not in the revision any more", object=name) for name in changes.removed
        ],
    )
