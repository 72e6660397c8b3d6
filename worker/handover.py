"""Objects that move from one service to another in one push: whom they may be taken from, and what is not deleted.

In: a state, its rendered objects and the survey of the cluster. Out: a Handover for the plan. An object changes hands
whichever of the two services is synced first: the new one may take what the old one no longer has in this revision, and the
old one leaves alone what another service of it, whose sync is still to come, is about to take.

Read only where an object carries another set's label, or one of ours is about to be deleted; then only the services are
rendered that are in question. No state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from towline.shared.errors import ClusterError, TowlineError
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import APPLYSET_ID, annotations_of, applied_entry, applyset_id, is_ours
from towline.shared.release import ENVIRONMENT, RELEASE, REPOSITORY
from towline.worker.hooks import divided, named
from towline.worker.plan import Handover, Survey, foreign_set
from towline.worker.policy import Placed, check
from towline.worker.render.render import render
from towline.worker.repository import inputs_in, services_in
from towline.worker.services import Service
from towline.worker.siblings import Names, names_in, to_come
from towline.worker.state import State
from towline.worker.tools import Tools


def handover(tools: Tools, state: State, placed: Sequence[Placed], survey: Survey) -> Handover:
    """What this release may take from others, and what others are about to take from it."""
    disputed: dict[str, set[ObjectKey]] = {}
    for item in placed:
        owner = foreign_set(survey.live.get(item.key), state.target.set_id)
        if owner:
            disputed.setdefault(owner, set()).add(item.key)
    taken = (owner for owner, keys in disputed.items() if _gives_up(tools, state, survey, owner, keys))
    leaving = _leaving(state, survey, wanted={item.key for item in placed})
    return Handover(taken=frozenset(taken), given=_given(tools, state, leaving) if leaving else {})


def _gives_up(tools: Tools, state: State, survey: Survey, owner: str, keys: set[ObjectKey]) -> bool:
    services = services_in(state.tree, state.repository, state.environment)
    namespace = state.environment.namespace
    named = {applyset_id(name, namespace): service for name, service in services.items()}
    if owner not in named:
        return _is_gone(state, owner, [survey.live[key] or {} for key in keys])
    kept = _rendered(tools, state, named[owner])
    return kept is not None and not keys & kept


def _rendered(tools: Tools, state: State, service: Service) -> set[ObjectKey] | None:
    """The keys of another service; None when it cannot be rendered, so that nothing is taken from it."""
    inputs = inputs_in(tools, state.tree, service, state.environment)
    name = state.environment.name
    try:
        rendered = render(state.tree, service, inputs, environment=name, programs=tools.programs)
        placed, _ = divided(check(named(rendered, ""), state.environment, state.target.cluster.resource))
        return {one.key for one in placed}
    except TowlineError as error:
        if error.retry:
            raise
        return None


def _is_gone(state: State, owner: str, objects: Sequence[Object]) -> bool:
    """Whether that set is of a service which this revision of this repository no longer has, or of no release at all.

    The latter is what a release leaves behind that was removed, or deleted by hand. A label without our mark in the
    managedFields was copied, or is another tool's, and says nothing.
    """
    try:
        found = state.target.cluster.list(RELEASE, labels=f"{APPLYSET_ID}={owner}", metadata_only=True)
    except ClusterError:  # not to be known: then it is somebody's
        return False
    if not found:
        return all(applied_entry(one) is not None for one in objects)
    return all(
        annotations_of(one).get(REPOSITORY) == state.repository.name
        and annotations_of(one).get(ENVIRONMENT) == state.environment.name
        for one in found
    )


def _leaving(state: State, survey: Survey, *, wanted: Collection[ObjectKey]) -> frozenset[ObjectKey]:
    """What would be deleted, as far as whose it is decides."""
    target = state.target
    return frozenset(
        key
        for key, live in survey.live.items()
        if key not in wanted
        and live is not None
        and is_ours(live, target.set_id, release_namespace=target.namespace)
    )


def _given(tools: Tools, state: State, leaving: frozenset[ObjectKey]) -> Mapping[ObjectKey, str]:
    """Which of these objects other services of the revision have, whose syncs are still to come, and which services."""
    given: dict[ObjectKey, str] = {}
    for service in to_come(tools, state):
        names = names_in(tools, state, service)
        if any(_may_be_in(names, key) for key in leaving):
            given |= dict.fromkeys(leaving & (_rendered(tools, state, service) or set()), service.name)
    return given


def _may_be_in(names: Names, key: ObjectKey) -> bool:
    """Whether files with these names can make the object: its name, or what is left without a prefix and a suffix."""
    parts = key.name.split("-")
    ends = range(1, len(parts) + 1)
    return any((key.kind, "-".join(parts[start:end])) in names for end in ends for start in range(end))
