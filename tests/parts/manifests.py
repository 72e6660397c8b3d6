"""Manifests of small services, as text, for repositories of tests."""

from __future__ import annotations

from typing import Any

import yaml


def config_map(name: str, **data: str) -> str:
    """A ConfigMap."""
    lines = "".join(f'  {key}: "{value}"\n' for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{lines or '  a: b'}\n"


def deployment(name: str, *, image: str = "example.com/app:1", replicas: int = 0, label: str = "") -> str:
    """A Deployment; with another `label` its selector does not match its pods, which every API server refuses."""
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {label or name}}}
    spec:
      containers:
        - name: app
          image: {image}
"""


def annotated(manifest: str, **annotations: str) -> str:
    """The manifest with annotations of Towline's, `wave="1"` for `towline.dev/wave`; `_` stands for `-`."""
    object = yaml.safe_load(manifest)
    named = {f"towline.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    object["metadata"].setdefault("annotations", {}).update(named)
    return yaml.safe_dump(object)


def in_wave(wave: int, manifest: str) -> str:
    """The manifest in a wave."""
    return annotated(manifest, wave=str(wave))


def job(name: str, *, when: str = "pre-sync", fails: bool = False, **annotations: str) -> str:
    """A hook that ends well, or one that fails as soon as a Job can."""
    spec = {"restartPolicy": "Never", "containers": [{"name": "app", "image": "example.com/job:1"}]}
    object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"template": {"spec": spec}},
    }
    if fails:
        object["spec"] = {
            "activeDeadlineSeconds": 1,
            "template": {"spec": {**spec, "nodeSelector": {"example.com/nowhere": "yes"}}},
        }
    return annotated(yaml.safe_dump(object), hook=when)


def nowhere(workload: str) -> str:
    """The workload with pods that never start: no node has what they ask for. The deadline is Kubernetes' shortest."""
    object = yaml.safe_load(workload)
    object["spec"]["progressDeadlineSeconds"] = 1
    object["spec"]["template"]["spec"]["nodeSelector"] = {"example.com/nowhere": "yes"}
    return yaml.safe_dump(object)


def several(*texts: str) -> str:
    """One file of several documents."""
    return "---\n".join(texts)


def definition(group: str, kind: str) -> dict[str, Any]:
    """A CustomResourceDefinition of a namespaced kind that takes any field, as an object."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    plural = f"{kind.lower()}s"
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
