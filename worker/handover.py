"""An object that moves from one service to another in one push: whose set it leaves, and whether that is so.

In: a state, its rendered objects and the survey of the cluster. Out: the ids of the sets that give objects up in this
revision. Read only where an object carries another set's label, which is rare: then the other service is rendered too.
"""

from __future__ import annotations

from collections.abc import Sequence

from towline.shared.errors import TowlineError
from towline.shared.model import ObjectKey
from towline.shared.objects import APPLYSET_ID, annotations_of, applyset_id
from towline.shared.release import ENVIRONMENT, RELEASE, REPOSITORY
from towline.worker.plan import Survey, foreign_set
from towline.worker.policy import Placed, check
from towline.worker.render.render import render
from towline.worker.repository import inputs_in, services_in
from towline.worker.services import Service
from towline.worker.state import State
from towline.worker.tools import Tools


def handover(tools: Tools, state: State, placed: Sequence[Placed], survey: Survey) -> frozenset[str]:
    """The other sets whose objects this release may take over, since their service no longer has them."""
    disputed: dict[str, set[ObjectKey]] = {}
    for item in placed:
        owner = foreign_set(survey.live.get(item.key), state.target.set_id)
        if owner:
            disputed.setdefault(owner, set()).add(item.key)
    return frozenset(owner for owner, keys in disputed.items() if _gives_up(tools, state, owner, keys))


def _gives_up(tools: Tools, state: State, owner: str, keys: set[ObjectKey]) -> bool:
    services = services_in(state.tree, state.repository, state.environment)
    namespace = state.environment.namespace
    named = {applyset_id(name, namespace): service for name, service in services.items()}
    if owner not in named:
        return _is_gone_from_here(state, owner)
    kept = _rendered(tools, state, named[owner])
    return kept is not None and not keys & kept


def _rendered(tools: Tools, state: State, service: Service) -> set[ObjectKey] | None:
    """The keys of another service; None when it cannot be rendered, so that nothing is taken from it."""
    inputs = inputs_in(tools, state.tree, service, state.environment)
    name = state.environment.name
    try:
        rendered = render(state.tree, service, inputs, environment=name, programs=tools.programs)
        return {one.key for one in check(rendered, state.environment, state.target.cluster.resource)}
    except TowlineError as error:
        if error.retry:
            raise
        return None


def _is_gone_from_here(state: State, owner: str) -> bool:
    """Whether that set is of a service which this revision of this repository no longer has."""
    found = state.target.cluster.list(
        RELEASE, state.environment.namespace, labels=f"{APPLYSET_ID}={owner}", metadata_only=True
    )
    return bool(found) and all(
        annotations_of(one).get(REPOSITORY) == state.repository.name
        and annotations_of(one).get(ENVIRONMENT) == state.environment.name
        for one in found
    )
