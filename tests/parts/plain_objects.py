"""Plain objects for the tests that hold the demo's API to a real one.

cluster.apply(config_map(place, a="1"))
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.shared.cluster import Cluster
from towline.shared.model import Object


def config_map(place: str, name: str = "settings", **data: str) -> Object:
    """A ConfigMap with these data."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": place},
        "data": data,
    }


def labelled(place: str, name: str, value: str) -> Object:
    """A ConfigMap with the label `set`."""
    metadata = {"name": name, "namespace": place, "labels": {"set": value}}
    return {**config_map(place, name, a="1"), "metadata": metadata}


def deployment(place: str, *, replicas: int = 0, env: Iterable[str] = (), label: str = "app") -> Object:
    """A Deployment of no pods; `label`: of its pods, which `app` alone selects."""
    container = {"name": "app", "image": "example.com/app:1", "env": [{"name": n, "value": "1"} for n in env]}
    template = {"metadata": {"labels": {"app": label}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": place},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "app"}}, "template": template},
    }


def live(cluster: Cluster, object: Object) -> Object | None:
    """The object as the cluster has it, None when it has it not."""
    metadata = object["metadata"]
    return cluster.get(cluster.resource_of(object), metadata["name"], metadata["namespace"])
