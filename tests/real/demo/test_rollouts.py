"""What controllers and kubelet make of workloads: the demo's API as a real API server with kwok."""

from parts.eventually import eventually
from parts.plain_objects import live

from towline.shared.model import Health
from towline.worker.health.verdict import judge

REVISION = "deployment.kubernetes.io/revision"


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
