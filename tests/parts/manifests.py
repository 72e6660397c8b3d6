"""Manifests of small services, as text, for repositories of tests."""

from __future__ import annotations


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


def several(*texts: str) -> str:
    """One file of several documents."""
    return "---\n".join(texts)
