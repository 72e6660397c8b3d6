"""Asks a cluster to whom addresses are given, when an object of a release has none; at most once a minute.

In: a class of Ingresses or load balancers. Out: whether one of that class, anywhere in the cluster, has an address. It is
asked as Towline itself, since the account of an environment sees its own namespace only. A cluster that does not answer
in time, or does not allow it, has told nothing new: then what was told before counts, and at first that nobody gives any.

State: the last answers, in memory, shared by the threads of a process. Killed at any line nothing is left.
"""

from __future__ import annotations

import threading
import time

import structlog

from towline.shared.cluster import PAGE_SIZE, Cluster
from towline.shared.cluster_session import Request
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterDown, ClusterError
from towline.worker.health.surroundings import INGRESS, SERVICE, AddressClass, classes_with_address

KNOWN_SECONDS = 60.0
ASK_SECONDS = 2.0  # a watcher does nothing else meanwhile

INGRESSES = Resource(
    group="networking.k8s.io", version="v1", kind=INGRESS, plural="ingresses", namespaced=True
)
SERVICES = Resource(group="", version="v1", kind=SERVICE, plural="services", namespaced=True)
# What is listed, and by which fields narrowed down: the first page is evidence enough.
LISTS = {INGRESS: (INGRESSES, {}), SERVICE: (SERVICES, {"fieldSelector": "spec.type=LoadBalancer"})}

log = structlog.get_logger(__name__)


class Addresses:
    """Who gives addresses in one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._known: dict[str, frozenset[AddressClass]] = {}
        self._until: dict[str, float] = {}

    def gives(self, one: AddressClass) -> bool:
        """Whether somebody gives addresses to this class, as far as is known; never raises."""
        with self._lock:
            if time.monotonic() >= self._until.get(one.kind, 0.0):
                self._ask(one.kind)
                self._until[one.kind] = time.monotonic() + KNOWN_SECONDS
            return one in self._known.get(one.kind, ())

    def _ask(self, kind: str) -> None:
        resource, fields = LISTS[kind]
        request = Request(
            verb="list",
            method="GET",
            path=resource.path(),
            query={"limit": str(PAGE_SIZE), **fields},
            read_seconds=ASK_SECONDS,
            is_hasty=True,
        )
        try:
            items = self._cluster.request(request).get("items")
        except (ClusterDown, ClusterError) as error:
            log.warning("addresses.unknown", kind=kind, error=error.message, hint=error.hint)
            return
        objects = [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
        self._known[kind] = classes_with_address(kind, objects)
