"""A first install, and what a sync costs in requests."""

from __future__ import annotations

import pytest
from parts.service import Service, config_map, deployment, four_objects, plain_service, service_account

from towline.shared.errors import PlanRefused
from towline.shared.objects import PART_OF
from towline.worker.plan import Intent


def invalid_deployment(name: str) -> dict[str, object]:
    return deployment(name, selector={"matchLabels": {"app": "another"}})


def test_a_first_install_reads_and_writes_each_object_once_without_a_dry_run(service: Service) -> None:
    synced = service.sync(*four_objects("web"))

    assert dict(service.requests) == {"get": 4, "apply": 4}
    assert len(synced.applied.created) == 4
    live = service.live("Deployment", "web", api_version="apps/v1")
    assert live is not None
    assert live["metadata"]["labels"][PART_OF] == service.target.set_id


def test_the_same_objects_again_cost_no_request(service: Service) -> None:
    service.sync(*four_objects("web"))
    service.requests.clear()

    synced = service.sync(*four_objects("web"))

    assert dict(service.requests) == {}
    assert synced.plan.is_empty
    assert len(synced.applied.left) == 4


def test_one_of_four_objects_changed_costs_one_request(service: Service) -> None:
    service.sync(*four_objects("web"))
    service.requests.clear()

    synced = service.sync(*four_objects("web", image="example.com/app:2"))

    assert dict(service.requests) == {"apply": 1}
    assert [key.kind for key in synced.applied.changed] == ["Deployment"]


def test_a_refused_install_names_every_error_of_every_stage_and_leaves_nothing(service: Service) -> None:
    broken = plain_service("web") | {"spec": {"ports": [{"port": 70_000}]}}
    objects = [service_account("web"), config_map("settings"), broken, invalid_deployment("web")]

    with pytest.raises(PlanRefused) as refused:
        service.sync(*objects)

    named = {(problem.object or "").partition(" ")[0] for problem in refused.value.problems}
    assert named == {"Service", "Deployment.apps"}
    assert {problem.file for problem in refused.value.problems} == {"deploy/2.yaml", "deploy/3.yaml"}
    assert service.live("ServiceAccount", "web") is None
    assert service.live("ConfigMap", "settings") is None
    assert service.live("Deployment", "web", api_version="apps/v1") is None


def test_a_refused_install_keeps_what_somebody_else_made(service: Service) -> None:
    def meanwhile() -> None:
        stranger = config_map("settings", {"a": "theirs"}, namespace=service.environment.namespace)
        service.cluster.create(stranger, manager="somebody")

    service.before_apply = meanwhile

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("settings", {"b": "ours"}), invalid_deployment("web"))

    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"]["a"] == "theirs"
    assert "ConfigMap" in refused.value.hint


def test_a_job_is_not_started_by_an_install_that_is_refused(service: Service) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "job", "image": "example.com/job:1"}]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": pod}},
    }

    with pytest.raises(PlanRefused):
        service.sync(job, invalid_deployment("web"))

    assert service.requests["apply"] == 0


def test_a_full_pass_that_finds_no_drift_writes_nothing(service: Service) -> None:
    service.sync(*four_objects("web"))
    service.requests.clear()

    synced = service.sync(*four_objects("web"), intent=Intent(full=True))

    assert dict(service.requests) == {"get": 4}
    assert synced.plan.is_empty


def test_a_full_pass_heals_what_somebody_changed_or_deleted(service: Service) -> None:
    service.sync(config_map("one", {"a": "1"}), config_map("two", {"a": "1"}))
    namespace = service.environment.namespace
    resource = service.cluster.resource("v1", "ConfigMap")
    service.cluster.merge_patch(resource, "one", namespace, {"data": {"a": "2"}}, manager="somebody")
    two = service.live("ConfigMap", "two")
    assert two is not None
    service.cluster.delete(resource, "two", namespace, uid=two["metadata"]["uid"], resource_version="")

    synced = service.sync(
        config_map("one", {"a": "1"}), config_map("two", {"a": "1"}), intent=Intent(full=True)
    )

    assert synced.plan.counts() == {"create": 1, "change": 1, "recreate": 0, "leave": 0, "prune": 0}
    assert [one.manager for one in synced.applied.taken_over] == ["somebody"]
    healed = service.live("ConfigMap", "one")
    assert healed is not None and healed["data"] == {"a": "1"}
    assert service.live("ConfigMap", "two") is not None
