"""Waits, with deadlines, for what an API server does by itself: objects going away, CRDs and Namespaces being served.

In: keys of objects just written or deleted. Out: nothing, or an error that names what is not ready and why. No state.
The worker is held meanwhile, so every deadline is short: what takes longer ends the sync, and the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from towline.shared.cluster import Cluster
from towline.shared.errors import ClusterError, UnknownKind
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import metadata_of
from towline.worker.fields import mapping, mappings
from towline.worker.live import read_metadata

GONE_SECONDS = 5.0  # of an object: it is looked for again in a later try
RUN_GONE_SECONDS = 30.0  # of a hook's earlier run, which is not: a pod's usual grace period
SERVED_SECONDS = 20.0  # a CRD is served within 0.2 s on a healthy API server
TERMINATING = "Terminating"  # the reason of what is not gone in time
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5


def until(is_done: Callable[[], bool], *, seconds: float) -> bool:
    """Ask again with growing pauses; False when the time is up."""
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    while not is_done():
        if time.monotonic() + pause > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return True


def await_gone(cluster: Cluster, key: ObjectKey, *, uid: str, seconds: float = GONE_SECONDS) -> None:
    """Wait until this object is gone, or another one has its name. Raises ClusterError naming its finalizers."""
    last: Object = {}

    def is_gone() -> bool:
        nonlocal last
        live = read_metadata(cluster, key)
        last = live or {}
        return live is None or metadata_of(live).get("uid") != uid

    if not until(is_gone, seconds=seconds):
        finalizers = ", ".join(map(str, metadata_of(last).get("finalizers") or ())) or "none"
        raise ClusterError(
            f"{key} is being deleted and not gone yet (finalizers: {finalizers})",
            code=409,
            reason=TERMINATING,
            object=str(key),
            hint="find out who is to remove the finalizers",
        )


def await_served(
    cluster: Cluster, object: Object, key: ObjectKey, *, seconds: float = SERVED_SECONDS
) -> None:
    """Wait until a Namespace takes objects, or a CRD's kind is served. Raises ClusterError."""
    is_ready = _namespace_ready if key.kind == "Namespace" else _crd_ready
    if not is_ready(cluster, object, key) and not until(
        lambda: is_ready(cluster, cluster.get(cluster.resource_of(object), key.name) or {}, key),
        seconds=seconds,
    ):
        raise ClusterError(
            f"{key} is not served after {seconds:g} s",
            code=409,
            reason="NotServed",
            object=str(key),
            hint="`kubectl describe` of it says why in its conditions",
        )


def _namespace_ready(cluster: Cluster, live: Object, key: ObjectKey) -> bool:
    return mapping(live.get("status")).get("phase") == "Active"


def _crd_ready(cluster: Cluster, live: Object, key: ObjectKey) -> bool:
    conditions = mappings(mapping(live.get("status")).get("conditions"))
    if not any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions):
        return False
    spec = mapping(live.get("spec"))
    group, kind = str(spec.get("group")), str(mapping(spec.get("names")).get("kind"))
    try:  # established is not yet discovered: both are needed to write an object of the kind
        for version in mappings(spec.get("versions")):
            if version.get("served"):
                cluster.resource(f"{group}/{version.get('name')}", kind)
    except UnknownKind:
        return False
    return True
