"""The record in the cluster: the Release of a service, the Secrets with its stored revisions, its Events.

In: names and values. Out: Release, StoredRevision, objects. State: Release resources (and their ApplySet labels and
annotations), Secrets of type `towline.dev/revision`, Events, namespaces that are made for environments.

Killed half-way: a claim without the status that belongs to it shows as `Release.is_unfinished`; a stored revision without
a status that names it is found by `prune_stored(search=True)`; every call may be made again.

One sync at a time: a claim writes a token into the Release, with its resourceVersion as precondition; whoever finds another
token there has lost it. So a worker that was paused past its lock writes neither objects nor status.
"""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from towline import __version__
from towline.shared.cluster import Cluster
from towline.shared.errors import ClusterError, Conflict
from towline.shared.installation import ensure_crd, ensure_namespace
from towline.shared.model import Object, ReleaseName
from towline.shared.objects import (
    ADDITIONAL_NAMESPACES,
    APPLYSET_ID,
    CONTAINS_GROUP_KINDS,
    TOOLING,
    annotations_of,
    applyset_id,
    group_kind,
    labels_of,
    metadata_of,
)
from towline.shared.release import (
    CLAIM,
    ENVIRONMENT,
    MESSAGE_LENGTH,
    RELEASE,
    REPOSITORY,
    Release,
    ReleaseStatus,
    StoredRevision,
    cut,
    release_of,
    status_to_write,
)
from towline.shared.stored_revisions import StoredRevisions

APPLYSET_MANAGER = "towline-applyset"  # KEP-3659: the parent's own fields are not the members'
TOOL = "towline"

