"""The demo's API held to a real API server: each test runs on both, and must see the same."""

import json
from itertools import islice

import pytest
from parts.eventually import eventually

from towline.demo.cluster import DemoCluster
from towline.shared.cluster import connect
from towline.shared.cluster_session import Request
from towline.shared.config import ClusterConfig
from towline.shared.errors import ClusterError, FieldConflict, UnknownKind
from towline.shared.installation import packaged_crd
from towline.shared.model import Health
from towline.shared.objects import applied_entry, owned_hash
from towline.shared.watching import Selection, events, watch
from towline.worker.health.verdict import judge


@pytest.fixture(params=["demo", "real"])
def cluster(request, tmp_path):
    """One of the two, through the client that Towline uses."""
    if request.param == "demo":
        demo = DemoCluster()
        demo.start()
        request.addfinalizer(demo.stop)
        kubeconfig = tmp_path / "kubeconfig"
        demo.write_kubeconfig(kubeconfig)
    else:
        kubeconfig = request.getfixturevalue("control_plane").kubeconfig
    return connect(ClusterConfig(kubeconfig=kubeconfig, context=None, in_cluster=False))


@pytest.fixture
def place(request, cluster):
    """A namespace of the test's own."""
    name = f"demo-{abs(hash(request.node.name)):x}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    namespaces = cluster.resource("v1", "Namespace")
    found = cluster.get(namespaces, name)
    cluster.delete(namespaces, name, uid=found["metadata"]["uid"], resource_version="")


def config_map(place, name="settings", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": place},
        "data": data,
    }


