"""Reads what a plan needs to know of the cluster, as metadata only, in one round of parallel requests.

In: what is wanted and what was recorded. Out: a Survey. Read are: objects new to the release (whose are they?), objects
that leave it (are they ours, may they go?), in a full pass all of them; and, where the last attempt never wrote its
record, everything that carries the set's label. For a sync that changed nothing in Git nothing is read. No state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from towline.shared.cluster import Cluster
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError, PlanRefused, Problem, UnknownKind
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import (
    ADDITIONAL_NAMESPACES,
    APPLYSET_ID,
    CONTAINS_GROUP_KINDS,
    PART_OF,
    key_of,
    metadata_of,
)
from towline.shared.release import RELEASE, AppliedObject, Release
from towline.worker.parallel import in_parallel
from towline.worker.plan import Intent, Survey, foreign_set, needs_reading
from towline.worker.policy import Placed
from towline.worker.target import Target

METHOD_NOT_ALLOWED = 405


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Where objects of the set may be, as its Release says: kinds (`Deployment.apps`) and namespaces beside its own."""

    group_kinds: frozenset[str]
    namespaces: frozenset[str]


def listing_of(release: Release | None) -> Listing | None:
    """Where to look for objects that no record names; None where the last attempt wrote its record."""
    if release is None or not release.is_unfinished:
        return None
    return Listing(
        group_kinds=_words(release.annotations.get(CONTAINS_GROUP_KINDS)),
        namespaces=_words(release.annotations.get(ADDITIONAL_NAMESPACES)),
    )


def _words(text: str | None) -> frozenset[str]:
    return frozenset(word for word in (text or "").split(",") if word)


def prepare(
    target: Target,
    desired: Sequence[Placed],
    recorded: Sequence[AppliedObject],
    *,
    intent: Intent,
    listing: Listing | None = None,
) -> Survey:
    """Read what decides; `listing` only where the last attempt did not finish.

    Raises PlanRefused with every object that may not be read, ClusterDown, and ClusterError for a list.
    """
    records = {record.key: record for record in recorded}
    full = intent.full or listing is not None
    places: dict[ObjectKey, Resource | None] = {
        item.key: item.resource
        for item in desired
        if needs_reading(item, records.get(item.key), full=full, restore=intent.restore)
    }
    wanted = {item.key for item in desired}
    places |= {key: _served(target.deployer, key) for key in records if key not in wanted}
    live: dict[ObjectKey, Object | None] = {}
    if listing is not None:
        live |= _listed(target, listing)
    unread = {key: place for key, place in places.items() if key not in live}
    answers = dict(_read(target.deployer, unread))
    items = {item.key: item for item in desired}
    _refuse_unreadable(answers, items)
    live |= {key: answer for key, answer in answers.items() if not isinstance(answer, ClusterError)}
    return Survey(live=live, owners=_owners(target, live.values()), is_unfinished=listing is not None)


def read_metadata(cluster: Cluster, key: ObjectKey) -> Object | None:
    """The metadata of one object, in whatever version; None when it, or its kind, is gone."""
    resource = _served(cluster, key)
    return cluster.get(resource, key.name, key.namespace, metadata_only=True) if resource else None


def _read(
    cluster: Cluster, places: Mapping[ObjectKey, Resource | None]
) -> Iterator[tuple[ObjectKey, Object | ClusterError | None]]:
    def read(key: ObjectKey) -> Object | ClusterError | None:
        resource = places[key]
        try:
            return cluster.get(resource, key.name, key.namespace, metadata_only=True) if resource else None
        except ClusterError as error:
            return error

    keys = list(places)
    return zip(keys, in_parallel(read, keys), strict=True)


def _refuse_unreadable(
    answers: Mapping[ObjectKey, Object | ClusterError | None], items: Mapping[ObjectKey, Placed]
) -> None:
    problems = [
        items[key].problem(answer.message)
        if key in items
        else Problem(message=answer.message, object=str(key))
        for key, answer in answers.items()
        if isinstance(answer, ClusterError)
    ]
    if problems:
        raise PlanRefused(
            f"{len(problems)} of the objects cannot be read, so nobody can say whose they are",
            hint="the environment's service account needs get, list, create, patch and delete for its kinds",
            problems=problems,
        )


def _served(cluster: Cluster, key: ObjectKey) -> Resource | None:
    try:
        return cluster.preferred(key.group, key.kind)
    except UnknownKind:
        return None  # the kind is gone, and its objects with it


def _listed(target: Target, listing: Listing) -> Iterator[tuple[ObjectKey, Object]]:
    """Everything with the set's label: each kind in each namespace, cluster-scoped kinds once."""
    kinds = [_served(target.deployer, _key_of_kind(name)) for name in sorted(listing.group_kinds)]
    namespaces = sorted({target.namespace, *listing.namespaces})
    places = [
        (resource, namespace)
        for resource in kinds
        if resource is not None
        for namespace in (namespaces if resource.namespaced else [""])
    ]

    def read(place: tuple[Resource, str]) -> list[Object]:
        resource, namespace = place
        labels = f"{PART_OF}={target.set_id}"
        try:
            return target.deployer.list(resource, namespace, labels=labels, metadata_only=True)
        except ClusterError as error:
            if error.code != METHOD_NOT_ALLOWED:
                raise
            return []  # a question, as SubjectAccessReview is: nothing of the kind is ever kept

    for objects in in_parallel(read, places):
        yield from ((key_of(object), object) for object in objects)


def _key_of_kind(group_kind: str) -> ObjectKey:
    kind, _, group = group_kind.partition(".")
    return ObjectKey(group=group, kind=kind, namespace="", name="")


def _owners(target: Target, live: Iterable[Object | None]) -> Mapping[str, str]:
    """The names of other sets, for a message; asked as ourselves, since teams cannot read every Release."""
    foreign = {owner for object in live if (owner := foreign_set(object, target.set_id))}
    return {owner: _release_of(target.cluster, owner) for owner in sorted(foreign)}


def _release_of(cluster: Cluster, set_id: str) -> str:
    try:
        found = cluster.list(RELEASE, labels=f"{APPLYSET_ID}={set_id}", metadata_only=True)
    except ClusterError:  # only a name for a message is missing then
        return f"the set {set_id}"
    for release in found:
        metadata = metadata_of(release)
        return f"release {metadata.get('namespace')}/{metadata.get('name')}"
    return f"the set {set_id}"
