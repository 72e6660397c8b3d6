"""Ingresses and load balancers, and the controller that gives them addresses, which a test plays itself.

    cluster.apply(addressed("Ingress", namespace, "shop", of="public")); give_address(cluster, ...)

The tests' cluster is shared and nobody gives addresses in it, so each test needs a class of its own: its namespace's name.
"""

from __future__ import annotations

from typing import Any

from towline.shared.cluster import Cluster
from towline.shared.model import Object
from towline.shared.objects import key_of

ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}


def addressed(kind: str, namespace: str, name: str, *, of: str) -> Object:
    """An Ingress, or a Service of type LoadBalancer, of a class."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    balancer = {"type": "LoadBalancer", "loadBalancerClass": f"example.com/{of}", "ports": [{"port": 80}]}
    spec: dict[str, Any] = {"ingressClassName": of, "defaultBackend": backend}
    return {
        "apiVersion": "v1" if kind == "Service" else "networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": balancer if kind == "Service" else spec,
    }


def give_address(cluster: Cluster, object: Object) -> None:
    """Write an address into it, as its controller would."""
    key, resource = key_of(object), cluster.resource_of(object)
    cluster.merge_patch(resource, key.name, key.namespace, {"status": ADDRESS}, subresource="status")


def make_with_address(cluster: Cluster, object: Object) -> None:
    """Somebody else's object, which shows that a controller gives addresses to its class."""
    cluster.apply(object, manager="somebody-else")
    give_address(cluster, object)
