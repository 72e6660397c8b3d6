"""The client on a real API server: what it answers, and what it refuses."""

from __future__ import annotations

import copy
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from parts.cluster_client import ClientOf, config_map
from parts.eventually import eventually

from towline.shared.cluster import PAGE_SIZE, Cluster
from towline.shared.errors import ClusterError, FieldConflict, Immutable, UnknownKind
from towline.shared.model import Object
from towline.shared.objects import PART_OF, applyset_id, is_ours, is_terminating, metadata_of, owned_hash


def deployment(namespace: str, **spec: Any) -> Object:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
            **spec,
        },
    }


def version_of(object: Object) -> str:
    return str(metadata_of(object)["resourceVersion"])


def read(cluster: Cluster, object: Object) -> Object | None:
    metadata = object["metadata"]
    return cluster.get(cluster.resource_of(object), metadata["name"], metadata.get("namespace", ""))


def test_an_apply_creates_then_changes_and_is_nothing_when_nothing_changed(cluster: Cluster, namespace: str):
    created = cluster.apply(config_map(namespace, mode="a"))
    same = cluster.apply(config_map(namespace, mode="a"))
    changed = cluster.apply(config_map(namespace, mode="b"))

    assert version_of(created) == version_of(same) != version_of(changed)
    assert changed["data"] == {"mode": "b"}


def test_a_dry_run_answers_and_writes_nothing(cluster: Cluster, namespace: str):
    answer = cluster.apply(config_map(namespace), dry_run=True)

    assert answer["data"] == {"mode": "a"}
    assert read(cluster, config_map(namespace)) is None


def test_a_field_of_another_manager_is_a_conflict_that_names_it_until_it_is_taken(
    cluster: Cluster, namespace: str
):
    cluster.apply(config_map(namespace, mode="theirs"), manager="somebody")

    with pytest.raises(FieldConflict) as caught:
        cluster.apply(config_map(namespace, mode="ours"), force=False)
    taken = cluster.apply(config_map(namespace, mode="ours"))

    assert [(one.path, "somebody" in one.message) for one in caught.value.problems] == [(".data.mode", True)]
    assert not caught.value.retry
    assert taken["data"] == {"mode": "ours"}


def test_an_immutable_field_is_told_apart_and_named(cluster: Cluster, namespace: str):
    cluster.apply(deployment(namespace))
    other = deployment(namespace, selector={"matchLabels": {"app": "other"}})
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    with pytest.raises(Immutable, match=r"spec\.selector") as caught:
        cluster.apply(other)

    assert caught.value.object == f"Deployment.apps {namespace}/web"
    assert "towline.dev/recreate" in caught.value.hint


def test_an_immutable_config_map_is_told_apart(cluster: Cluster, namespace: str):
    cluster.apply({**config_map(namespace, mode="a"), "immutable": True})

    with pytest.raises(Immutable):
        cluster.apply({**config_map(namespace, mode="b"), "immutable": True})


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"imagee": "x"}, "imagee: field not declared in schema"),
        ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "duplicate entries"),
        ({"env": [{"name": "A", "value": 1}]}, "expected string"),
    ],
)
def test_faults_that_server_side_apply_sends_as_500_are_permanent(
    cluster: Cluster, namespace: str, container: dict[str, Any], text: str
):
    bad = deployment(namespace)
    bad["spec"]["template"]["spec"]["containers"][0].update(container)

    with pytest.raises(ClusterError, match=text) as caught:
        cluster.apply(bad, dry_run=True)

    assert not caught.value.retry


def test_a_value_out_of_range_is_named_by_its_path(cluster: Cluster, namespace: str):
    with pytest.raises(ClusterError) as caught:
        cluster.apply(deployment(namespace, replicas=-1))

    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert [problem.path for problem in caught.value.problems] == ["spec.replicas"]
    assert not isinstance(caught.value, Immutable)


