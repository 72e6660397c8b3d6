"""Stored revisions on a real API server."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from parts.a_release import OLDER, REVISION, claim, member
from parts.cluster_client import config_map

from towline.shared.cluster import Cluster
from towline.shared.errors import Conflict, NotFound, PolicyRefused
from towline.shared.model import Object
from towline.shared.objects import metadata_of
from towline.shared.records import Owner, Records
from towline.shared.release import ReleaseStatus
from towline.shared.stored_revisions import SECRET


def test_a_stored_revision_comes_back_and_is_owned_by_its_release(
    records: Records, owner: Owner, cluster: Cluster
):
    release = claim(records, owner)
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"a": "b"},
    }

    stored = records.store(release, REVISION, [config_map(owner.namespace), secret])

    assert records.load(release, stored) == [
        config_map(owner.namespace),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"a": "Yg=="}},
    ]
    found = cluster.get(SECRET, stored.name, owner.namespace)
    assert found is not None
    assert stored.name == f"towline.orders.{stored.sha256[:10]}"
    assert (found["type"], found["immutable"]) == ("towline.dev/revision", True)
    assert [one["uid"] for one in metadata_of(found)["ownerReferences"]] == [release.uid]


def test_storing_the_same_again_is_done_before(records: Records, owner: Owner):
    release = claim(records, owner)
    objects = [config_map(owner.namespace)]

    assert records.store(release, REVISION, objects) == records.store(release, REVISION, objects)


def test_a_revision_above_one_secret_is_kept_in_parts(records: Records, owner: Owner, cluster: Cluster):
    release = claim(records, owner)
    noise = random.Random(7)
    objects = [config_map(owner.namespace, f"c{n}", text=noise.randbytes(450_000).hex()) for n in range(5)]

    stored = records.store(release, REVISION, objects)

    assert len(stored.uids) == 3
    assert records.load(release, stored) == objects
    release = records.write_status(release, ReleaseStatus(stored=(stored,)))
    records.prune_stored(release, keep=[])
    assert cluster.list(SECRET, owner.namespace, labels="towline.dev/release=orders") == []


def test_what_somebody_put_in_the_place_of_a_stored_revision_is_not_used(
    records: Records, owner: Owner, cluster: Cluster
):
    # given a Secret that was deleted and made anew with the objects of an attacker
    release = claim(records, owner)
    good, bad = [config_map(owner.namespace)], [config_map(owner.namespace, mode="evil")]
    stored, other = records.store(release, REVISION, good), records.store(release, OLDER, bad)
    evil = cluster.get(SECRET, other.name, owner.namespace)
    assert evil is not None
    cluster.delete(SECRET, stored.name, owner.namespace, uid=stored.uids[0], resource_version="")
    metadata = {"name": stored.name, "namespace": owner.namespace}
    cluster.create({**evil, "metadata": metadata})

    # then it is not loaded, and storing again puts the right one there
    with pytest.raises(PolicyRefused, match="does not hold what was stored"):
        records.load(release, stored)
    assert records.load(release, records.store(release, REVISION, good)) == good


def test_a_secret_of_somebody_else_is_in_the_way_and_stays(records: Records, owner: Owner, cluster: Cluster):
    release = claim(records, owner)
    stored = records.store(release, REVISION, [config_map(owner.namespace)])
    cluster.delete(SECRET, stored.name, owner.namespace, uid=stored.uids[0], resource_version="")
    metadata = {"name": stored.name, "namespace": owner.namespace}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": "Yg=="}})

    with pytest.raises(Conflict, match="is in the way"):
        records.store(release, REVISION, [config_map(owner.namespace)])

    assert cluster.get(SECRET, stored.name, owner.namespace) is not None


def test_a_stored_revision_of_a_release_before_is_replaced(records: Records, owner: Owner):
    before = claim(records, owner)
    records.store(before, REVISION, [config_map(owner.namespace)])
    records.delete(before)
    after = claim(records, owner)

    stored = records.store(after, REVISION, [config_map(owner.namespace)])

    assert records.load(after, stored) == [config_map(owner.namespace)]


def test_a_stored_revision_that_is_gone_is_missing(records: Records, owner: Owner, cluster: Cluster):
    release = claim(records, owner)
    stored = records.store(release, REVISION, [config_map(owner.namespace)])
    cluster.delete(SECRET, stored.name, owner.namespace, uid=stored.uids[0], resource_version="")

    with pytest.raises(NotFound, match=f"revision {REVISION} is gone"):
        records.load(release, stored)


def test_only_what_is_neither_kept_nor_somebody_else_s_is_pruned(
    records: Records, owner: Owner, cluster: Cluster, requests: Counter[str]
):
    release = claim(records, owner)
    old, kept, orphan = (
        records.store(release, f"{n}" * 40, [config_map(owner.namespace, mode=str(n))]) for n in range(3)
    )
    release = records.write_status(release, ReleaseStatus(stored=(old, kept)))
    metadata = {"name": "theirs", "namespace": owner.namespace, "labels": {"towline.dev/release": "orders"}}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    def names() -> set[str]:
        return {metadata_of(one)["name"] for one in cluster.list(SECRET, owner.namespace)}

    requests.clear()
    records.prune_stored(release, keep=[kept])
    assert requests == {"delete": 1}
    assert names() == {kept.name, orphan.name, "theirs"}

    records.prune_stored(release, keep=[kept], search=True)
    assert names() == {kept.name, "theirs"}


def test_forgetting_a_release_leaves_its_objects(records: Records, owner: Owner, cluster: Cluster):
    release = claim(records, owner)
    applied = cluster.apply(member(owner))

    records.delete(release)

    assert records.read(owner.name, owner.namespace) is None
    assert cluster.get(cluster.resource_of(applied), "settings", owner.namespace) == applied
