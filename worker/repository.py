"""What a revision means to one environment: its services, and the digest of each one's inputs."""

from __future__ import annotations

import hashlib
import json

from towline.shared.config import Environment, Repository
from towline.worker.inputs import Inputs, inputs_of
from towline.worker.services import Service, services_of, team_config_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree


def services_in(tree: Tree, repository: Repository, environment: Environment) -> dict[str, Service]:
    """The services of a revision in an environment. Raises ConfigError when the list cannot be trusted."""
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
