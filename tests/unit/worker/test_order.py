"""In which order objects are written and deleted, and where a round trip is spent on that."""

from __future__ import annotations

import pytest
from parts.service import config_map, deployment, four_objects, ingress, plain_service, service_account

from towline.shared.model import Object
from towline.shared.objects import key_of
from towline.worker.order import Rank, deletion_stages, rank_of, stages


def kinds(*objects: Object) -> list[list[str]]:
    staged = stages(objects, of=lambda one: (key_of(one), one))
    return [[str(one["kind"]) for one in stage] for stage in staged]


def one(api_version: str, kind: str, name: str = "x", *, wave: int | None = None) -> Object:
    annotations = {} if wave is None else {"towline.dev/wave": str(wave)}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "annotations": annotations}}


RBAC = "rbac.authorization.k8s.io/v1"


def test_a_usual_service_takes_two_round_trips_to_install() -> None:
    assert kinds(*four_objects("web")) == [["ServiceAccount", "Service"], ["Deployment", "Ingress"]]


def test_everything_has_its_place() -> None:
    objects = [
        one("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ingress("web"),
        one("example.com/v1", "Backup"),
        deployment("web"),
        plain_service("web"),
        config_map("web"),
        service_account("web"),
        one(RBAC, "RoleBinding"),
        one(RBAC, "Role"),
        one("storage.k8s.io/v1", "StorageClass"),
        one("v1", "Namespace"),
        one("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ]

    assert kinds(*objects) == [
        ["Namespace", "CustomResourceDefinition"],
        ["StorageClass", "Role"],
        ["ServiceAccount", "RoleBinding", "ConfigMap", "Service"],
        ["Deployment", "Ingress", "Backup"],
        ["ValidatingWebhookConfiguration"],
    ]


def test_the_order_is_the_same_whatever_the_files_order() -> None:
    objects = [config_map(name) for name in "cab"]

    for permutation in (objects, objects[::-1]):
        (stage,) = stages(permutation, of=lambda one: (key_of(one), one))
        assert [one["metadata"]["name"] for one in stage] == ["a", "b", "c"]


def test_waves_come_one_after_another_and_keep_their_own_order() -> None:
    first, last = one("apps/v1", "Deployment", "first", wave=-1), one("v1", "ConfigMap", "last", wave=10)

    assert kinds(last, config_map("middle"), deployment("middle"), first) == [
        ["Deployment"],
        ["ConfigMap"],
        ["Deployment"],
        ["ConfigMap"],
    ]


def test_namespaces_and_definitions_come_before_every_wave() -> None:
    assert kinds(one("v1", "ConfigMap", wave=-100), one("v1", "Namespace", wave=5)) == [
        ["Namespace"],
        ["ConfigMap"],
    ]


def test_deletion_goes_the_other_way() -> None:
    objects = [*four_objects("web"), one(RBAC, "Role"), one("v1", "Namespace")]

    staged = deletion_stages([key_of(one) for one in objects], key=lambda key: key)

    assert [[key.kind for key in stage] for stage in staged] == [
        ["Ingress", "Deployment"],
        ["Service", "ServiceAccount"],
        ["Role"],
        ["Namespace"],
    ]


@pytest.mark.parametrize("kind", ["Role", "Service", "Namespace", "StorageClass"])
def test_a_kind_of_others_named_like_kubernetes_own_is_an_ordinary_one(kind: str) -> None:
    assert rank_of(key_of(one("example.com/v1", kind))) is Rank.WORKLOADS
