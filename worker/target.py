"""Where a release is written, and in whose name.

In: a cluster, an environment, a service. Out: a Target. No state, no requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from towline.shared.cluster import Cluster
from towline.shared.config import Environment
from towline.shared.objects import applyset_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One release in its cluster.

    `cluster` acts as Towline itself and is for the Release alone; `deployer` acts as the environment's service account
    and does everything to the objects of the release, reading too, so that a commit gets no right that account lacks.
    """

    cluster: Cluster
    deployer: Cluster
    environment: Environment
    service: str
    set_id: str

    @property
    def namespace(self) -> str:
        """The namespace of the Release, and of objects that name none."""
        return self.environment.namespace


def target_of(cluster: Cluster, environment: Environment, service: str) -> Target:
    """The target of a release. Raises ConfigError where the service account's name cannot be one."""
    return Target(
        cluster=cluster,
        deployer=_deployer(cluster, environment),
        environment=environment,
        service=service,
        set_id=applyset_id(service, environment.namespace),
    )


def _deployer(cluster: Cluster, environment: Environment) -> Cluster:
    if environment.service_account is None:
        return cluster
    return cluster.acting_as(f"system:serviceaccount:{environment.namespace}:{environment.service_account}")
