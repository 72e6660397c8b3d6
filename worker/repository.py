"""What a revision means to one environment: its services, and the digest of each one's inputs.

State: the services of the last revisions are remembered by the id of their root. Every sync of a revision asks for them
to find its one service, which would cost each as much as there are services.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

from towline.shared.config import Environment, Repository
from towline.worker.inputs import Inputs, inputs_of
from towline.worker.remembered import Remembered
from towline.worker.services import Service, services_of, team_config_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree

REVISIONS = 8  # remembered a process: some environments of the revisions that are being deployed now

_Key = tuple[str, tuple[str, ...], str, str | None]
_SERVICES: Remembered[_Key, Mapping[str, Service]] = Remembered(REVISIONS)


def services_in(tree: Tree, repository: Repository, environment: Environment) -> Mapping[str, Service]:
    """The services of a revision in an environment. Raises ConfigError when the list cannot be trusted."""
    root = tree.entry("")
    if root is None or not root.id:
        return _services(tree, repository, environment)
    key = (root.id, repository.services, environment.name, environment.template)
    return _SERVICES.get(key, lambda: _services(tree, repository, environment))


def _services(tree: Tree, repository: Repository, environment: Environment) -> Mapping[str, Service]:
    return services_of(
        tree,
        team=team_config_of(tree),
        patterns=repository.services,
        environment=environment.name,
        template=environment.template,
    )


def inputs_in(tools: Tools, tree: Tree, service: Service, environment: Environment) -> Inputs:
    """The inputs of a service there, the operator's settings among them."""
    return inputs_of(
        tree, service, environment=environment.name, programs=tools.programs, settings=_settings(environment)
    )


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
