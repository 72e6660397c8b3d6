"""Where a plain server-side apply does something else than one would think."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from parts.eventually import eventually
from parts.service import Service, config_map, deployment

from towline.shared.cluster import Cluster
from towline.shared.errors import ClusterError, PlanRefused
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import digest, normalise, owned_hash
from towline.worker.plan import Intent
from towline.worker.waiting import await_gone


def patched(
    service: Service, kind: str, name: str, patch: dict[str, Any], *, api_version: str = "v1", **how: str
) -> Object:
    resource = service.cluster.resource(api_version, kind)
    return service.cluster.merge_patch(resource, name, service.environment.namespace, patch, **how)


def deleted(service: Service, kind: str, name: str) -> None:
    live = service.live(kind, name)
    assert live is not None
    resource, namespace = service.cluster.resource("v1", kind), service.environment.namespace
    service.cluster.delete(resource, name, namespace, uid=live["metadata"]["uid"], resource_version="")


# Replicas that an autoscaler set.


def scaled(service: Service, replicas: int) -> None:
    patch = {"spec": {"replicas": replicas}}
    patched(
        service,
        "Deployment",
        "web",
        patch,
        api_version="apps/v1",
        subresource="scale",
        manager="kube-controller-manager",
    )


def test_replicas_set_through_the_scale_subresource_are_never_taken_over(service: Service) -> None:
    service.sync(deployment("web", replicas=1))
    scaled(service, 3)

    synced = service.sync(deployment("web", replicas=1, image="example.com/app:2"))

    live = service.live("Deployment", "web", api_version="apps/v1")
    assert live is not None
    assert live["spec"]["replicas"] == 3
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/app:2"
    assert synced.applied.taken_over == ()
    assert not synced.applied.problems


def test_replicas_stay_the_autoscalers_while_another_field_is_taken_over(service: Service) -> None:
    service.sync(deployment("web", replicas=1, minReadySeconds=1))
    scaled(service, 3)
    patched(
        service,
        "Deployment",
        "web",
        {"spec": {"minReadySeconds": 9}},
        api_version="apps/v1",
        manager="somebody",
    )

    synced = service.sync(deployment("web", replicas=1, minReadySeconds=2))

    live = service.live("Deployment", "web", api_version="apps/v1")
    assert live is not None
    assert (live["spec"]["replicas"], live["spec"]["minReadySeconds"]) == (3, 2)
    assert [(one.path, one.manager) for one in synced.applied.taken_over] == [
        (".spec.minReadySeconds", "somebody")
    ]


def test_a_full_pass_after_the_autoscaler_is_no_drift_twice(service: Service) -> None:
    service.sync(deployment("web", replicas=1))
    scaled(service, 3)
    service.sync(deployment("web", replicas=1), intent=Intent(full=True))

    again = service.sync(deployment("web", replicas=1), intent=Intent(full=True))

    assert again.plan.is_empty


# A field of another manager.


def test_a_conflict_is_taken_over_and_listed(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1", "b": "1"}))
    patched(service, "ConfigMap", "settings", {"data": {"a": "9"}}, manager="somebody")

    synced = service.sync(config_map("settings", {"a": "2", "b": "1"}))

    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"] == {"a": "2", "b": "1"}
    (taken,) = synced.applied.taken_over
    assert (taken.path, taken.manager) == (".data.a", "somebody")
    assert "taken over from somebody" in str(taken)


def test_no_conflict_costs_no_second_request(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1"}))
    patched(service, "ConfigMap", "settings", {"data": {"other": "9"}}, manager="somebody")
    service.requests.clear()

    service.sync(config_map("settings", {"a": "2"}))

    assert dict(service.requests) == {"apply": 1}


# The strategy of a workload.


@pytest.mark.parametrize("image", ["example.com/app:1", "example.com/app:2"])
def test_a_deployment_can_change_to_recreate(service: Service, image: str) -> None:
    service.sync(deployment("web"))

    synced = service.sync(deployment("web", image=image, strategy={"type": "Recreate"}))

    assert not synced.applied.problems
    live = service.live("Deployment", "web", api_version="apps/v1")
    assert live is not None
    assert live["spec"]["strategy"] == {"type": "Recreate"}
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_a_deployment_can_change_to_recreate_and_back(service: Service) -> None:
    service.sync(deployment("web"))
    service.sync(deployment("web", strategy={"type": "Recreate"}))

    synced = service.sync(deployment("web"))

    assert not synced.applied.problems
    assert synced.applied.taken_over == ()


def test_a_stateful_set_can_change_to_on_delete(service: Service) -> None:
    service.sync(stateful_set("db"))

    synced = service.sync(stateful_set("db", updateStrategy={"type": "OnDelete"}))

    assert not synced.applied.problems
    live = service.live("StatefulSet", "db", api_version="apps/v1")
    assert live is not None
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_another_error_beside_the_change_to_recreate_is_still_a_refusal(service: Service) -> None:
    service.sync(deployment("web"))

    with pytest.raises(PlanRefused) as refused:
        service.sync(deployment("web", strategy={"type": "Recreate"}, replicas=-1))

    assert "spec.replicas" in str(refused.value)


def stateful_set(name: str, **spec: Any) -> Object:
    return {
        **deployment(name),
        "kind": "StatefulSet",
        "spec": {**deployment(name)["spec"], "serviceName": name, **spec},
    }


# Secrets.


def test_a_key_of_string_data_taken_out_of_git_leaves_the_secret(service: Service) -> None:
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    service.sync({**secret, "stringData": {"a": "1", "b": "2"}})

    service.sync({**secret, "stringData": {"a": "1"}})

    live = service.live("Secret", "keys")
    assert live is not None
    assert live["data"] == {"a": base64.b64encode(b"1").decode()}


# Objects that are going away.


def test_an_apply_to_a_terminating_object_waits_and_applies_again(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1"}))
    busy = {"metadata": {"finalizers": ["example.com/busy"]}}
    first = patched(service, "ConfigMap", "settings", busy, manager="somebody")
    deleted(service, "ConfigMap", "settings")
    service.requests.clear()

    with ThreadPoolExecutor(1) as pool:
        sync = pool.submit(service.sync, config_map("settings", {"a": "2"}))
        eventually(lambda: service.requests["get"] > 1, within=10)
        patched(service, "ConfigMap", "settings", {"metadata": {"finalizers": None}}, manager="somebody")
        synced = sync.result(timeout=20)

    live = service.live("ConfigMap", "settings")
    assert not synced.applied.problems
    assert live is not None and live["data"] == {"a": "2"}
    assert live["metadata"]["uid"] != first["metadata"]["uid"]
    assert service.recorded[0].owned == owned_hash(live)


def test_an_object_that_does_not_go_away_is_an_error_naming_its_finalizers(service: Service) -> None:
    service.sync(config_map("settings", finalizers=["example.com/busy"]))
    live = service.live("ConfigMap", "settings")
    assert live is not None
    deleted(service, "ConfigMap", "settings")
    key = ObjectKey(group="", kind="ConfigMap", namespace=service.environment.namespace, name="settings")

    with pytest.raises(ClusterError, match=r"finalizers: example\.com/busy"):
        await_gone(service.cluster, key, uid=live["metadata"]["uid"], seconds=0.2)

    patched(service, "ConfigMap", "settings", {"metadata": {"finalizers": None}})


# What others own of an object that comes to Towline.


def kubectl_applied(cluster: Cluster, namespace: str, data: dict[str, str]) -> None:
    object = config_map("settings", data, namespace=namespace)
    cluster.create(object, manager="kubectl-client-side-apply")


def test_a_field_that_only_kubectl_set_goes_when_towline_takes_the_object_over(service: Service) -> None:
    kubectl_applied(service.cluster, service.environment.namespace, {"a": "1", "old": "1"})

    synced = service.sync(config_map("settings", {"a": "1"}))

    live = service.live("ConfigMap", "settings")
    assert live is not None
    assert live["data"] == {"a": "1"}
    assert not synced.applied.problems
    assert {one["manager"] for one in live["metadata"]["managedFields"]} == {"towline"}


def test_apply_merge_keeps_what_kubectl_set_beside(service: Service) -> None:
    kubectl_applied(service.cluster, service.environment.namespace, {"a": "1", "old": "1"})

    service.sync(config_map("settings", {"a": "2"}, annotations={"towline.dev/apply": "merge"}))

    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"] == {"a": "2", "old": "1"}


def test_apply_if_not_present_makes_an_object_once_and_leaves_it(service: Service) -> None:
    once = {"towline.dev/apply": "if-not-present"}
    service.sync(config_map("settings", {"a": "1"}, annotations=once))
    service.requests.clear()

    service.sync(config_map("settings", {"a": "2"}, annotations=once))
    service.sync(config_map("settings", {"a": "2"}, annotations=once))

    assert dict(service.requests) == {"get": 1}
    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"] == {"a": "1"}


def test_apply_if_not_present_makes_an_object_again_that_is_gone(service: Service) -> None:
    once = {"towline.dev/apply": "if-not-present"}
    service.sync(config_map("settings", {"a": "1"}, annotations=once))
    deleted(service, "ConfigMap", "settings")

    service.sync(config_map("settings", {"a": "2"}, annotations=once))

    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"] == {"a": "2"}


def test_apply_ignore_never_touches_and_never_prunes(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1"}), config_map("other"))

    ignored = config_map("settings", {"a": "2"}, annotations={"towline.dev/apply": "ignore"})
    service.sync(ignored, config_map("other"))
    service.sync(config_map("other"))

    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"] == {"a": "1"}


def test_the_record_is_of_what_was_rendered_and_of_what_is_owned(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1"}))

    live = service.live("ConfigMap", "settings")
    placed = normalise(config_map("settings", {"a": "1"}, namespace=service.environment.namespace))
    (record,) = service.recorded
    assert live is not None
    assert (record.digest, record.owned) == (digest(placed), owned_hash(live))