@pytest.mark.parametrize(
    "parts",
    [
        {"data": {"password": 31337313}},
        {"stringData": {"password": 31337313}},
        {"data": {"password": "31337313 is not base64!"}},
        {"data": ["31337313"]},
        {"data": {"password": {"deep": "31337313"}}},
        {"stringData": "31337313"},
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "31337313"}},
        {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "31337313{"}},
    ],
    ids=str,
)
def test_a_secret_that_is_refused_shows_no_value_of_it(
    cluster: Cluster, namespace: str, parts: dict[str, Any]
):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": namespace},
        **parts,
    }

    with pytest.raises(ClusterError) as caught:
        cluster.apply(secret)

    told = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert "31337313" not in told
    assert "MzEzMzczMTN" not in told
    assert f"Secret {namespace}/db" in told


def test_a_kind_is_unknown_until_its_definition_is_served(cluster: Cluster, namespace: str):
    group = f"{namespace}.example.com"
    database: Object = {
        "apiVersion": f"{group}/v1",
        "kind": "Database",
        "metadata": {"name": "main", "namespace": namespace},
        "spec": {"size": 1},
    }
    with pytest.raises(UnknownKind, match=f"Database in {group}/v1"):
        cluster.apply(database)

    cluster.apply(definition(group))

    assert eventually(lambda: cluster.apply(database), within=10)["spec"] == {"size": 1}
    assert cluster.preferred(group, "Database").plural == "databases"


def definition(group: str) -> Object:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"databases.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Database", "plural": "databases", "singular": "database"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


def test_an_apply_to_an_object_that_is_being_deleted_shows_it(cluster: Cluster, namespace: str):
    held = config_map(namespace)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    resource = cluster.resource_of(held)
    created = cluster.apply(held)
    cluster.delete(resource, "settings", namespace, uid=metadata_of(created)["uid"], resource_version="")

    answer = cluster.apply(config_map(namespace, mode="b"))

    assert is_terminating(answer)
    assert not is_terminating(created)


def test_a_delete_takes_exactly_the_object_that_was_judged(cluster: Cluster, namespace: str):
    object = config_map(namespace)
    resource = cluster.resource_of(object)
    judged = cluster.apply(object)
    uid, version = metadata_of(judged)["uid"], version_of(judged)
    newer = cluster.apply(config_map(namespace, mode="b"))

    for wrong in ({"uid": uid, "resource_version": version}, {"uid": "another", "resource_version": ""}):
        with pytest.raises(ClusterError) as caught:
            cluster.delete(resource, "settings", namespace, **wrong)
        assert (caught.value.code, caught.value.retry) == (409, True)
    assert read(cluster, object) == newer

    for _ in range(2):  # the second time it is gone, which is fine
        cluster.delete(resource, "settings", namespace, uid=uid, resource_version=version_of(newer))
    assert read(cluster, object) is None


def test_a_patch_of_an_older_version_is_refused_and_may_be_tried_again(cluster: Cluster, namespace: str):
    first = cluster.apply(config_map(namespace, mode="a"))
    cluster.apply(config_map(namespace, mode="b"))
    patch = {"metadata": {"resourceVersion": version_of(first)}, "data": {"mode": "c"}}

    with pytest.raises(ClusterError) as caught:
        cluster.merge_patch(cluster.resource_of(first), "settings", namespace, patch)

    assert (caught.value.code, caught.value.reason, caught.value.retry) == (409, "Conflict", True)


def test_creating_what_exists_is_an_error_that_is_not_tried_again(cluster: Cluster, namespace: str):
    cluster.create(config_map(namespace))

    with pytest.raises(ClusterError) as caught:
        cluster.create(config_map(namespace))

    assert (caught.value.reason, caught.value.retry) == ("AlreadyExists", False)


def test_metadata_alone_has_its_kind_and_no_body(cluster: Cluster, namespace: str):
    applied = cluster.apply(config_map(namespace))
    resource = cluster.resource_of(applied)

    one = cluster.get(resource, "settings", namespace, metadata_only=True)
    [listed] = [
        found
        for found in cluster.list(resource, namespace, metadata_only=True)
        if metadata_of(found)["name"] == "settings"
    ]

    for found in (one, listed):
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
        assert metadata_of(found) == metadata_of(applied)
        assert "data" not in found


