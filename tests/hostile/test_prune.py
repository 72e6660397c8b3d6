"""Nothing is deleted but what is ours by all four marks, and never more than the limit, whatever somebody labels."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from parts.eventually import eventually
from parts.service import Service, config_map, plain_service

from towline.shared.errors import PlanRefused, UnsafePrune
from towline.shared.model import Object, ReleaseName
from towline.shared.objects import PART_OF
from towline.shared.records import Owner, Records
from towline.worker.live import Listing
from towline.worker.plan import Handover, Intent

KINDS = frozenset({"ConfigMap", "Service", "EndpointSlice.discovery.k8s.io", "Namespace", "Deployment.apps"})


@pytest.fixture
def everything(service: Service) -> Listing:
    """What a sync lists when the last attempt did not finish."""
    return Listing(group_kinds=KINDS, namespaces=frozenset({service.environment.namespace}))


def labelled(service: Service, object: Object, **metadata: Any) -> Object:
    labels = {PART_OF: service.target.set_id}
    return {
        **object,
        "metadata": {
            **object["metadata"],
            "namespace": service.environment.namespace,
            "labels": labels,
            **metadata,
        },
    }


def test_an_object_that_left_git_is_deleted(service: Service) -> None:
    service.sync(config_map("one"), config_map("two"))

    synced = service.sync(config_map("one"))

    assert synced.pruned is not None
    assert [key.name for key in synced.pruned.pruned] == ["two"]
    assert service.live("ConfigMap", "two") is None
    assert service.live("ConfigMap", "one") is not None


def test_what_an_attempt_that_died_had_made_is_found_by_its_label(
    service: Service, everything: Listing
) -> None:
    before = service.recorded
    service.sync(config_map("one"), config_map("stray"))
    service.recorded = before  # killed before its record was written

    synced = service.sync(config_map("one"), listing=everything)

    assert synced.pruned is not None
    assert [key.name for key in synced.pruned.pruned] == ["stray"]


def test_what_an_attempt_that_died_had_changed_is_applied_again(
    service: Service, everything: Listing
) -> None:
    service.sync(config_map("one", {"a": "1"}))
    before = service.recorded
    service.sync(config_map("one", {"a": "2"}))
    service.recorded = before  # killed before its record was written

    service.sync(config_map("one", {"a": "1"}), listing=everything)

    live = service.live("ConfigMap", "one")
    assert live is not None and live["data"] == {"a": "1"}


def test_endpoint_slices_that_carry_their_services_label_stay(service: Service, everything: Listing) -> None:
    service.sync(plain_service("web"), config_map("settings"))
    resource = service.cluster.resource("discovery.k8s.io/v1", "EndpointSlice")
    labels = f"{PART_OF}={service.target.set_id}"
    eventually(lambda: service.cluster.list(resource, service.environment.namespace, labels=labels))

    synced = service.sync(plain_service("web"), config_map("settings"), listing=everything)

    assert synced.pruned is not None and synced.pruned.pruned == ()
    assert service.cluster.list(resource, service.environment.namespace, labels=labels)


def test_a_copy_made_with_kubectl_get_and_apply_stays(service: Service, everything: Listing) -> None:
    service.sync(config_map("settings"))
    copy = labelled(service, config_map("copy"))
    service.cluster.apply(copy, manager="kubectl")
    service.cluster.create(labelled(service, config_map("created")), manager="towline")

    synced = service.sync(config_map("settings"), listing=everything)

    assert synced.pruned is not None and synced.pruned.pruned == ()
    assert service.live("ConfigMap", "copy") is not None
    assert service.live("ConfigMap", "created") is not None


def test_an_object_that_a_controller_owns_stays(service: Service, everything: Listing) -> None:
    service.sync(config_map("settings"))
    settings = service.live("ConfigMap", "settings")
    assert settings is not None
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "settings",
        "uid": settings["metadata"]["uid"],
        "controller": True,
    }
    service.cluster.apply(labelled(service, config_map("made"), ownerReferences=[owner]))

    synced = service.sync(config_map("settings"), listing=everything)

    assert synced.pruned is not None and synced.pruned.pruned == ()
    assert service.live("ConfigMap", "made") is not None


def test_the_releases_own_namespace_stays_even_where_namespaces_may_go(
    service: Service, everything: Listing
) -> None:
    service.environment = replace(service.environment, prune_kinds=frozenset({"Namespace"}))
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": service.environment.namespace}}
    service.sync(config_map("settings"), own)

    synced = service.sync(config_map("settings"), listing=everything)

    assert synced.pruned is not None and synced.pruned.pruned == ()
    live = service.live("Namespace", service.environment.namespace)
    assert live is not None and "deletionTimestamp" not in live["metadata"]


def test_a_namespace_goes_only_where_the_environment_names_the_kind(service: Service) -> None:
    name = f"mine-{secrets.token_hex(4)}"
    service.environment = replace(service.environment, allowed_namespaces=(name,))
    service.sync(
        config_map("settings"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )

    kept = service.sync(config_map("settings"))

    live = service.live("Namespace", name)
    assert kept.pruned is not None
    assert [one.key.name for one in kept.pruned.kept] == [name]
    assert live is not None and "deletionTimestamp" not in live["metadata"]
    service.cluster.delete(
        service.cluster.resource("v1", "Namespace"), name, uid=live["metadata"]["uid"], resource_version=""
    )


def test_a_volume_claim_stays_unless_the_environment_names_the_kind(service: Service) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    service.sync(config_map("settings"), claim)

    kept = service.sync(config_map("settings"))
    assert service.live("PersistentVolumeClaim", "data") is not None
    assert kept.pruned is not None and "prune_kinds" in kept.pruned.kept[0].why

    service.environment = replace(service.environment, prune_kinds=frozenset({"PersistentVolumeClaim"}))
    service.sync(config_map("settings"), claim)
    gone = service.sync(config_map("settings"))
    assert gone.pruned is not None
    assert [key.name for key in gone.pruned.pruned] == ["data"]


@pytest.mark.parametrize(
    "annotations",
    [
        {"towline.dev/prune": "disabled"},
        {"kustomize.toolkit.fluxcd.io/prune": "Disabled"},
        {"argocd.argoproj.io/sync-options": "Prune=false"},
        {"towline.dev/apply": "if-not-present", "towline.dev/prune": "disabled"},
    ],
    ids=["towline", "flux", "argocd", "if-not-present"],
)
def test_an_object_whose_annotation_keeps_it_stays(service: Service, annotations: dict[str, str]) -> None:
    service.sync(config_map("one"), config_map("kept", annotations=annotations))

    synced = service.sync(config_map("one"))

    assert service.live("ConfigMap", "kept") is not None
    assert synced.pruned is not None
    assert "prune: disabled" in synced.pruned.kept[0].why


def test_an_object_kept_by_an_annotation_set_after_the_plan_stays(service: Service) -> None:
    service.sync(config_map("one"), config_map("two"))
    patch = {"metadata": {"annotations": {"towline.dev/prune": "disabled"}}}
    resource = service.cluster.resource("v1", "ConfigMap")
    service.before_prune = lambda: service.cluster.merge_patch(
        resource, "two", service.environment.namespace, patch, manager="somebody"
    )

    synced = service.sync(config_map("one"))

    assert service.live("ConfigMap", "two") is not None
    assert synced.pruned is not None and [one.key.name for one in synced.pruned.kept] == ["two"]


def test_another_object_under_the_same_name_stays(service: Service) -> None:
    service.sync(config_map("one"), config_map("two"))

    def replaced() -> None:
        live = service.live("ConfigMap", "two")
        assert live is not None
        resource, namespace = service.cluster.resource("v1", "ConfigMap"), service.environment.namespace
        service.cluster.delete(resource, "two", namespace, uid=live["metadata"]["uid"], resource_version="")
        service.cluster.create(config_map("two", {"b": "theirs"}, namespace=namespace), manager="somebody")

    service.before_prune = replaced

    synced = service.sync(config_map("one"))

    assert service.live("ConfigMap", "two") is not None
    assert synced.pruned is not None and synced.pruned.pruned == ()


def test_an_object_that_only_changed_since_the_plan_is_deleted_all_the_same(service: Service) -> None:
    service.sync(config_map("one"), config_map("two"))
    resource = service.cluster.resource("v1", "ConfigMap")
    patch = {"data": {"b": "1"}}
    service.before_prune = lambda: service.cluster.merge_patch(
        resource, "two", service.environment.namespace, patch, manager="somebody"
    )

    synced = service.sync(config_map("one"))

    assert synced.pruned is not None and [key.name for key in synced.pruned.pruned] == ["two"]


def test_more_than_the_limit_is_refused_with_the_numbers_and_nothing_is_written(service: Service) -> None:
    service.sync(*(config_map(f"c{index}", {"a": "1"}) for index in range(8)))

    with pytest.raises(UnsafePrune) as refused:
        service.sync(config_map("c0", {"a": "2"}), config_map("c1"))

    assert "6 of 8 objects" in refused.value.message
    first = service.live("ConfigMap", "c0")
    assert first is not None and first["data"] == {"a": "1"}
    assert service.live("ConfigMap", "c7") is not None


def test_more_than_the_limit_goes_with_an_operators_word(service: Service) -> None:
    service.sync(*(config_map(f"c{index}") for index in range(8)))

    synced = service.sync(config_map("c0"), intent=Intent(allow_prune=True))

    assert synced.pruned is not None and len(synced.pruned.pruned) == 7


def test_five_objects_of_six_go_without_a_word(service: Service) -> None:
    service.sync(*(config_map(f"c{index}") for index in range(6)))

    synced = service.sync(config_map("c0"))

    assert synced.pruned is not None and len(synced.pruned.pruned) == 5


def test_an_empty_render_never_means_delete_everything(service: Service) -> None:
    service.sync(config_map("one"))

    with pytest.raises(UnsafePrune):
        service.sync()

    assert service.live("ConfigMap", "one") is not None


def test_a_removed_service_takes_its_objects_along(service: Service) -> None:
    service.sync(config_map("one"), plain_service("web"))

    synced = service.sync(intent=Intent(removing=True))

    assert synced.pruned is not None and len(synced.pruned.pruned) == 2
    assert service.recorded == ()


def test_an_object_of_another_release_is_an_error_that_names_both(service: Service, records: Records) -> None:
    other = service.another("payments")
    namespace = service.environment.namespace
    owner = Owner(name=ReleaseName("staging", "payments"), namespace=namespace, repository="shop")
    records.claim(owner, None, token="t", group_kinds=["ConfigMap"], namespaces=[])
    other.sync(config_map("shared", {"a": "theirs"}))

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("shared", {"a": "ours"}), config_map("own"))

    assert f"release {namespace}/payments" in str(refused.value)
    live = service.live("ConfigMap", "shared")
    assert live is not None and live["data"] == {"a": "theirs"}
    assert service.live("ConfigMap", "own") is None


def test_an_object_is_handed_over_when_its_release_drops_it_in_the_same_push(service: Service) -> None:
    other = service.another("payments")
    other.sync(config_map("shared", {"a": "theirs"}), config_map("own"))

    service.sync(
        config_map("shared", {"a": "ours"}),
        intent=Intent(handover=Handover(taken=frozenset({other.target.set_id}))),
    )
    dropped = other.sync(config_map("own"))

    live = service.live("ConfigMap", "shared")
    assert live is not None and live["data"] == {"a": "ours"}
    assert dropped.pruned is not None and dropped.pruned.pruned == ()
    assert "another set" in dropped.pruned.kept[0].why


def test_what_may_not_be_deleted_stays_in_the_record_and_is_said(service: Service) -> None:
    service.sync(config_map("one"), config_map("two"))
    user = f"system:serviceaccount:{service.environment.namespace}:reader"
    grant_reading(service, "reader")
    plain = service.environment
    service.environment = replace(plain, service_account="reader")
    eventually(
        lambda: service.cluster.acting_as(user).list(
            service.cluster.resource("v1", "ConfigMap"), plain.namespace
        )
    )

    synced = service.sync(config_map("one"))

    assert synced.pruned is not None
    assert "forbidden" in synced.pruned.problems[0].message
    assert {record.name for record in service.recorded} == {"one", "two"}


def grant_reading(service: Service, account: str) -> None:
    namespace = service.environment.namespace
    group = "rbac.authorization.k8s.io"
    metadata = {"name": account, "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    service.cluster.create(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    )
    service.cluster.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }
    )


def test_a_kind_that_cannot_be_listed_does_not_stop_a_release_for_good(service: Service) -> None:
    kinds = {"ConfigMap", "SubjectAccessReview.authorization.k8s.io", "Binding"}

    service.sync(
        config_map("settings"), listing=Listing(group_kinds=frozenset(kinds), namespaces=frozenset())
    )

    assert service.live("ConfigMap", "settings") is not None
