"""Workloads whose pods fail on the tests' control plane as real ones do, only faster: kwok plays them (data/kwok).

    cluster.apply(workload(namespace, "cart", fails=Fails.IMAGE))

The logs of every container are `RUNNING_LINES`, and those of its run before `CRASHED_LINES` (parts/control_plane.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from towline.shared.model import Object

FAILS = "tests.towline.dev/fails"
IMAGE = "example.com/cart:9"
GROUPS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"}


class Fails(StrEnum):
    """How a pod fails, as the stages of data/kwok/failing.yaml call it."""

    IMAGE = "image"  # ErrImagePull, then ImagePullBackOff
    CRASH = "crash"  # restarted twice, in CrashLoopBackOff
    CRASH_ONCE = "crash-once"  # restarted once, then ready
    MEMORY = "memory"  # OOMKilled, restarted twice
    CONFIG = "config"  # CreateContainerConfigError: the Secret `db` is not there
    MOUNT = "mount"  # stays in ContainerCreating; the Events are the test's
    READY = "ready"  # runs, and is never ready
    INIT = "init"  # its init container crashes
    END = "end"  # ends with exit code 7, for a Job
    EVICTED = "evicted"  # its node evicts it


def workload(
    namespace: str,
    name: str,
    *,
    kind: str = "Deployment",
    fails: Fails | None = None,
    pod: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """A workload of one pod that fails so, or runs well; `pod` and `spec` add to the pods' spec and its own."""
    labels = {"app": name}
    container = {"name": "main", "image": IMAGE}
    pods: dict[str, Any] = {"containers": [container]}
    if fails is Fails.INIT:
        pods["initContainers"] = [{**container, "name": "migrate"}]
    usual: dict[str, Any] = {} if kind in ("DaemonSet", "Job") else {"replicas": 1}
    if kind == "StatefulSet":
        usual["serviceName"] = name
    if kind == "Job":
        pods["restartPolicy"] = "Never"
        usual["backoffLimit"] = 0
    else:
        usual["selector"] = {"matchLabels": labels}
    metadata = {"labels": labels, "annotations": {FAILS: fails.value} if fails else {}}
    return {
        "apiVersion": GROUPS[kind],
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**usual, "template": {"metadata": metadata, "spec": {**pods, **(pod or {})}}, **spec},
    }


def made_ill(fails: Fails | None) -> str:
    """A patch by which the pods of a workload that is there fail so, or run well again."""
    annotations = {FAILS: fails.value if fails else None}
    return json.dumps({"spec": {"template": {"metadata": {"annotations": annotations}}}})