def deployment(place, *, replicas=0, env=(), label="app"):
    container = {"name": "app", "image": "example.com/app:1", "env": [{"name": n, "value": "1"} for n in env]}
    template = {"metadata": {"labels": {"app": label}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": place},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "app"}}, "template": template},
    }


def live(cluster, object):
    metadata = object["metadata"]
    return cluster.get(cluster.resource_of(object), metadata["name"], metadata["namespace"])


def test_what_was_applied_is_there_and_applied_again_changes_nothing(cluster, place):
    first = cluster.apply(config_map(place, a="1"))

    second = cluster.apply(config_map(place, a="1"))

    assert live(cluster, first)["data"] == {"a": "1"}
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


def test_a_dry_run_answers_what_would_be_and_writes_nothing(cluster, place):
    first = cluster.apply(config_map(place, a="1"))

    answer = cluster.apply(config_map(place, a="2"), dry_run=True)
    unborn = cluster.apply(config_map(place, "other", a="1"), dry_run=True)

    assert (answer["data"], unborn["data"]) == ({"a": "2"}, {"a": "1"})
    assert live(cluster, first)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert live(cluster, unborn) is None


def test_a_field_that_is_no_longer_applied_goes(cluster, place):
    cluster.apply(config_map(place, a="1", b="2"))

    answer = cluster.apply(config_map(place, a="1"))

    assert answer["data"] == {"a": "1"}


def test_an_item_of_a_list_with_keys_goes_and_comes_by_its_key(cluster, place):
    cluster.apply(deployment(place, env=("A", "B")))

    answer = cluster.apply(deployment(place, env=("B", "C")))

    names = [one["name"] for one in answer["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert sorted(names) == ["B", "C"]


def test_a_generation_counts_changes_of_what_is_wanted_only(cluster, place):
    first = cluster.apply(deployment(place))
    labelled = deployment(place)
    labelled["metadata"]["labels"] = {"team": "a"}

    second = cluster.apply(labelled)
    third = cluster.apply(deployment(place, env=("A",)))

    generations = [one["metadata"]["generation"] for one in (first, second, third)]
    assert generations == [1, 1, 2]


def test_another_managers_field_is_a_conflict_and_is_taken_over_by_force(cluster, place):
    cluster.apply(config_map(place, a="1"), manager="somebody")

    with pytest.raises(FieldConflict) as conflict:
        cluster.apply(config_map(place, a="2"), force=False)
    answer = cluster.apply(config_map(place, a="2"), force=True)

    assert "somebody" in str(conflict.value)
    assert [problem.path for problem in conflict.value.problems] == [".data.a"]
    assert answer["data"] == {"a": "2"}
    assert applied_entry(answer, "somebody") is None


def test_an_owned_hash_changes_when_somebody_takes_a_field_and_not_when_he_adds_one(cluster, place):
    first = cluster.apply(config_map(place, a="1"))
    resource = cluster.resource("v1", "ConfigMap")

    cluster.merge_patch(resource, "settings", place, {"data": {"b": "2"}}, manager="editor")
    added = owned_hash(live(cluster, first))
    cluster.merge_patch(resource, "settings", place, {"data": {"a": "3"}}, manager="editor")
    taken = owned_hash(live(cluster, first))

    assert added == owned_hash(first)
    assert taken != owned_hash(first)


def test_what_is_wrong_is_told_with_its_field(cluster, place):
    with pytest.raises(ClusterError) as refused:
        cluster.apply(deployment(place, label="else"))

    assert refused.value.code == 422
    assert "`selector` does not match template `labels`" in refused.value.message
    assert any("template.metadata.labels" in (problem.path or "") for problem in refused.value.problems)


def test_an_immutable_selector_is_refused(cluster, place):
    cluster.apply(deployment(place))
    changed = deployment(place, label="else")
    changed["spec"]["selector"]["matchLabels"] = {"app": "else"}

    with pytest.raises(ClusterError, match="immutable"):
        cluster.apply(changed)


def test_an_object_in_a_namespace_that_is_not_there_is_not_found(cluster):
    with pytest.raises(ClusterError) as missing:
        cluster.apply(config_map("nobody-made-this", a="1"))

    assert missing.value.code == 404


def test_a_kind_that_is_not_served_is_unknown(cluster):
    with pytest.raises(UnknownKind):
        cluster.resource("example.com/v1", "Nothing")


def test_a_delete_holds_to_its_preconditions(cluster, place):
    object = cluster.apply(config_map(place, a="1"))
    resource = cluster.resource("v1", "ConfigMap")
    uid, version = object["metadata"]["uid"], object["metadata"]["resourceVersion"]

    with pytest.raises(ClusterError) as other_uid:
        cluster.delete(resource, "settings", place, uid="another", resource_version=version)
    with pytest.raises(ClusterError) as other_version:
        cluster.delete(resource, "settings", place, uid=uid, resource_version="1")
    cluster.delete(resource, "settings", place, uid=uid, resource_version=version)
    cluster.delete(resource, "settings", place, uid=uid, resource_version=version)

    assert (other_uid.value.code, other_version.value.code) == (409, 409)
    assert live(cluster, object) is None


def test_a_create_of_what_is_there_is_a_conflict(cluster, place):
    cluster.create(config_map(place, a="1"))

    with pytest.raises(ClusterError) as exists:
        cluster.create(config_map(place, a="1"))

    assert (exists.value.code, exists.value.reason) == (409, "AlreadyExists")


def test_an_update_of_an_old_version_is_a_conflict(cluster, place):
    first = cluster.apply(config_map(place, a="1"))
    cluster.apply(config_map(place, a="2"))

    with pytest.raises(ClusterError) as old:
        cluster.replace({**first, "data": {"a": "3"}})

    assert old.value.code == 409


def test_a_list_is_narrowed_by_label_and_may_be_metadata_only(cluster, place):
    marked = config_map(place, "marked", a="1")
    marked["metadata"]["labels"] = {"set": "x"}
    cluster.apply(marked)
    cluster.apply(config_map(place, "other", a="1"))
    resource = cluster.resource("v1", "ConfigMap")

    found = cluster.list(resource, place, labels="set=x", metadata_only=True)

    assert [one["metadata"]["name"] for one in found] == ["marked"]
    assert "data" not in found[0]
    assert applied_entry(found[0]) is not None


@pytest.mark.parametrize(
    ("labels", "names"),
    [("set", ["x", "y"]), ("set=x", ["x"]), ("set!=x", ["none", "y"]), ("set,set!=x", ["y"])],
)
def test_a_label_is_selected_by_what_it_is_or_is_not_or_that_it_is_there(cluster, place, labels, names):
    for value in ("x", "y"):
        cluster.apply(labelled(place, value, value))
    cluster.apply(config_map(place, "none", a="1"))

    found = cluster.list(cluster.resource("v1", "ConfigMap"), place, labels=labels)

    assert [
        one["metadata"]["name"] for one in found if one["metadata"]["name"] != "kube-root-ca.crt"
    ] == names


def test_a_kind_of_a_definition_is_served_and_its_status_is_a_part_of_its_own(cluster, place):
    cluster.apply(packaged_crd())
    release = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"name": "orders", "namespace": place},
        "spec": {},
        "status": {"phase": "Failed"},
    }

    made = _once_served(cluster, release)
    answer = cluster.replace({**made, "status": {"phase": "Healthy"}}, subresource="status")
    patched = cluster.merge_patch(
        cluster.resource_of(release),
        "orders",
        place,
        {"spec": {"suspended": True}, "status": {"phase": "Failed"}},
    )

    assert "status" not in made
    assert answer["status"] == {"phase": "Healthy"}
    assert (patched["spec"]["suspended"], patched["status"]["phase"]) == (True, "Healthy")


def _once_served(cluster, object):
    return eventually(lambda: cluster.create(object), within=15)


def test_what_an_owner_leaves_behind_goes_with_it(cluster, place):
    owner = cluster.apply(config_map(place, "owner", a="1"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned = config_map(place, "owned", a="1")
    owned["metadata"]["ownerReferences"] = [reference]
    cluster.apply(owned)

    cluster.delete(
        cluster.resource("v1", "ConfigMap"), "owner", place, uid=reference["uid"], resource_version=""
    )

    eventually(lambda: live(cluster, owned) is None, within=20)


def test_a_watch_tells_what_happens_after_its_version_to_what_is_selected(cluster, place):
    cluster.apply(labelled(place, "before", "x"))
    since = version_now(cluster, place)

    first = cluster.apply(labelled(place, "marked", "x"))
    cluster.apply(config_map(place, "other", a="1"))
    cluster.apply(labelled(place, "marked", "y"))
    cluster.apply(labelled(place, "marked", "x"))
    cluster.delete(
        cluster.resource("v1", "ConfigMap"),
        "marked",
        place,
        uid=first["metadata"]["uid"],
        resource_version="",
    )

    told = watched(cluster, place, since=since, count=4)
    assert [type_ for type_, _ in told] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    versions = [int(one["metadata"]["resourceVersion"]) for _, one in told]
    assert since < versions[0] and versions == sorted(set(versions))
    assert {one["metadata"]["name"] for _, one in told} == {"marked"}


def test_a_watch_of_metadata_tells_no_more(cluster, place):
    since = version_now(cluster, place)
    cluster.apply(labelled(place, "marked", "x"))

    ((type_, object),) = watched(cluster, place, since=since, count=1, metadata_only=True)

    assert (type_, object["kind"], set(object)) == (
        "ADDED",
        "PartialObjectMetadata",
        {"apiVersion", "kind", "metadata"},
    )
    assert applied_entry(object) is not None


def test_a_watch_from_a_version_that_is_forgotten_is_gone(cluster, place):
    cluster.apply(packaged_crd())  # a kind that is served later than version 1 is not remembered from there
    resource = eventually(lambda: cluster.resource("towline.dev/v1alpha1", "Release"), within=15)
    selection = Selection(group="towline.dev", kind="Release", namespace=place)

    def forgotten():
        """The code; a kind that has just been defined may not be watched yet (429, 503)."""
        try:
            stream = watch(cluster, resource, selection, since="1", seconds=5, silent=10)
            list(events(stream, of="releases"))
        except ClusterError as error:
            return error.code
        return None

    eventually(lambda: forgotten() == 410, within=15)


def test_a_watch_ends_when_its_time_is_over(cluster, place):
    assert watched(cluster, place, since=version_now(cluster, place), count=1) == []


def test_events_are_selected_by_their_fields(cluster, place):
    for name, reason in (("one", "Failed"), ("two", "Pulled")):
        cluster.create(event(place, name, reason))

    kept = selected(cluster, place, "reason!=Pulled,involvedObject.uid=u-1")
    none = selected(cluster, place, "involvedObject.uid=u-2")

    assert ([one["reason"] for one in kept], none) == (["Failed"], [])


def test_a_deployment_rolls_out_by_a_replica_set_and_pods_of_its_template(cluster, place):
    cluster.apply(shop(place, "1.0", replicas=2))

    live_one = rolled_out(cluster, place)

    (replica_set,), pods = children(cluster, place)
    label = {"pod-template-hash": replica_set["metadata"]["labels"]["pod-template-hash"]}
    assert (live_one["status"]["updatedReplicas"], live_one["status"]["availableReplicas"]) == (2, 2)
    assert replica_set["metadata"]["annotations"][REVISION] == live_one["metadata"]["annotations"][REVISION]
    assert [owner(one) for one in (replica_set, *pods)] == [
        live_one["metadata"]["uid"],
        *[replica_set["metadata"]["uid"]] * 2,
    ]
    assert all(label.items() <= pod["metadata"]["labels"].items() for pod in pods)


def test_an_image_that_is_not_there_leaves_the_old_pods_as_they_are_until_it_is_taken_back(cluster, place):
    cluster.apply(shop(place, "1.0"))
    rolled_out(cluster, place)
    cluster.apply(shop(place, "1.O"))

    waiting = eventually(lambda: waits(cluster, place), within=15)
    halfway = live(cluster, shop(place, "1.O"))
    cluster.apply(shop(place, "1.0"))
    back = rolled_out(cluster, place)

    sets, pods = children(cluster, place)
    assert waiting["reason"] == "ImagePullBackOff"
    assert "not found" in waiting["message"]
    assert (halfway["status"]["availableReplicas"], halfway["status"]["updatedReplicas"]) == (1, 1)
    assert halfway["status"]["replicas"] == 2
    assert back["metadata"]["annotations"][REVISION] == "3"
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 1]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]


def test_a_stateful_set_is_rolled_out_to_its_newest_revision(cluster, place):
    def stateful_set(tag):
        spec = {**shop(place, tag)["spec"], "serviceName": "shop"}
        return {**shop(place, tag), "kind": "StatefulSet", "spec": spec}

    def status():
        found = live(cluster, stateful_set("1.0"))
        is_seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
        done = found["status"].get("currentRevision") == found["status"].get("updateRevision")
        return found["status"] if is_seen and done and found["status"].get("readyReplicas") == 1 else None

    cluster.apply(stateful_set("1.0"))
    first = eventually(status, within=15)
    cluster.apply(stateful_set("2.0"))
    second = eventually(status, within=15)

    pods = cluster.list(cluster.resource("v1", "Pod"), place)
    assert first["updateRevision"] != second["updateRevision"]
    assert [pod["metadata"]["name"] for pod in pods] == ["shop-0"]
    assert pods[0]["metadata"]["labels"]["controller-revision-hash"] == second["updateRevision"]


def test_a_job_runs_a_pod_until_it_is_complete(cluster, place):
    pod = {"containers": [{"name": "main", "image": image("1.0")}], "restartPolicy": "Never"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": place},
        "spec": {"template": {"spec": pod}},
    }
    cluster.apply(job)

    status = eventually(lambda: (found := live(cluster, job)["status"]).get("succeeded") and found, within=15)

    pods = cluster.list(cluster.resource("v1", "Pod"), place, labels="batch.kubernetes.io/job-name=once")
    assert {"Complete"} <= {one["type"] for one in status["conditions"] if one["status"] == "True"}
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"]


REVISION = "deployment.kubernetes.io/revision"


def image(tag):
    return f"registry.orchard.example/shop:{tag}"


def shop(place, tag, *, replicas=1):
    template = {
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "shop", "image": image(tag)}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": place},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": template,
        },
    }


