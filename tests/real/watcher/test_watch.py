"""A watcher on a real API server and a real Redis, without any worker or clock: what it asks for, and when."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.addressed import addressed, give_address, make_with_address
from parts.api_proxy import ApiProxy
from parts.eventually import eventually
from parts.manifests import definition
from parts.watched import Watched, deployment, settings

from towline.shared.config import ClusterConfig
from towline.shared.jobs import QueueName
from towline.shared.metrics import DRIFT
from towline.shared.model import DriftMode, Health, Object, ObjectKey, Phase
from towline.shared.objects import key_of
from towline.shared.release import RELEASE, AppliedObject, Verification
from towline.shared.watchers import Watchers
from towline.worker.watch import Watcher

NEVER_SCHEDULED = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}


def is_idle(watcher: Watcher) -> bool:
    """Everything is known and judged."""
    return watcher.is_watching and watcher.is_complete and not watcher.dirty


def stuck(name: str = "orders") -> Object:
    """A Deployment whose pods wait for ever; a test gives them what a kubelet would say."""
    object = deployment(name)
    object["spec"]["template"]["spec"] |= NEVER_SCHEDULED
    return object


def say(watched: Watched, pod: Object, **waiting: str) -> None:
    """What a kubelet writes of a pod's container."""
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {"containerStatuses": [{**container, "state": {"waiting": waiting}}]}
    resource = watched.cluster.preferred("", "Pod")
    watched.cluster.merge_patch(
        resource, pod["metadata"]["name"], watched.namespace, {"status": status}, subresource="status"
    )


def the_pod(watched: Watched) -> Object:
    """The only pod of the namespace."""
    resource = watched.cluster.preferred("", "Pod")
    (pod,) = eventually(lambda: watched.cluster.list(resource, watched.namespace), within=20)
    return pod


def test_a_rollout_that_becomes_healthy_is_asked_for_once_and_without_a_clock(watched: Watched):
    watcher = watched.start()

    watched.apply("orders", [deployment(), settings()])

    eventually(lambda: watched.asked("orders", QueueName.BACKGROUND), within=20)
    eventually(lambda: is_idle(watcher))
    assert len(watched.asked("orders")) == 1


def test_a_release_is_not_asked_for_while_its_pods_are_on_their_way_and_urgently_when_one_fails(
    watched: Watched,
):
    watcher = watched.start()
    watched.apply("orders", [stuck()])
    pod = the_pod(watched)
    eventually(lambda: is_idle(watcher))
    before = watched.asked("orders")

    say(watched, pod, reason="ImagePullBackOff", message="Back-off pulling image")

    eventually(lambda: watched.asked("orders", QueueName.URGENT))
    assert before == []


def test_pods_that_may_not_be_made_are_seen_by_the_events_of_their_replica_set(watched: Watched):
    watched.start()
    metadata = {"name": "none", "namespace": watched.namespace}
    none = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {"pods": "0"}},
    }
    watched.cluster.apply(none)
    resource = watched.cluster.preferred("", "ResourceQuota")
    eventually(lambda: (watched.cluster.get(resource, "none", watched.namespace) or {})["status"].get("hard"))

    watched.apply("orders", [deployment()])

    eventually(lambda: watched.asked("orders", QueueName.URGENT), within=15)


def test_a_release_is_asked_for_in_the_moment_in_which_its_time_is_over(watched: Watched):
    watched.start()

    watched.apply("orders", [stuck()], synced_at=datetime.now(UTC) - timedelta(seconds=297))

    eventually(lambda: watched.asked("orders", QueueName.URGENT))


def test_its_time_is_over_when_the_clock_of_the_cluster_says_so(watched: Watched, api_proxy: ApiProxy):
    api_proxy.seconds_behind = -3600
    proxied = ClusterConfig(kubeconfig=api_proxy.kubeconfig, context=None, in_cluster=False)
    watched.config = replace(watched.config, clusters={"test": proxied})
    watched.start()

    watched.apply("orders", [stuck()], synced_at=datetime.now(UTC) + timedelta(seconds=3600 - 297))

    eventually(lambda: watched.asked("orders", QueueName.URGENT))


def test_a_release_that_waits_for_its_address_is_asked_for_when_that_comes(watched: Watched):
    make_with_address(watched.cluster, addressed("Ingress", watched.namespace, "other", of=watched.namespace))
    watcher = watched.start()
    ingress = addressed("Ingress", watched.namespace, "orders", of=watched.namespace)
    watched.apply("orders", [ingress])
    eventually(lambda: is_idle(watcher) and watcher.scene.cache.members)
    before = watched.asked("orders")

    give_address(watched.cluster, ingress)

    eventually(lambda: watched.asked("orders", QueueName.BACKGROUND))
    assert before == []


