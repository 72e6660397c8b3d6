"""The services that the bench deploys: each a Deployment of 0 replicas, a ServiceAccount, a Service and an Ingress.

The same work as in the published benchmarks of other tools, so that figures can be put side by side.
"""

from __future__ import annotations

from typing import Any

import yaml

Object = dict[str, Any]


def names(services: int) -> list[str]:
    """The services of a run."""
    return [f"service-{number:04d}" for number in range(services)]


def path_of(name: str) -> str:
    """The file of a service in the repository."""
    return f"services/{name}/app.yaml"


def manifest(name: str, version: int) -> str:
    """The file of a service; a new version changes the image of its Deployment and nothing else."""
    return yaml.safe_dump_all(objects(name, version))


def objects(name: str, version: int) -> list[Object]:
    """The four objects of a service."""
    labels = {"app.kubernetes.io/name": name}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "labels": labels}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    return [account, service, _deployment(name, labels, version), _ingress(name, labels)]


def _deployment(name: str, labels: dict[str, str], version: int) -> Object:
    container = {
        "name": "main",
        "image": f"registry.example.com/{name}:{version}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"serviceAccountName": name, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def _ingress(name: str, labels: dict[str, str]) -> Object:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": labels},
        "spec": {"rules": [{"host": f"{name}.example.com", "http": {"paths": [path]}}]},
    }