def labelled(place, name, value):
    return {
        **config_map(place, name, a="1"),
        "metadata": {"name": name, "namespace": place, "labels": {"set": value}},
    }


def event(place, name, reason):
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": place},
        "involvedObject": {"kind": "Pod", "name": "app", "namespace": place, "uid": "u-1"},
        "reason": reason,
    }


def selected(cluster, place, fields):
    path = f"/api/v1/namespaces/{place}/events"
    return cluster.request(Request(verb="list", method="GET", path=path, query={"fieldSelector": fields}))[
        "items"
    ]


def version_now(cluster, place):
    path = f"/api/v1/namespaces/{place}/configmaps"
    return int(cluster.request(Request(verb="list", method="GET", path=path))["metadata"]["resourceVersion"])


def watched(cluster, place, *, since, count, metadata_only=False):
    """The first events about what has the label `set=x`, bookmarks apart."""
    selection = Selection(
        group="", kind="ConfigMap", namespace=place, labels="set=x", metadata_only=metadata_only
    )
    resource = cluster.resource("v1", "ConfigMap")
    stream = watch(cluster, resource, selection, since=str(since), seconds=1, silent=10)
    told = (
        (one.type, json.loads(bytes(one.object)))
        for one in events(stream, of="maps")
        if one.type != "BOOKMARK"
    )
    found = list(islice(told, count))
    stream.close()
    return found


def owner(object):
    return object["metadata"]["ownerReferences"][0]["uid"]


def children(cluster, place):
    """The ReplicaSets and the pods that are not on their way out."""
    sets = cluster.list(cluster.resource("apps/v1", "ReplicaSet"), place)
    pods = cluster.list(cluster.resource("v1", "Pod"), place)
    return sets, [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def rolled_out(cluster, place):
    """The Deployment, once all its pods are new and ready."""

    def done():
        found = live(cluster, shop(place, "1.0"))
        return found if judge(found).health is Health.HEALTHY else None

    return eventually(done, within=15)


def waits(cluster, place):
    """Why a container waits whose image was tried again."""
    for pod in children(cluster, place)[1]:
        for one in pod["status"].get("containerStatuses") or ():
            waiting = one["state"].get("waiting") or {}
            if waiting.get("reason") == "ImagePullBackOff":
                return waiting
    return None
