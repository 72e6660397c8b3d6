"""In which order the objects of a release are written and deleted: pure.

In: keys and objects. Out: stages; what is in one stage is written in parallel, and a stage begins when the one before
has ended. A stage costs a round trip, so there is a barrier only where something would otherwise be refused or start
wrongly:

    foundation  Namespaces, CRDs: what is in them, or of their kind, is a 404 before; awaited until served
    grants      classes and roles: the API server refuses a binding to a role that is not there, and admission a pod
                or volume of a class that is not there
    inputs      accounts, bindings, quotas, policies, ConfigMaps, Secrets, Services, volumes: a pod that starts before
                them is refused, runs without its limits or network policy, or starts with old values
    workloads   everything else; an Ingress, an HPA or a custom resource may be there before its target, so they go along
    gates       admission webhooks and policies, aggregated APIs: they would judge, or break, the writes before them

The usual kind order inside a stage is the order of sending only. A service of Deployment, ServiceAccount, Service and
Ingress takes two round trips when all is new, and one when only the Deployment changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import groupby
from typing import TypeVar

from towline.shared.controls import wave
from towline.shared.model import Object, ObjectKey

Item = TypeVar("Item")


class Rank(IntEnum):
    """Which stage of its wave an object belongs to."""

    FOUNDATION = 0
    GRANTS = 1
    INPUTS = 2
    WORKLOADS = 3
    GATES = 4


# After Flux and Argo CD; kinds that are not named come after these, in their own stage.
KINDS: dict[Rank, tuple[str, ...]] = {
    Rank.FOUNDATION: ("Namespace", "CustomResourceDefinition"),
    Rank.GRANTS: (
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
        "VolumeSnapshotClass",
        "IngressClass",
        "GatewayClass",
        "ClusterRole",
        "Role",
    ),
    Rank.INPUTS: (
        "ResourceQuota",
        "LimitRange",
        "NetworkPolicy",
        "ServiceAccount",
        "ClusterRoleBinding",
        "RoleBinding",
        "Secret",
        "ConfigMap",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "EndpointSlice",
        "Endpoints",
    ),
    Rank.WORKLOADS: (
        "DaemonSet",
        "Pod",
        "ReplicationController",
        "ReplicaSet",
        "Deployment",
        "StatefulSet",
        "Job",
        "CronJob",
        "HorizontalPodAutoscaler",
        "Ingress",
    ),
    Rank.GATES: (
        "APIService",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ),
}

_PLACES = {kind: (rank, index) for rank, kinds in KINDS.items() for index, kind in enumerate(kinds)}
_LAST = 100  # behind every named kind of a stage


def is_built_in(group: str) -> bool:
    """Whether a group is Kubernetes' own: no dot, or a name under k8s.io, which only its projects may use."""
    return "." not in group or group.endswith(".k8s.io")


def rank_of(key: ObjectKey) -> Rank:
    """The stage of a kind; kinds of others are workloads, also when they are named like one of Kubernetes' own."""
    return _place(key)[0]


def kind_order(key: ObjectKey) -> tuple[Rank, int, str, str, str, str]:
    """Sorts by stage, then as usual, then so that it is always the same."""
    return (*_place(key), key.group, key.kind, key.namespace, key.name)


def _place(key: ObjectKey) -> tuple[Rank, int]:
    if not is_built_in(key.group):
        return Rank.WORKLOADS, _LAST
    return _PLACES.get(key.kind, (Rank.WORKLOADS, _LAST))


def stages(items: Iterable[Item], *, of: Callable[[Item], tuple[ObjectKey, Object]]) -> list[list[Item]]:
    """Everything to be written, in stages: by wave, but Namespaces and CRDs before every wave."""

    def place(item: Item) -> tuple[int, int]:
        key, object = of(item)
        rank = rank_of(key)
        return (0, 0) if rank is Rank.FOUNDATION else (1, wave(object))

    ordered = sorted(items, key=lambda item: (*place(item), kind_order(of(item)[0])))
    return [
        list(stage) for _, stage in groupby(ordered, key=lambda item: (*place(item), rank_of(of(item)[0])))
    ]


def waves(items: Iterable[Item], *, of: Callable[[Item], tuple[ObjectKey, Object]]) -> list[int]:
    """The waves of these items in order; Namespaces and CRDs come before every wave, and are in none."""
    return sorted({wave(object) for key, object in map(of, items) if rank_of(key) is not Rank.FOUNDATION})


def deletion_stages(items: Iterable[Item], *, key: Callable[[Item], ObjectKey]) -> list[list[Item]]:
    """Everything to be deleted, in the opposite order."""
    ordered = sorted(items, key=lambda item: kind_order(key(item)), reverse=True)
    return [list(stage) for _, stage in groupby(ordered, key=lambda item: rank_of(key(item)))]