def test_lists_are_whole_whatever_their_length_and_follow_labels(
    cluster: Cluster, namespace: str, requests: Counter[str]
):
    count = PAGE_SIZE + 5

    def make(number: int) -> None:
        object = config_map(namespace, f"many-{number}")
        object["metadata"]["labels"] = {"half": str(number % 2), "test": "many"}
        cluster.apply(object)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make, range(count)))
    resource = cluster.resource("v1", "ConfigMap")
    requests.clear()

    found = cluster.list(resource, namespace, labels="test=many")
    half = cluster.list(resource, namespace, labels="test=many,half=1")

    assert {metadata_of(one)["name"] for one in found} == {f"many-{number}" for number in range(count)}
    assert found[0]["kind"] == "ConfigMap"
    assert len(half) == count // 2
    assert requests == {"list": 3}


def test_ownership_moves_with_a_change_and_not_with_an_addition(cluster: Cluster, namespace: str):
    applied = cluster.apply(config_map(namespace, mode="a", level="1"))
    before = owned_hash(applied)

    def by_somebody(**data: str) -> Object:
        return cluster.merge_patch(
            cluster.resource_of(applied), "settings", namespace, {"data": data}, manager="somebody"
        )

    assert owned_hash(by_somebody(added="x")) == before
    assert owned_hash(by_somebody(mode="changed")) != before
    assert owned_hash(cluster.apply(config_map(namespace, mode="a", level="1"))) == before
    seen = cluster.get(cluster.resource_of(applied), "settings", namespace, metadata_only=True)
    assert seen is not None and owned_hash(seen) == before


def test_a_copied_label_does_not_make_an_object_ours(cluster: Cluster, namespace: str):
    set_id = applyset_id("orders", namespace)
    ours = config_map(namespace, "ours")
    ours["metadata"]["labels"] = {PART_OF: set_id}
    copied = copy.deepcopy(ours)
    copied["metadata"]["name"] = "copied"

    applied = cluster.apply(ours)
    created = cluster.create(copied, manager="kubectl-create")

    assert is_ours(applied, set_id)
    assert not is_ours(created, set_id)


def test_rights_that_are_missing_are_named(client_of: ClientOf, namespace: str):
    nobody = client_of("nobody")

    with pytest.raises(ClusterError) as caught:
        nobody.apply(config_map(namespace))

    assert caught.value.code == 403
    assert f"system:serviceaccount:{namespace}:nobody" in caught.value.message
    assert 'cannot patch resource "configmaps"' in caught.value.message
    assert "service account" in caught.value.hint
    assert not caught.value.retry


def test_acting_as_a_service_account_has_its_rights_and_no_more(cluster: Cluster, namespace: str):
    deployer = cluster.acting_as(f"system:serviceaccount:{namespace}:deployer")
    with pytest.raises(ClusterError) as caught:
        deployer.apply(config_map(namespace))
    assert caught.value.code == 403

    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]}
    allow(cluster, namespace, "deployer", rule)

    applied = eventually(lambda: deployer.apply(config_map(namespace)))
    assert applied["data"] == {"mode": "a"}
    with pytest.raises(ClusterError):
        deployer.apply(deployment(namespace))


def test_acting_as_somebody_needs_the_right_to(client_of: ClientOf, namespace: str):
    nobody = client_of("nobody")

    with pytest.raises(ClusterError, match="cannot impersonate"):
        nobody.acting_as(f"system:serviceaccount:{namespace}:deployer").apply(config_map(namespace))


def allow(cluster: Cluster, namespace: str, account: str, rule: dict[str, Any]) -> None:
    metadata = {"name": account, "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    cluster.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
    cluster.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }
    )


def test_a_namespace_that_is_missing_is_named(cluster: Cluster, namespace: str):
    with pytest.raises(ClusterError, match=f'namespaces "{namespace}-gone" not found') as caught:
        cluster.apply(config_map(f"{namespace}-gone"))

    assert "create the namespace" in caught.value.hint


def test_many_threads_share_one_client(cluster: Cluster, namespace: str):
    with ThreadPoolExecutor(16) as threads:
        applied = list(
            threads.map(
                lambda number: cluster.apply(config_map(namespace, f"c{number}", n=str(number))), range(100)
            )
        )

    assert [one["data"]["n"] for one in applied] == [str(number) for number in range(100)]