def test_a_question_whose_job_came_to_nothing_is_asked_again_later(watched: Watched):
    watched.start()
    watched.apply("orders", [settings()])
    first = eventually(lambda: watched.asked("orders"))
    asked_at = time.monotonic()

    watched.end_jobs()

    again = eventually(lambda: watched.asked("orders"))
    assert again != first
    assert time.monotonic() - asked_at > 1


def test_questions_lost_with_a_wiped_redis_are_asked_again(watched: Watched):
    watcher = watched.start()
    services = [f"s{number}" for number in range(50)]
    for service in services:
        watched.apply(service, [settings(service)])
    eventually(lambda: all(watched.asked(one) for one in services))

    watcher.watching.queue.broker.redis.flushdb()

    eventually(lambda: all(len(watched.asked(one)) == 1 for one in services), within=8)


def test_redis_that_is_down_meanwhile_is_told_when_it_is_back(watched: Watched, redis_server):
    watcher = watched.start()
    eventually(lambda: is_idle(watcher))

    redis_server.pause()
    watched.apply("orders", [settings()])
    eventually(lambda: watcher.dirty)
    redis_server.resume()

    eventually(lambda: watched.asked("orders"))


def test_an_operators_edit_by_kubectl_is_asked_for(watched: Watched):
    watcher = watched.start()
    watched.apply("orders", [settings()], phase=Phase.HEALTHY, health=Health.HEALTHY)
    eventually(lambda: is_idle(watcher) and watcher.scene.tracked)
    before = watched.asked("orders")

    watched.cluster.merge_patch(RELEASE, "orders", watched.namespace, {"spec": {"suspended": True}})

    eventually(lambda: watched.asked("orders", QueueName.URGENT))
    assert before == []


def test_a_stable_release_that_turns_bad_is_asked_for(watched: Watched):
    watcher = watched.start()
    watched.apply("orders", [stuck()], phase=Phase.HEALTHY, health=Health.HEALTHY)
    pod = the_pod(watched)
    eventually(lambda: is_idle(watcher))
    before = watched.asked("orders")

    say(watched, pod, reason="InvalidImageName", message="couldn't parse image name")

    eventually(lambda: watched.asked("orders", QueueName.URGENT))
    assert before == []


def test_nothing_is_asked_of_the_cluster_while_nothing_changes(watched: Watched):
    watcher = watched.start()
    watched.apply("orders", [settings()], phase=Phase.HEALTHY, health=Health.HEALTHY)
    eventually(lambda: is_idle(watcher) and watcher.scene.cache.members)
    eventually(lambda: watched.requests["watch"] == len(watcher.watches))
    before = {verb: count for verb, count in watched.requests.items() if verb != "lease"}
    until = time.monotonic() + 4

    eventually(lambda: time.monotonic() > until, within=6)

    assert {verb: count for verb, count in watched.requests.items() if verb != "lease"} == before
    assert watched.requests["lease"] <= 6


def test_a_kind_that_is_not_served_yet_is_watched_when_it_is(watched: Watched):
    watcher = watched.start()
    kind = f"K{watched.namespace.rpartition('-')[2]}"
    group = f"{kind.lower()}.example.com"
    key = ObjectKey(group=group, kind=kind, namespace=watched.namespace, name="one")
    settled = watched.member("orders", settings())
    release = watched.claim("orders", [settings()])
    watched.record(release, [settled, AppliedObject.of(key, digest="d", owned="o")])
    eventually(lambda: is_idle(watcher) and watcher.scene.tracked)
    before = watched.asked("orders")

    watched.cluster.apply(definition(group, kind))
    custom = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "one"}}
    eventually(lambda: watched.member("orders", custom), within=20)

    eventually(lambda: watched.asked("orders"), within=20)
    assert before == []


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_what_somebody_does_to_an_applied_object_is_seen(watched: Watched, how: str):
    watcher = watched.start()
    watched.apply("orders", [settings(mode="a")], phase=Phase.HEALTHY, health=Health.HEALTHY)
    eventually(lambda: is_idle(watcher) and watcher.scene.cache.members)
    resource = watched.cluster.preferred("", "ConfigMap")

    if how == "changed":
        watched.cluster.merge_patch(
            resource, "orders", watched.namespace, {"data": {"mode": "b"}}, manager="kubectl-edit"
        )
    else:
        delete(watched, "", "ConfigMap")

    eventually(lambda: drifts(watcher) == 1)
    eventually(lambda: watched.jobs("heal_staging_orders", QueueName.URGENT))


def delete(watched: Watched, group: str, kind: str) -> Object:
    """Somebody deletes an object called `orders`; as it was."""
    resource = watched.cluster.preferred(group, kind)
    live = watched.cluster.get(resource, "orders", watched.namespace)
    assert live is not None
    watched.cluster.delete(
        resource, "orders", watched.namespace, uid=live["metadata"]["uid"], resource_version=""
    )
    return live


