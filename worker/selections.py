"""What a watcher watches: only kinds that releases contain, only in namespaces of environments. Pure.

In: the Releases that are known, and the configuration. Out: Selections. Members are selected by the label of their
ApplySet; those whose kind has no health of its own by their metadata alone, so that no value of a Secret is ever read.
Beside workloads, what shows how their pods do: Pods, ReplicaSets, and Events but for those that tell of everyday work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from towline.shared.config import Config, Environment
from towline.shared.config_values import BRANCH
from towline.shared.model import ReleaseName
from towline.shared.objects import (
    ADDITIONAL_NAMESPACES,
    CONTAINS_GROUP_KINDS,
    GROUP,
    PART_OF,
)
from towline.shared.release import ENVIRONMENT, RELEASE, Release
from towline.shared.watching import Selection
from towline.worker.decision import to_judge
from towline.worker.health.verdict import has_health
from towline.worker.health.workload import WORKLOADS

POD = ("", "Pod")
REPLICA_SET = ("apps", "ReplicaSet")
EVENT = ("", "Event")

# Reasons of Events that say that all goes well: six for each pod that starts.
EVERYDAY = (
    "Scheduled",
    "Pulling",
    "Pulled",
    "Created",
    "Started",
    "Killing",
    "SuccessfulCreate",
    "SuccessfulDelete",
    "ScalingReplicaSet",
)
EVENT_FIELDS = ",".join(f"reason!={reason}" for reason in EVERYDAY)


def environment_of(config: Config, cluster: str, release: Release) -> Environment | None:
    """The environment of a Release in this cluster as the configuration has it now, None for somebody else's."""
    name = name_of(release).environment
    fixed = config.environments.get(name)
    if fixed is not None:
        return fixed if (fixed.cluster, fixed.namespace) == (cluster, release.namespace) else None
    made = [
        one
        for one in config.templates.values()
        if one.cluster == cluster
        and name.startswith(f"{one.name}-")
        and _fits(release.namespace, one.namespace)
    ]
    return max(made, key=lambda one: len(one.name), default=None)


def name_of(release: Release) -> ReleaseName:
    """The name of a release, known from its first claim on."""
    environment = release.annotations.get(ENVIRONMENT) or release.status.environment
    return ReleaseName(environment, release.name)


def user_of(environment: Environment, namespace: str) -> str:
    """In whose name the objects of an environment are read: the account that applied them, "" for our own."""
    if environment.service_account is None:
        return ""
    return f"system:serviceaccount:{namespace}:{environment.service_account}"


def release_selections(namespaces: Iterable[str] | None) -> set[Selection]:
    """The Releases of the whole cluster, or (where we may not see that) of these namespaces."""
    places = [""] if namespaces is None else sorted(set(namespaces))
    return {Selection(group=GROUP, kind=RELEASE.kind, namespace=place) for place in places}


def member_selections(release: Release, environment: Environment) -> Iterator[Selection]:
    """Everything that belongs to one release."""
    user = user_of(environment, release.namespace)
    rules = release.status.verification.health
    for group, kind, namespace in _places(release):
        yield Selection(
            group=group,
            kind=kind,
            namespace=namespace,
            user=user,
            labels=PART_OF,
            metadata_only=not has_health(group, kind, rules=rules),
        )
        if (group, kind) in WORKLOADS:
            yield Selection(group=POD[0], kind=POD[1], namespace=namespace, user=user)
            yield Selection(
                group=EVENT[0], kind=EVENT[1], namespace=namespace, user=user, fields=EVENT_FIELDS
            )
        if (group, kind) == ("apps", "Deployment"):
            yield Selection(group=REPLICA_SET[0], kind=REPLICA_SET[1], namespace=namespace, user=user)


def _places(release: Release) -> set[tuple[str, str, str]]:
    """Group, kind and namespace of what the release holds; while a sync runs, also of what it is about to apply."""
    status = release.status
    places = {(one.group, one.kind, one.namespace) for one in (*status.objects, *to_judge(status))}
    if release.is_unfinished:
        more = _words(release.annotations.get(ADDITIONAL_NAMESPACES))
        for word in _words(release.annotations.get(CONTAINS_GROUP_KINDS)):
            kind, _, group = word.partition(".")
            if not any((group, kind) == place[:2] for place in places):
                places |= {(group, kind, namespace) for namespace in (release.namespace, *more)}
    return places


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").split(",") if word]


def _fits(namespace: str, pattern: str) -> bool:
    before, _, after = pattern.partition(BRANCH)
    return (
        len(namespace) > len(before) + len(after)
        and namespace.startswith(before)
        and namespace.endswith(after)
    )
