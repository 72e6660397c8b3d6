"""One microservice, synced by the engine against a real API server, with its record in memory.

A `Service` does what a sync job does between rendering and recording (policy, survey, plan, dry run, apply, prune), so that
a test says only what is wanted and looks at the cluster. `requests` counts what was sent, by verb.

    def test_something(service):
        service.sync(config_map("settings", {"a": "1"}))
        assert service.live("ConfigMap", "settings")["data"] == {"a": "1"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from towline.shared.cluster import Cluster
from towline.shared.config import Environment
from towline.shared.model import Object
from towline.shared.prune_limit import USUAL
from towline.shared.release import AppliedObject
from towline.worker.apply import Applied, apply
from towline.worker.dry_run import dry_run
from towline.worker.live import Listing, prepare
from towline.worker.plan import Intent, Plan, make_plan
from towline.worker.policy import Placed, check
from towline.worker.prune import Pruned, prune, recorded_after
from towline.worker.render.rendered import Rendered
from towline.worker.target import Target, target_of


def environment_of(namespace: str, **settings: Any) -> Environment:
    """An environment that allows everything, but for `settings`."""
    usual = Environment(
        name="staging",
        cluster="local",
        namespace=namespace,
        service_account=None,
        allowed_kinds=None,
        allowed_namespaces=(),
        cluster_scoped=True,
        max_prune=USUAL,
        prune_kinds=frozenset(),
        create_namespace=True,
        unverified=False,
        drift=None,
        ttl_seconds=None,
    )
    return replace(usual, **settings)


def rendered(*objects: Object) -> list[Rendered]:
    """Objects as if each came from the first line of a file of its own."""
    return [Rendered(object=one, file=f"deploy/{index}.yaml", line=1) for index, one in enumerate(objects)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What one sync did."""

    plan: Plan
    applied: Applied
    pruned: Pruned | None


def no_claim() -> None:
    """Nobody else wants the release."""


@dataclass
class Service:
    """One release and its record."""

    cluster: Cluster
    environment: Environment
    requests: Counter[str]
    name: str = "orders"
    recorded: tuple[AppliedObject, ...] = ()
    claim: Callable[[], None] = no_claim
    before_apply: Callable[[], object] = no_claim
    before_prune: Callable[[], object] = no_claim

    @property
    def target(self) -> Target:
        """Where this release is written."""
        return target_of(self.cluster, self.environment, self.name)

    def place(self, *objects: Object) -> tuple[Placed, ...]:
        """The objects as the policy lets them through."""
        return check(rendered(*objects), self.environment, self.cluster.resource) if objects else ()

    def plan(self, *objects: Object, intent: Intent | None = None, listing: Listing | None = None) -> Plan:
        """The checked plan; nothing is written."""
        intent = intent or Intent()
        placed = self.place(*objects)
        survey = prepare(self.target, placed, self.recorded, intent=intent, listing=listing)
        plan = make_plan(
            placed,
            self.recorded,
            survey,
            environment=self.environment,
            set_id=self.target.set_id,
            intent=intent,
        )
        return dry_run(self.target, plan)

    def sync(self, *objects: Object, intent: Intent | None = None, listing: Listing | None = None) -> Synced:
        """Bring the release to these objects, and remember what is applied."""
        plan = self.plan(*objects, intent=intent, listing=listing)
        self.before_apply()
        applied = apply(self.target, plan, claim=self.claim)
        self.before_prune()
        pruned = None if applied.problems else prune(self.target, plan, claim=self.claim)
        self.recorded = recorded_after(plan, applied, pruned)
        return Synced(plan=plan, applied=applied, pruned=pruned)

    def another(self, name: str) -> Service:
        """Another release in the same environment."""
        return Service(cluster=self.cluster, environment=self.environment, requests=self.requests, name=name)

    def live(self, kind: str, name: str, *, api_version: str = "v1", namespace: str = "") -> Object | None:
        """An object as it is in the cluster."""
        resource = self.cluster.resource(api_version, kind)
        place = (namespace or self.environment.namespace) if resource.namespaced else ""
        return self.cluster.get(resource, name, place)


@pytest.fixture
def service(cluster: Cluster, requests: Counter[str], namespace: str) -> Service:
    """A release in a namespace of its own; kinds are known already, so that only its own requests are counted."""
    cluster.resource("v1", "ConfigMap")
    requests.clear()
    return Service(cluster=cluster, environment=environment_of(namespace), requests=requests)


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {},
    }


def deployment(name: str, *, image: str = "example.com/app:1", **spec: Any) -> Object:
    """A Deployment of no replicas, so that nothing has to run."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def plain_service(name: str) -> Object:
    """A Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }


def service_account(name: str) -> Object:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def ingress(name: str) -> Object:
    """An Ingress of its own host."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": [{"host": f"{name}.example.com", "http": {"paths": [path]}}]},
    }


def four_objects(name: str, *, image: str = "example.com/app:1") -> Sequence[Object]:
    """What a usual microservice consists of."""
    return [deployment(name, image=image), service_account(name), plain_service(name), ingress(name)]
