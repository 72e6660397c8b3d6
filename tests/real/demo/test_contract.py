"""What is read and written: the demo's API as a real API server."""

import pytest
from parts.eventually import eventually
from parts.plain_objects import config_map, deployment, labelled, live

from towline.shared.errors import ClusterError, FieldConflict, UnknownKind
from towline.shared.installation import packaged_crd
from towline.shared.objects import applied_entry, owned_hash


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