STATUS_TRIES = 4  # an operator may write the spec between our read and our write


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose release it is: one name cannot belong to two repositories or environments."""

    name: ReleaseName
    namespace: str
    repository: str


class Records:
    """The record of one cluster, written as Towline itself, never in the name of an environment's user."""

    def __init__(self, cluster: Cluster, *, history: int = 10) -> None:
        self._cluster = cluster
        self._history = history
        self._revisions = StoredRevisions(cluster)

    def read(self, name: ReleaseName, namespace: str) -> Release | None:
        """The Release of a service, None when there is none (or no CRD yet)."""
        found = self._cluster.get(RELEASE, name.service, namespace)
        return release_of(found) if found is not None else None

    def list(self, namespace: str = "") -> builtins.list[Release]:
        """All Releases of a namespace, or of the cluster; none where the CRD is not installed yet."""
        try:
            return [release_of(found) for found in self._cluster.list(RELEASE, namespace)]
        except ClusterError as error:
            if error.code != 404:
                raise
            return []

    def claim(
        self,
        owner: Owner,
        release: Release | None,
        *,
        token: str,
        group_kinds: Iterable[str],
        namespaces: Iterable[str],
        pin: str = "",
    ) -> Release:
        """Take a release for one attempt, in one request; made when `release`, as it was read, is None.

        `pin`: the revision that it is to stay at from now on, "" where its pin stays what it is.

        `group_kinds` (`Deployment.apps`) and `namespaces` are those about to be applied; the ApplySet's annotations also
        keep those of the objects before, until a later claim finds them gone. Raises Conflict: claimed by another
        attempt since it was read, or it belongs to another repository, environment or tool.
        """
        annotations = _annotations(owner, release, token, set(group_kinds), set(namespaces))
        if release is None:
            return self._create(owner, annotations)
        check_owner(owner, release)
        try:
            written = self._cluster.replace(_claimed(release, annotations, pin), manager=APPLYSET_MANAGER)
        except ClusterError as error:
            if error.code not in (404, 409):
                raise
            raise _lost_claim(str(owner.name)) from error
        return release_of(written, is_held=True)

    def _create(self, owner: Owner, annotations: dict[str, str | None]) -> Release:
        name, namespace = owner.name.service, owner.namespace
        body = {
            "apiVersion": RELEASE.api_version,
            "kind": RELEASE.kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {APPLYSET_ID: applyset_id(name, namespace)},
                "annotations": {key: text for key, text in annotations.items() if text is not None},
            },
            "spec": {},
        }
        try:
            return release_of(self._cluster.create(body, manager=APPLYSET_MANAGER), is_held=True)
        except ClusterError as error:
            if error.code != 409:
                raise
            raise _lost_claim(str(owner.name)) from error

    def set_spec(self, release: Release, **spec: bool | str) -> Release:
        """Write an operator's word, `suspended` or `pinned`, and nothing else. Raises Conflict when it was deleted."""
        patch = {"metadata": {"uid": release.uid}, "spec": spec}
        try:
            written = self._cluster.merge_patch(RELEASE, release.name, release.namespace, patch)
        except ClusterError as error:
            if error.code not in (404, 409):
                raise
            raise _lost_claim(f"{release.namespace}/{release.name}") from error
        return release_of(written, is_held=release.is_held)

    def still_claimed(self, release: Release) -> bool:
        """Whether nobody claimed the release since; asked before each phase that writes."""
        found = self._cluster.get(RELEASE, release.name, release.namespace, metadata_only=True)
        if found is None or metadata_of(found).get("uid") != release.uid:
            return False
        return annotations_of(found).get(CLAIM) == release.claim

    def write_status(self, release: Release, status: ReleaseStatus) -> Release:
        """Put this status in the place of the one there. Raises Conflict when somebody else claimed the release.

        Written by the attempt that claimed it, it says that the attempt is finished; written by others, who may do so
        while nobody else writes it (a refusal, a verdict), it leaves that as it is.
        """
        for _ in range(STATUS_TRIES):
            body = {
                "apiVersion": RELEASE.api_version,
                "kind": RELEASE.kind,
                "metadata": {
                    "name": release.name,
                    "namespace": release.namespace,
                    "uid": release.uid,
                    "resourceVersion": release.resource_version,
                },
                "status": status_to_write(status, release, history=self._history, now=datetime.now(UTC)),
            }
            try:
                written = self._cluster.replace(body, subresource="status")
                return release_of(written, is_held=release.is_held)
            except ClusterError as error:
                if error.code not in (404, 409):
                    raise
                release = self._read_again(release, error)
        raise Conflict(f"Release {release.namespace}/{release.name} is written by others all the time")

    def _read_again(self, release: Release, cause: ClusterError) -> Release:
        """The release at its newest resourceVersion, while it is still as we know it, but for an operator's edit.

        That one is still to be carried out, so the generation stays the one that we know.
        """
        found = self._cluster.get(RELEASE, release.name, release.namespace)
        newest = release_of(found) if found is not None else None
        if newest is None or newest.uid != release.uid or newest.claim != release.claim:
            raise _lost_claim(f"{release.namespace}/{release.name}") from cause
        if not release.is_held and newest.status != release.status:
            raise _lost_claim(f"{release.namespace}/{release.name}") from cause
        return replace(newest, is_held=release.is_held, generation=release.generation)

    def delete(self, release: Release) -> None:
        """Forget a release: its Secrets go with it, its objects do not. Another one of that name stays."""
        try:
            self._cluster.delete(
                RELEASE, release.name, release.namespace, uid=release.uid, resource_version=""
            )
        except ClusterError as error:
            if error.code != 409:
                raise

    def store(self, release: Release, revision: str, objects: Sequence[Object]) -> StoredRevision:
        """Store the rendered objects of a revision beside the release; see `StoredRevisions.store`."""
        return self._revisions.store(release, revision, objects)

    def load(self, release: Release, stored: StoredRevision) -> builtins.list[Object]:
        """The objects of a stored revision; see `StoredRevisions.load`."""
        return self._revisions.load(release, stored)

    def prune_stored(
        self, release: Release, keep: Collection[StoredRevision], *, search: bool = False
    ) -> None:
        """Delete the stored revisions that are not kept; see `StoredRevisions.prune`."""
        self._revisions.prune(release, keep, search=search)

    def event(self, release: Release, *, reason: str, message: str, type: str = "Normal") -> None:
        """A Kubernetes Event on the Release, as `kubectl describe rel` shows it. `type` is Normal or Warning."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # core/v1 and not events.k8s.io: it alone has the times that `kubectl get events` prints.
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{release.name}.{uuid.uuid4().hex[:16]}", "namespace": release.namespace},
            "involvedObject": {
                "apiVersion": RELEASE.api_version,
                "kind": RELEASE.kind,
                "name": release.name,
                "namespace": release.namespace,
                "uid": release.uid,
            },
            "reason": reason,
            "message": cut(message, MESSAGE_LENGTH),
            "type": type,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": TOOL},
        }
        self._cluster.create(body)

    def ensure_namespace(self, name: str, *, environment: str) -> None:
        """Make the namespace of an environment when it is missing. Raises Unavailable while it is being deleted."""
        ensure_namespace(self._cluster, name, environment=environment)

    def ensure_crd(self) -> None:
        """Install or update the Release CRD and wait until it is served; one that we may not write is used as it is."""
        ensure_crd(self._cluster)


def _annotations(
    owner: Owner, release: Release | None, token: str, group_kinds: set[str], namespaces: set[str]
) -> dict[str, str | None]:
    """The claim, and what the ApplySet covers: what is about to be applied and what may be there already."""
    before = release.annotations if release is not None else {}
    if release is not None:
        group_kinds |= {group_kind(one.key) for one in release.status.objects}
        namespaces |= {one.namespace for one in release.status.objects}
        if release.is_unfinished:
            group_kinds |= _words(before.get(CONTAINS_GROUP_KINDS))
            namespaces |= _words(before.get(ADDITIONAL_NAMESPACES))
    return {
        CLAIM: token,
        REPOSITORY: owner.repository,
        ENVIRONMENT: owner.name.environment,
        TOOLING: f"{TOOL}/v{__version__}",
        CONTAINS_GROUP_KINDS: ",".join(sorted(group_kinds)),
        ADDITIONAL_NAMESPACES: ",".join(sorted(namespaces - {owner.namespace, ""})) or None,
    }


def _claimed(release: Release, annotations: dict[str, str | None], pin: str) -> Object:
    """A Release as it was read, with these annotations and this pin; put in its place, it takes an API server less than a patch."""
    merged = {**release.annotations, **annotations}
    # Left out, they stay as they are; sent, an API server reads them once more.
    metadata = {name: value for name, value in metadata_of(release.rest).items() if name != "managedFields"}
    claimed = {
        **release.rest,
        "apiVersion": RELEASE.api_version,
        "kind": RELEASE.kind,
        "metadata": {
            **metadata,
            "resourceVersion": release.resource_version,
            "annotations": {name: text for name, text in merged.items() if text is not None},
            "labels": {**labels_of(release.rest), APPLYSET_ID: applyset_id(release.name, release.namespace)},
        },
    }
    return {**claimed, "spec": {**claimed.get("spec", {}), "pinned": pin}} if pin else claimed


def _words(text: str | None) -> set[str]:
    return {word for word in (text or "").split(",") if word}


def check_owner(owner: Owner, release: Release) -> None:
    """One name, two owners is an error that names both. Raises Conflict."""
    repository = release.annotations.get(REPOSITORY) or release.status.repository
    environment = release.annotations.get(ENVIRONMENT) or release.status.environment
    tool = release.annotations.get(TOOLING, TOOL)
    if tool.partition("/")[0] != TOOL:
        raise Conflict(
            f"Release {release.namespace}/{release.name} was handed over to {tool[:80]}",
            hint=f"remove its annotation {TOOLING} to take it back",
        )
    ours = (owner.repository, owner.name.environment)
    theirs = (repository or owner.repository, environment or owner.name.environment)
    if ours != theirs:
        raise Conflict(
            f"Release {release.namespace}/{release.name} belongs to repository {theirs[0]}, environment {theirs[1]}; "
            f"it is claimed by repository {ours[0]}, environment {ours[1]}",
            hint="rename one of the services, or give one of the environments a namespace of its own",
        )


def _lost_claim(name: str) -> Conflict:
    return Conflict(f"release {name} was claimed by another attempt, or deleted, in the meantime")
