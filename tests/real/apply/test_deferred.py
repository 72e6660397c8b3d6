"""What cannot be asked of the API server yet: kinds and namespaces that come with the same set."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from parts.control_plane import ControlPlane, delete_namespace
from parts.service import Service, config_map, deployment

from towline.shared.errors import ClusterError, PlanRefused
from towline.shared.model import Object
from towline.shared.objects import key_of
from towline.worker.waiting import await_served

TEXT = {"type": "string"}


@pytest.fixture
def group(service: Service) -> Iterator[str]:
    """A group of the test's own; its CRD goes when the test ends."""
    group = f"test-{secrets.token_hex(4)}.example.com"
    yield group
    crd = service.live("CustomResourceDefinition", f"backups.{group}", api_version="apiextensions.k8s.io/v1")
    if crd is not None:
        resource = service.cluster.resource_of(crd)
        metadata = crd["metadata"]
        service.cluster.delete(resource, metadata["name"], uid=metadata["uid"], resource_version="")


def crd(group: str, **properties: Any) -> Object:
    spec = {"type": "object", "required": ["schedule"], "properties": properties or {"schedule": TEXT}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"backups.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Backup", "plural": "backups"},
            "versions": [version],
        },
    }


def backup(group: str, **spec: Any) -> Object:
    return {"apiVersion": f"{group}/v1", "kind": "Backup", "metadata": {"name": "nightly"}, "spec": spec}


def test_a_custom_resource_is_applied_after_its_own_definition_is_served(
    service: Service, group: str
) -> None:
    synced = service.sync(backup(group, schedule="daily"), crd(group))

    live = service.live("Backup", "nightly", api_version=f"{group}/v1")
    assert live is not None and live["spec"] == {"schedule": "daily"}
    assert [key.kind for key in synced.applied.deferred] == ["Backup"]
    assert synced.applied.created[0].kind == "CustomResourceDefinition"


def test_a_definition_is_awaited_until_it_is_served(service: Service, group: str) -> None:
    service.sync(crd(group))

    live = service.live("CustomResourceDefinition", f"backups.{group}", api_version="apiextensions.k8s.io/v1")
    assert live is not None
    states = {one["type"]: one["status"] for one in live["status"]["conditions"]}
    assert states["Established"] == "True"


def test_a_definition_that_is_never_served_is_an_error(service: Service, group: str) -> None:
    service.sync(crd(group))
    same_kind = crd(group)
    same_kind["metadata"]["name"] = f"copies.{group}"
    same_kind["spec"]["names"]["plural"] = "copies"
    made = service.cluster.apply(same_kind)

    with pytest.raises(ClusterError, match=r"copies\..* is not served after 0\.3 s"):
        await_served(service.cluster, made, key_of(made), seconds=0.3)

    metadata = made["metadata"]
    resource = service.cluster.resource_of(made)
    service.cluster.delete(resource, metadata["name"], uid=metadata["uid"], resource_version="")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"schedule": 5}, "spec.schedule"),
        ({}, "spec.schedule"),
        ({"schedule": "a", "sched": "b"}, "spec.sched"),
    ],
    ids=["wrong type", "required", "not declared"],
)
def test_a_custom_resource_that_its_own_definition_refuses_stops_everything(
    service: Service, group: str, spec: dict[str, Any], path: str
) -> None:
    with pytest.raises(PlanRefused) as refused:
        service.sync(backup(group, **spec), crd(group))

    (problem,) = refused.value.problems
    assert problem.path == path
    assert (
        service.live("CustomResourceDefinition", f"backups.{group}", api_version="apiextensions.k8s.io/v1")
        is None
    )


def test_a_field_that_a_changed_definition_adds_may_be_used_in_the_same_sync(
    service: Service, group: str
) -> None:
    service.sync(crd(group), backup(group, schedule="daily"))

    synced = service.sync(
        crd(group, schedule=TEXT, keep={"type": "integer"}), backup(group, schedule="daily", keep=3)
    )

    live = service.live("Backup", "nightly", api_version=f"{group}/v1")
    assert live is not None and live["spec"]["keep"] == 3
    assert [key.kind for key in synced.applied.deferred] == ["Backup"]


def test_a_field_that_not_even_the_changed_definition_has_is_refused(service: Service, group: str) -> None:
    service.sync(crd(group), backup(group, schedule="daily"))

    with pytest.raises(PlanRefused, match="not declared"):
        service.sync(
            crd(group, schedule=TEXT, keep={"type": "integer"}), backup(group, schedule="daily", kep=3)
        )

    live = service.live("CustomResourceDefinition", f"backups.{group}", api_version="apiextensions.k8s.io/v1")
    assert live is not None and "keep" not in str(live["spec"])


def test_custom_resources_go_before_their_definition_which_stays(service: Service, group: str) -> None:
    service.sync(crd(group), backup(group, schedule="daily"), config_map("settings"))

    synced = service.sync(config_map("settings"))

    assert synced.pruned is not None
    assert [key.kind for key in synced.pruned.pruned] == ["Backup"]
    assert [kept.key.kind for kept in synced.pruned.kept] == ["CustomResourceDefinition"]


@pytest.fixture
def other(service: Service, control_plane: ControlPlane) -> Iterator[str]:
    """A namespace that does not exist, in which the environment may write."""
    name = f"other-{secrets.token_hex(4)}"
    service.environment = replace(service.environment, allowed_namespaces=(name,))
    yield name
    delete_namespace(control_plane, name)


def namespace_object(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_objects_of_a_namespace_in_the_same_set_are_applied_after_it(service: Service, other: str) -> None:
    synced = service.sync(config_map("settings", {"a": "1"}, namespace=other), namespace_object(other))

    live = service.live("ConfigMap", "settings", namespace=other)
    assert live is not None and live["data"] == {"a": "1"}
    assert [key.name for key in synced.applied.deferred] == ["settings"]


def test_a_wrong_object_of_a_namespace_in_the_same_set_is_refused_before_it_is_made(
    service: Service, other: str
) -> None:
    wrong = deployment("web", replicas=-1)
    wrong["metadata"]["namespace"] = other

    with pytest.raises(PlanRefused) as refused:
        service.sync(wrong, namespace_object(other))

    (problem,) = refused.value.problems
    assert (problem.path, problem.object) == ("spec.replicas", f"Deployment.apps {other}/web")
    assert service.live("Namespace", other) is None
