"""Immutable fields: said clearly, and made anew only where that is allowed and the replacement is known to be good."""

from __future__ import annotations

from typing import Any

import pytest
from parts.service import Service, config_map, deployment, plain_service

from towline.shared.errors import PlanRefused
from towline.shared.model import Object

ALLOWED = {"towline.dev/recreate": "allowed"}


def job(name: str, *, image: str = "example.com/job:1", **metadata: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **metadata},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": image}]}},
        },
    }


def test_a_change_of_an_immutable_field_names_the_field_and_the_annotation(service: Service) -> None:
    service.sync(job("migrate"), config_map("settings", {"a": "1"}))

    with pytest.raises(PlanRefused) as refused:
        service.sync(job("migrate", image="example.com/job:2"), config_map("settings", {"a": "2"}))

    (problem,) = refused.value.problems
    assert (problem.path or "").startswith("spec.template")
    assert "immutable" in problem.message
    assert "towline.dev/recreate: allowed" in problem.message
    assert len(problem.message) < 300
    settings = service.live("ConfigMap", "settings")
    assert settings is not None and settings["data"] == {"a": "1"}


@pytest.mark.parametrize(
    "annotations",
    [
        ALLOWED,
        {"kustomize.toolkit.fluxcd.io/force": "enabled"},
        {"argocd.argoproj.io/sync-options": "Force=true"},
    ],
    ids=["towline", "flux", "argocd"],
)
def test_an_object_that_may_be_made_anew_is(service: Service, annotations: dict[str, str]) -> None:
    service.sync(job("migrate"))
    before = service.live("Job", "migrate", api_version="batch/v1")

    synced = service.sync(job("migrate", image="example.com/job:2", annotations=annotations))

    after = service.live("Job", "migrate", api_version="batch/v1")
    assert before is not None and after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/job:2"
    assert synced.plan.counts()["recreate"] == 1
    assert "±" in synced.plan.text()


def test_the_object_that_runs_stays_when_its_replacement_would_be_refused(service: Service) -> None:
    service.sync(deployment("web"))
    broken = deployment("web", selector={"matchLabels": {"app": "another"}})
    broken["metadata"]["annotations"] = ALLOWED

    with pytest.raises(PlanRefused) as refused:
        service.sync(broken)

    assert "selector" in str(refused.value)
    assert service.live("Deployment", "web", api_version="apps/v1") is not None


def test_a_service_can_be_made_anew_with_the_node_port_that_it_still_holds(service: Service) -> None:
    first = plain_service("web")
    first["spec"] |= {"type": "NodePort"}
    service.sync(first)
    live = service.live("Service", "web")
    assert live is not None
    node_port = live["spec"]["ports"][0]["nodePort"]
    address = next(one for one in ("10.96.77.77", "10.96.88.88") if one != live["spec"]["clusterIP"])
    second = plain_service("web")
    second["metadata"]["annotations"] = ALLOWED
    second["spec"] |= {
        "type": "NodePort",
        "clusterIP": address,
        "ports": [{"port": 80, "nodePort": node_port}],
    }

    service.sync(second)

    after = service.live("Service", "web")
    assert after is not None
    assert (after["spec"]["clusterIP"], after["spec"]["ports"][0]["nodePort"]) == (address, node_port)


def test_an_object_of_somebody_else_is_never_deleted_to_be_made_anew(service: Service) -> None:
    theirs = job("migrate", namespace=service.environment.namespace)
    service.cluster.create(theirs, manager="somebody")

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("settings"), job("migrate", image="example.com/job:2", annotations=ALLOWED))

    assert "does not own it" in str(refused.value)
    assert service.live("Job", "migrate", api_version="batch/v1") is not None


def test_a_volume_claim_is_never_deleted_to_be_made_anew(service: Service) -> None:
    def claim(size: str) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "annotations": ALLOWED},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": size,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }

    service.sync(claim("fast"))

    with pytest.raises(PlanRefused, match="never deleted"):
        service.sync(claim("slow"))
