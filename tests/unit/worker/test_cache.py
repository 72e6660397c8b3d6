"""What a watcher keeps, told by what its watches show: lists, changes, deletions, pods and their owners."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from towline.shared.model import Health, ObjectKey
from towline.shared.objects import PART_OF
from towline.shared.watching import Selection
from towline.worker.cache import EVENTS_EACH, Cache
from towline.worker.health.workload import Workload

JOBS = Selection(group="batch", kind="Job", namespace="shop", labels=PART_OF)
DEPLOYMENTS = Selection(group="apps", kind="Deployment", namespace="shop", labels=PART_OF)
SECRETS = Selection(group="", kind="Secret", namespace="shop", labels=PART_OF, metadata_only=True)
PODS = Selection(group="", kind="Pod", namespace="shop")
REPLICA_SETS = Selection(group="apps", kind="ReplicaSet", namespace="shop")
EVENTS = Selection(group="", kind="Event", namespace="shop")


@pytest.fixture
def cache() -> Cache:
    return Cache(lambda set_id: {})


def raw(name: str, *, uid: str = "", version: int = 1, owner: str = "", **more: Any) -> msgspec.Raw:
    """An object of no kind, as lists hold them."""
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": uid or name,
        "resourceVersion": str(version),
        "labels": {PART_OF: "set"},
        "ownerReferences": [{"uid": owner, "controller": True}] if owner else [],
    }
    return msgspec.Raw(msgspec.json.encode({"metadata": metadata, **more}))


def key(kind: str, name: str, group: str = "") -> ObjectKey:
    return ObjectKey(group=group, kind=kind, namespace="shop", name=name)


def test_what_a_new_list_does_not_show_is_gone(cache: Cache):
    for name in ("a", "b"):
        cache.show(SECRETS, raw(name))

    cache.begin(SECRETS)
    cache.show(SECRETS, raw("b"))
    touched = cache.end(SECRETS, 20)

    assert set(cache.members) == {key("Secret", "b")}
    assert touched == {"set"}
    assert cache.gone_at(key("Secret", "a")) == 20


def test_an_object_in_a_list_is_known_to_be_so_as_of_the_list(cache: Cache):
    cache.show(SECRETS, raw("a", version=3), version=20)

    assert cache.members[key("Secret", "a")].version == 20


def test_the_deletion_of_an_older_object_of_a_name_leaves_the_newer_one(cache: Cache):
    cache.show(SECRETS, raw("a", uid="new"))

    cache.remove(SECRETS, raw("a", uid="old"))

    assert cache.members[key("Secret", "a")].uid == "new"


def test_of_a_kind_without_a_health_no_value_is_kept(cache: Cache):
    cache.show(SECRETS, raw("a"))

    seen = cache.members[key("Secret", "a")]
    assert (seen.verdict, seen.workload) == (None, None)


def test_a_job_removed_by_its_ttl_keeps_what_it_came_to(cache: Cache):
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    cache.show(JOBS, raw("migrate", status=ended))
    cache.show(JOBS, raw("running"))

    cache.remove(JOBS, raw("migrate", status=ended))
    cache.remove(JOBS, raw("running"))

    kept = cache.members[key("Job", "migrate", "batch")]
    assert kept.is_gone and kept.verdict is not None and kept.verdict.health is Health.HEALTHY
    assert key("Job", "running", "batch") not in cache.members


def rolling_out(cache: Cache) -> Workload:
    """A Deployment with a ReplicaSet and a pod, that came in an order of their own."""
    cache.show(PODS, raw("pod", owner="set-of-it"))
    cache.show(REPLICA_SETS, raw("set-of-it", owner="orders"))
    cache.show(DEPLOYMENTS, raw("orders", spec={"replicas": 1}))
    workload = cache.members[key("Deployment", "orders", "apps")].workload
    assert workload is not None
    return workload


def test_a_pods_change_touches_the_release_of_its_deployment(cache: Cache):
    workload = rolling_out(cache)

    touched = cache.show(PODS, raw("pod", owner="set-of-it", version=2))
    by_event = cache.show(EVENTS, event("e1", about="pod"))
    foreign = cache.show(PODS, raw("other", owner="somebody"))

    assert (touched, by_event, foreign) == ({"set"}, {"set"}, set())
    seen = cache.seen_of(workload)
    assert [one.name for one in seen.pods] == ["pod"]
    assert [one.metadata.name for one in seen.replica_sets] == ["set-of-it"]
    assert len(seen.events) == 1


def test_a_pod_that_is_gone_touches_it_too_and_is_forgotten(cache: Cache):
    workload = rolling_out(cache)

    touched = cache.remove(PODS, raw("pod", owner="set-of-it"))

    assert touched == {"set"}
    assert cache.seen_of(workload).pods == ()


def test_of_events_about_one_object_only_the_newest_are_kept(cache: Cache):
    workload = rolling_out(cache)

    for number in range(EVENTS_EACH + 5):
        cache.show(EVENTS, event(f"e{number}", about="pod"))

    names = [one.metadata.name for one in cache.seen_of(workload).events]
    assert len(names) == EVENTS_EACH
    assert names[-1] == f"e{EVENTS_EACH + 4}"


def test_what_is_watched_no_longer_takes_nothing_with_it_but_its_own(cache: Cache):
    workload = rolling_out(cache)
    cache.show(SECRETS, raw("a"))

    cache.forget(PODS)

    assert cache.seen_of(workload).pods == ()
    assert len(cache.members) == 2


def event(name: str, *, about: str) -> msgspec.Raw:
    return raw(name, involvedObject={"kind": "Pod", "uid": about}, reason="FailedMount")
