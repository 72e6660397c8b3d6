"""Takes over the fields of an object that kubectl wrote before it came to Towline.

In: an object new to a release and its live metadata. Out: nothing. State: the object's managedFields. Killed half-way: it
is one request, and the next sync takes the object over in the same way.

kubectl's client-side apply, create and replace leave fields to managers of their own. A field that was later taken out of
Git would stay for ever, held by them; so their entries become ours. `apply: merge` leaves them as they are: then fields
that people added by hand stay. The patch names the resourceVersion, so that nothing written meanwhile is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from towline.shared.cluster import Cluster
from towline.shared.controls import ApplyMode, apply_mode
from towline.shared.errors import ClusterError
from towline.shared.model import Object
from towline.shared.objects import MANAGER, metadata_of
from towline.worker.live import read_metadata
from towline.worker.policy import Placed

# https://github.com/kubernetes/client-go/blob/master/util/csaupgrade/upgrade.go does the same for kubectl itself.
KUBECTL = frozenset(
    {"kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace", "before-first-apply"}
)
ATTEMPTS = 4


def adopt(cluster: Cluster, item: Placed, live: Object) -> None:
    """Make kubectl's entries ours, where there are any. Raises ClusterError."""
    for _ in range(ATTEMPTS):
        entries = merged_entries(live) if apply_mode(item.object) is ApplyMode.OVERRIDE else None
        if entries is None:
            return
        version = metadata_of(live).get("resourceVersion")
        patch = {"metadata": {"managedFields": entries, "resourceVersion": version}}
        try:
            cluster.merge_patch(item.resource, item.key.name, item.key.namespace, patch)
            return
        except ClusterError as error:
            if error.code == 404:
                return
            if not error.retry:
                raise
        live = read_metadata(cluster, item.key) or {}


def merged_entries(live: Object) -> list[Mapping[str, Any]] | None:
    """The managedFields with kubectl's entries merged into ours; None where kubectl has none."""
    entries = [one for one in metadata_of(live).get("managedFields") or () if isinstance(one, dict)]
    theirs = [one for one in entries if _is_kubectl(one)]
    if not theirs:
        return None
    ours = [one for one in entries if _is_ours(one)]
    merged = {
        **(ours or theirs)[0],
        "manager": MANAGER,
        "operation": "Apply",
        "fieldsV1": _union([one.get("fieldsV1") for one in [*ours, *theirs]]),
    }
    return [merged, *(one for one in entries if one not in theirs and one not in ours)]


def _is_kubectl(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") in KUBECTL and not entry.get("subresource")


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource") or "") == (
        MANAGER,
        "Apply",
        "",
    )


def _union(trees: Sequence[Any]) -> dict[str, Any]:
    """FieldsV1 is a tree of empty leaves, so a union is that of the keys, all the way down."""
    known = [tree for tree in trees if isinstance(tree, dict)]
    return {name: _union([tree.get(name) for tree in known]) for name in _names(known)}


def _names(trees: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(name for tree in trees for name in tree)
