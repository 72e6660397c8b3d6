"""Stored revisions: the rendered objects of a revision in immutable Secrets beside the Release that owns them.

In: a Release, objects. Out: StoredRevision, and objects that are exactly those that were stored. State: Secrets of type
`towline.dev/revision`, named `towline.<service>.<first 10 digits of the content>`, further parts with -2, -3 behind it;
they are deleted with their Release. Values are never logged, and a server's messages about them are masked.

Killed half-way: storing again finds what is there; what no status names is found by `prune(search=True)`.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

from towline.shared.cluster import Cluster
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError, Conflict, NotFound
from towline.shared.model import Object
from towline.shared.objects import GROUP, MANAGER, is_terminating, metadata_of
from towline.shared.release import RELEASE, Release, StoredRevision
from towline.shared.stored_objects import pack, unpack

RELEASE_LABEL = f"{GROUP}/release"
REVISION_TYPE = f"{GROUP}/revision"
DATA_KEY = "objects.json.gz"

SECRET = Resource(group="", version="v1", kind="Secret", plural="secrets", namespaced=True)


class StoredRevisions:
    """The stored revisions of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def store(self, release: Release, revision: str, objects: Sequence[Object]) -> StoredRevision:
        """Store the rendered objects of a revision beside the release; done before is fine. Raises Refused: too large.

        Written before anything is applied: from then on the attempt can be carried on, or rolled back to.
        """
        packed = pack(objects)
        stored = StoredRevision(
            revision=revision,
            name=f"towline.{release.name}.{packed.sha256[:10]}",
            sha256=packed.sha256,
            uids=("",) * len(packed.parts),
        )
        uids = []
        for name, part in zip(stored.part_names(), packed.parts, strict=True):
            uids.append(self._store_part(release, _secret(release, stored, name, part)))
        return stored.model_copy(update={"uids": tuple(uids)})

    def _store_part(self, release: Release, secret: Object) -> str:
        try:
            return _uid(self._cluster.create(secret))
        except ClusterError as error:
            if error.reason != "AlreadyExists":
                raise
        found = self._cluster.get(SECRET, secret["metadata"]["name"], release.namespace)
        if found is not None and _is_same(found, secret):
            return _uid(found)
        if found is not None:
            self._make_room(release, found)
        return _uid(self._cluster.create(secret))

    def _make_room(self, release: Release, found: Object) -> None:
        """Delete what a Release before this one left behind, or what was tampered with; the name names the content."""
        name = str(metadata_of(found).get("name"))
        if found.get("type") != REVISION_TYPE:
            raise Conflict(
                f"Secret {release.namespace}/{name} is in the way: it is not one of Towline's",
                hint="somebody made it: look at who may write Secrets in that namespace, then delete it",
            )
        self._cluster.delete(SECRET, name, release.namespace, uid=_uid(found), resource_version="")

    def load(self, release: Release, stored: StoredRevision) -> list[Object]:
        """The objects of a stored revision. Raises NotFound, and PolicyRefused when they are not what was stored."""
        parts = []
        for name in stored.part_names():
            found = self._cluster.get(SECRET, name, release.namespace)
            if found is None:
                raise NotFound(f"Secret {release.namespace}/{name} with revision {stored.revision} is gone")
            parts.append(_part(found))
        return unpack(parts, sha256=stored.sha256, name=f"{release.namespace}/{stored.name}")

    def prune(self, release: Release, keep: Collection[StoredRevision], *, search: bool = False) -> None:
        """Delete the stored revisions that the status names and `keep` does not.

        With `search` also those that no status names, which an attempt that did not finish left behind.
        """
        names = {name for one in keep for name in one.part_names()}
        gone = {
            name: uid
            for one in release.status.stored
            for name, uid in zip(one.part_names(), one.uids, strict=True)
            if name not in names
        }
        if search:
            labels = f"{RELEASE_LABEL}={release.name}"
            found = self._cluster.list(SECRET, release.namespace, labels=labels, metadata_only=True)
            gone |= {
                name: _uid(one)
                for one in found
                if _owned_by(one, release) and (name := metadata_of(one)["name"]) not in names
            }
        for name, uid in gone.items():
            self._delete_part(release, name, uid)

    def _delete_part(self, release: Release, name: str, uid: str) -> None:
        try:
            self._cluster.delete(SECRET, name, release.namespace, uid=uid, resource_version="")
        except ClusterError as error:
            if error.code != 409:  # another Secret has that name by now, and stays
                raise


def _secret(release: Release, stored: StoredRevision, name: str, part: bytes) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": REVISION_TYPE,
        "immutable": True,
        "metadata": {
            "name": name,
            "namespace": release.namespace,
            "labels": {RELEASE_LABEL: release.name, "app.kubernetes.io/managed-by": MANAGER},
            "annotations": {f"{GROUP}/revision": stored.revision, f"{GROUP}/sha256": stored.sha256},
            "ownerReferences": [
                {
                    "apiVersion": RELEASE.api_version,
                    "kind": RELEASE.kind,
                    "name": release.name,
                    "uid": release.uid,
                }
            ],
        },
        "data": {DATA_KEY: base64.b64encode(part).decode("ascii")},
    }


def _is_same(found: Object, secret: Object) -> bool:
    """Whether a Secret found in the place of ours is ours, from an attempt before."""
    return (
        found.get("type") == REVISION_TYPE
        and found.get("immutable") is True
        and found.get("data") == secret["data"]
        and metadata_of(found).get("ownerReferences") == secret["metadata"]["ownerReferences"]
        and not is_terminating(found)
    )


def _owned_by(secret: Object, release: Release) -> bool:
    return any(owner.get("uid") == release.uid for owner in metadata_of(secret).get("ownerReferences") or ())


def _part(secret: Object) -> bytes:
    data = (secret.get("data") or {}).get(DATA_KEY)
    try:
        return base64.b64decode(data or "", validate=True)
    except ValueError:
        return b""


def _uid(object: Object) -> str:
    return str(metadata_of(object).get("uid") or "")
