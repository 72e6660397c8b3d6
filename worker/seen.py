"""Reads what a cluster shows of one workload: its pods, its ReplicaSets, and Events where they could tell more.

In: a workload. Out: a Seen for the rules in worker/health/pods.py. Each list is one request of bounded size, side by side;
nothing is written. Raises ClusterDown, and ClusterError where the account may not list them or the answer is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from towline.shared.cluster import Cluster
from towline.shared.cluster_session import Request
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError
from towline.shared.model import ObjectKey
from towline.worker.health.case import Seen
from towline.worker.health.pod import Event, EventList, Pod, PodList, ReplicaSetList
from towline.worker.health.pods import asked_about
from towline.worker.health.workload import Workload
from towline.worker.parallel import in_parallel

PODS = 500  # of a workload; who has more is judged by the first
REPLICA_SETS = 100  # a Deployment keeps 10 old ones by default
EVENTS = 100  # about one object, of which an API server keeps those of the last hour

POD = Resource(group="", version="v1", kind="Pod", plural="pods", namespaced=True)
REPLICA_SET = Resource(group="apps", version="v1", kind="ReplicaSet", plural="replicasets", namespaced=True)
EVENT = Resource(group="", version="v1", kind="Event", plural="events", namespaced=True)

_PODS = msgspec.json.Decoder(PodList)
_REPLICA_SETS = msgspec.json.Decoder(ReplicaSetList)
_EVENTS = msgspec.json.Decoder(EventList)

Listed = TypeVar("Listed")


def seen_of(cluster: Cluster, workload: Workload) -> Seen:
    """The pods and ReplicaSets of a workload, of every revision; no Events yet."""
    if workload.kind != "Deployment":
        return _pods(cluster, workload)
    pods, sets = in_parallel(lambda read: read(cluster, workload), [_pods, _replica_sets])
    return replace(pods, replica_sets=sets.replica_sets)


def with_events(cluster: Cluster, workload: Workload, seen: Seen) -> Seen:
    """The same with the Events about what is not clear without them."""
    namespace = workload.key.namespace
    uids = asked_about(workload, seen)
    found = in_parallel(lambda uid: events_of(cluster, namespace, uid=uid), uids)
    return replace(seen, events=tuple(one for events in found for one in events))


def events_of(cluster: Cluster, namespace: str, **involved: str) -> tuple[Event, ...]:
    """The Events about an object, by these fields of `involvedObject`: its uid, or its kind and name."""
    fields = ",".join(f"involvedObject.{name}={value}" for name, value in involved.items())
    query = {"limit": str(EVENTS), "fieldSelector": fields}
    return _listed(cluster, EVENT, namespace, query, _EVENTS.decode).items or ()


def pod_of(cluster: Cluster, key: ObjectKey) -> Pod | None:
    """One pod, None when it is gone."""
    query = {"limit": "1", "fieldSelector": f"metadata.name={key.name}"}
    found = _listed(cluster, POD, key.namespace, query, _PODS.decode).items
    return found[0] if found else None


def _pods(cluster: Cluster, workload: Workload) -> Seen:
    key = workload.key
    query = {"limit": str(PODS)}
    if key.kind == "Pod":
        query["fieldSelector"] = f"metadata.name={key.name}"
    elif workload.selector:
        query["labelSelector"] = workload.selector
    else:
        return Seen()
    return Seen(pods=_listed(cluster, POD, key.namespace, query, _PODS.decode).items or ())


def _replica_sets(cluster: Cluster, workload: Workload) -> Seen:
    query = {"limit": str(REPLICA_SETS), "labelSelector": workload.selector}
    found = _listed(cluster, REPLICA_SET, workload.key.namespace, query, _REPLICA_SETS.decode)
    return Seen(replica_sets=found.items or ())


def _listed(
    cluster: Cluster,
    resource: Resource,
    namespace: str,
    query: Mapping[str, str],
    decode: Callable[[bytes], Listed],
) -> Listed:
    request = Request(verb="list", method="GET", path=resource.path(namespace=namespace), query=query)
    body = cluster.read(request)
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ClusterError(
            f"list {resource.plural} in {namespace}: the answer is not of that form", code=200
        ) from error
