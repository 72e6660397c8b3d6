"""The other services of a revision whose syncs are still to come, and what they are about to bring.

In: a state. Out: services, what their files name, and the objects that passed the policy. State: what a service's files
name is remembered by the revision. Asked only when something is deleted, changes hands, or is of a kind that is not served.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from towline.shared.discovery import Resource
from towline.shared.errors import PolicyRefused, Unavailable, UnknownKind
from towline.shared.model import ReleaseName
from towline.shared.objects import group_of
from towline.worker.policy import Placed, check
from towline.worker.remembered import Remembered
from towline.worker.render.origins import Origins
from towline.worker.render.rendered import Rendered
from towline.worker.repository import inputs_in, services_in
from towline.worker.services import Service
from towline.worker.state import State
from towline.worker.tools import Tools

Names = frozenset[tuple[str, str]]  # kind and name, as they stand in files

_NAMES: Remembered[tuple[str, str, str], Names] = Remembered(16_384)


def to_come(tools: Tools, state: State) -> Iterator[Service]:
    """The other services of the revision in this environment for which something is still to be done."""
    services = services_in(state.tree, state.repository, state.environment)
    releases = {
        str(ReleaseName(state.environment.name, name)): service
        for name, service in services.items()
        if name != state.name.service
    }
    with tools.broker.guard():
        waiting = tools.queue.wishes.outstanding(list(releases))
    return (service for release, service in releases.items() if release in waiting)


def names_in(tools: Tools, state: State, service: Service) -> Names:
    """Kind and name of what looks like an object in a service's files, found without rendering it."""

    def read() -> Names:
        inputs = inputs_in(tools, state.tree, service, state.environment)
        return Origins(state.tree, service.path, inputs.paths).names()

    root = state.tree.entry("")
    if root is None or not root.id:
        return read()
    return _NAMES.get((root.id, state.environment.name, service.name), read)


def checked(tools: Tools, state: State, rendered: Sequence[Rendered]) -> tuple[Placed, ...]:
    """The objects as the environment allows them. Raises PolicyRefused, ClusterDown.

    Raises Unavailable where a kind is missing whose group a CustomResourceDefinition of another service is in, and that
    one's sync is still to come: an operator and what it is to run may be pushed together, as services of their own.
    """
    missing: set[str] = set()

    def resource(api_version: str, kind: str) -> Resource:
        try:
            return state.target.cluster.resource(api_version, kind)
        except UnknownKind:
            missing.add(group_of(api_version))
            raise

    try:
        return check(rendered, state.environment, resource)
    except PolicyRefused as error:
        makers = sorted(s.name for s in to_come(tools, state) if _defines(names_in(tools, state, s), missing))
        if not missing or not makers:
            raise
        raise Unavailable(
            f"kinds of {', '.join(sorted(missing))} are not served yet; {', '.join(makers)} of this revision brings them",
            hint="this is tried again by itself",
        ) from error


def _defines(names: Names, groups: set[str]) -> bool:
    return any(
        kind == "CustomResourceDefinition" and name.partition(".")[2] in groups for kind, name in names
    )
