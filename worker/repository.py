"""What a revision means to one environment: its services, and the digest of each one's inputs.

State: the services of the last revisions are remembered by the id of their root, since every sync of a revision asks for
them to find its one service; and what was found of the newest one, with which the next is compared. Most pushes edit
files and neither add nor remove any: then the services are the same, and only those are looked at that read such a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from towline.shared.config import Environment, Repository
from towline.shared.errors import GitError
from towline.worker.inputs import Inputs, inputs_of
from towline.worker.remembered import Remembered
from towline.worker.resolve import resolve
from towline.worker.services import TEAM_FILE, Renderer, Service, services_of, team_config_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree

REVISIONS = 8  # remembered a process: some environments of the revisions that are being deployed now
PLACES = 64  # of which the newest revision is remembered: repositories times environments

_Place = tuple[str, tuple[str, ...], str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    """The services of the revision with this root."""

    root: str
    services: Mapping[str, Service]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The inputs of these services in the revision with this root; `settings`: what else they depend on."""

    root: str
    services: Mapping[str, Service]
    settings: tuple[str, ...]
    inputs: Mapping[str, Inputs]


_SERVICES: Remembered[tuple[str, _Place], Mapping[str, Service]] = Remembered(REVISIONS)
_NEWEST: Remembered[_Place, _Newest] = Remembered(PLACES)
_INPUTS: Remembered[_Place, _Read] = Remembered(PLACES)


def services_in(tree: Tree, repository: Repository, environment: Environment) -> Mapping[str, Service]:
    """The services of a revision in an environment. Raises ConfigError when the list cannot be trusted."""
    root, place = _root(tree), _place(repository, environment)

    def found() -> Mapping[str, Service]:
        before = _NEWEST.known(place)
        is_same = before is not None and _lists_the_same(tree, before.root)
        services = before.services if before and is_same else _services(tree, repository, environment)
        _NEWEST.keep(place, _Newest(root=root, services=services))
        return services

    return _SERVICES.get((root, place), found)


def inputs_in(tools: Tools, tree: Tree, service: Service, environment: Environment) -> Inputs:
    """The inputs of a service there, the operator's settings among them."""
    return inputs_of(
        tree, service, environment=environment.name, programs=tools.programs, settings=_settings(environment)
    )


def all_inputs_in(
    tools: Tools, tree: Tree, repository: Repository, environment: Environment
) -> Mapping[str, Inputs]:
    """The inputs of every service there, by its name. Raises ConfigError when the services cannot be listed."""
    services, place = services_in(tree, repository, environment), _place(repository, environment)
    renderers = {service.renderer for service in services.values()} - {Renderer.PLAIN}
    settings = (_settings(environment), *(tools.programs.version(one) for one in sorted(renderers)))
    before = _INPUTS.known(place)
    if before is not None and before.services is services and before.settings == settings:
        known, stale = before.inputs, _touched(tree, before)
    else:
        known, stale = {}, services
    inputs = {**known, **{name: inputs_in(tools, tree, services[name], environment) for name in stale}}
    _INPUTS.keep(place, _Read(root=_root(tree), services=services, settings=settings, inputs=inputs))
    return inputs


def _root(tree: Tree) -> str:
    root = tree.entry("")
    assert root is not None  # whatever else is missing
    return root.id


def _place(repository: Repository, environment: Environment) -> _Place:
    return (repository.name, repository.services, environment.name, environment.template)


def _services(tree: Tree, repository: Repository, environment: Environment) -> Mapping[str, Service]:
    return services_of(
        tree,
        team=team_config_of(tree),
        patterns=repository.services,
        environment=environment.name,
        template=environment.template,
    )


def _lists_the_same(tree: Tree, root: str) -> bool:
    """Whether nothing decides otherwise on the services than in another revision: names of files and .towline.yaml do."""
    edited = tree.edited(root)
    if edited is None:
        return False
    try:
        team = resolve(tree, TEAM_FILE).entry
    except GitError:
        return False  # what is wrong with it is told by whoever reads it
    return team is None or team.path not in edited


def _touched(tree: Tree, before: _Read) -> Iterable[str]:
    """The services of which an edit since has changed a file; all, where it cannot be told."""
    edited = tree.edited(before.root)
    if edited is None:
        return before.services
    touched = edited.union(*(_folders_of(path) for path in edited))
    return [
        name
        for name, inputs in before.inputs.items()
        if before.services[name].path in touched or not edited.isdisjoint(inputs.paths)
    ]


def _folders_of(path: str) -> set[str]:
    """The folders that a path lies in, the root among them."""
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(len(parts))}


@lru_cache(maxsize=1024)  # the same for each of a thousand services
def _settings(environment: Environment) -> str:
    """What of an environment's configuration decides what is applied, and where."""
    parts = [
        environment.cluster,
        environment.namespace,
        environment.service_account,
        sorted(environment.allowed_kinds) if environment.allowed_kinds is not None else None,
        environment.allowed_namespaces,
        environment.cluster_scoped,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