REPORTED = Verification(drift=DriftMode.REPORT)


def test_a_deleted_workload_of_a_release_that_only_reports_is_asked_for_and_so_is_its_return(
    watched: Watched,
):
    watcher = watched.start()
    stable = {"phase": Phase.HEALTHY, "health": Health.HEALTHY, "verification": REPORTED}
    release = watched.apply("orders", [deployment()], **stable)
    eventually(lambda: is_idle(watcher) and watcher.scene.cache.members)
    before = watched.asked("orders")
    live = delete(watched, "apps", "Deployment")
    eventually(lambda: watched.asked("orders", QueueName.URGENT))
    eventually(lambda: watched.jobs("heal_staging_orders", QueueName.URGENT))

    watched.end_jobs()
    told = {"phase": Phase.FAILED, "health": Health.FAILED, "drift": (f"{key_of(live)} was deleted",)}
    watched.record(release, list(release.status.objects), **(stable | told))
    kept = {name: live["metadata"][name] for name in ("name", "namespace", "labels")}
    watched.cluster.create({**live, "metadata": kept})

    eventually(lambda: watched.jobs("heal_staging_orders", QueueName.URGENT))
    eventually(lambda: about(watcher).endswith(" well"), within=20)
    assert before == []


def about(watcher: Watcher) -> str:
    """The last question about the only release."""
    (tracked,) = watcher.scene.tracked.values()
    return tracked.asked.question.about if tracked.asked else ""


def test_what_is_said_to_differ_is_looked_at_as_soon_as_somebody_changed_it_back(watched: Watched):
    watcher = watched.start()
    stable = {"phase": Phase.HEALTHY, "health": Health.HEALTHY, "verification": REPORTED}
    watched.apply("orders", [settings(mode="a")], **stable)
    resource = watched.cluster.preferred("", "ConfigMap")
    for mode in "ba":
        changed = {"data": {"mode": mode}}
        watched.cluster.merge_patch(resource, "orders", watched.namespace, changed, manager="kubectl-edit")
        eventually(lambda: watched.jobs("heal_staging_orders", QueueName.URGENT))
        watched.end_jobs()

    eventually(lambda: is_idle(watcher))
    assert drifts(watcher) == 1


def drifts(watcher: Watcher) -> float:
    """Counted so far: by this process, and flushed by it."""
    watcher.watching.metrics.flush()
    redis = watcher.watching.queue.broker.redis
    return sum(map(float, redis.hvals(f"towline:metric:{DRIFT.name}")))


def test_what_no_release_contains_any_more_is_not_watched_any_more(watched: Watched):
    watcher = watched.start()
    release = watched.apply("orders", [settings(), deployment()], phase=Phase.HEALTHY)
    eventually(lambda: len(watcher.watches) == 6)

    watched.records.delete(release)

    eventually(lambda: len(watcher.watches) == 1)
    assert watcher.scene.cache.members == {}


def test_an_api_server_that_restarts_is_taken_up_again_although_it_forgot_the_version(
    watched: Watched, control_plane
):
    watcher = watched.start()
    watched.apply("orders", [settings()], phase=Phase.HEALTHY, health=Health.HEALTHY)
    eventually(lambda: is_idle(watcher) and watcher.scene.cache.members)

    control_plane.restart_apiserver()
    watched.apply("cart", [deployment("cart")])

    eventually(lambda: watched.asked("cart", QueueName.BACKGROUND), within=30)
    eventually(lambda: Watchers(watcher.watching.queue.broker).active(["test"]))


def test_the_clock_is_told_that_a_watcher_works_only_once_it_knows_everything(watched: Watched):
    watched.apply("orders", [settings()], phase=Phase.HEALTHY, health=Health.HEALTHY)
    watcher = watched.start()
    watchers = Watchers(watcher.watching.queue.broker)

    eventually(lambda: watchers.active(["test"]) == {"test"})
    assert watcher.scene.cache.members
    watched.stop()

    assert watchers.active(["test"]) == set()


def test_where_releases_may_not_be_watched_everywhere_they_are_in_the_namespaces_that_are_known(
    watched: Watched, client_of, tmp_path
):
    watched.apply("orders", [settings()])
    client_of("narrow")
    grant(watched, "narrow")
    narrow = ClusterConfig(kubeconfig=tmp_path / "narrow.kubeconfig", context=None, in_cluster=False)
    watched.config = replace(watched.config, clusters={"test": narrow})

    watcher = watched.start()

    eventually(lambda: watched.asked("orders"), within=15)
    assert watcher.namespaces == {watched.namespace}


def grant(watched: Watched, account: str) -> None:
    """An account's rights in the test's namespace: everything, and nothing elsewhere."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": watched.namespace}
    watched.cluster.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": account, "namespace": watched.namespace},
            "roleRef": role,
            "subjects": [subject],
        }
    )
