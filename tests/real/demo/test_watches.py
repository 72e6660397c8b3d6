"""What is told of changes, and how objects are selected by fields: the demo's API as a real API server."""

import json
from itertools import islice

from parts.eventually import eventually
from parts.plain_objects import config_map, labelled

from towline.shared.cluster_session import Request
from towline.shared.errors import ClusterError
from towline.shared.installation import packaged_crd
from towline.shared.objects import applied_entry
from towline.shared.watching import Selection, events, watch


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
