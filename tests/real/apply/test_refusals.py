"""Everything that can be checked is checked before anything is written, and said in one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from parts.eventually import eventually
from parts.service import Service, config_map, deployment, plain_service

from towline.shared.errors import Conflict, PlanRefused
from towline.shared.model import Object


def test_every_refusal_is_named_and_nothing_is_written(service: Service) -> None:
    service.sync(config_map("settings", {"a": "1"}), deployment("web"), plain_service("web"))

    with pytest.raises(PlanRefused) as refused:
        service.sync(
            config_map("settings", {"a": "2"}),
            deployment("web", replicas=-1),
            plain_service("web") | {"spec": {"ports": [{"port": 0}]}},
        )

    assert {problem.object for problem in refused.value.problems} == {
        f"Deployment.apps {service.environment.namespace}/web",
        f"Service {service.environment.namespace}/web",
    }
    assert {problem.path for problem in refused.value.problems} >= {"spec.replicas", "spec.ports[0].port"}
    settings = service.live("ConfigMap", "settings")
    assert settings is not None and settings["data"] == {"a": "1"}


def test_a_misspelt_field_is_a_refusal_and_not_a_fault_to_try_again(service: Service) -> None:
    service.sync(deployment("web"))

    with pytest.raises(PlanRefused) as refused:
        service.sync(deployment("web", replica=3))

    (problem,) = refused.value.problems
    assert ".spec.replica: field not declared in schema" in problem.message
    assert (problem.file, problem.line) == ("deploy/0.yaml", 1)
    assert not refused.value.retry


def test_the_value_of_a_secret_is_in_no_refusal(service: Service) -> None:
    service.sync(config_map("settings"))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "not base64: hunter2"},
    }

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("settings"), secret)

    assert "hunter2" not in str(refused.value)


def test_a_refusal_after_the_dry_run_ends_half_way_and_the_record_knows_what_stands(service: Service) -> None:
    old = [config_map("settings", {"a": "1"}), deployment("web"), config_map("old")]
    service.sync(*old)
    service.before_apply = lambda: make_immutable(service, "settings")

    synced = service.sync(
        config_map("settings", {"a": "2"}), config_map("more"), deployment("web", image="example.com/app:2")
    )

    (problem,) = synced.applied.problems
    assert problem.object == f"ConfigMap {service.environment.namespace}/settings"
    assert [key.name for key in synced.applied.created] == ["more"]
    assert synced.applied.changed == ()  # the Deployment belongs to a later stage
    assert synced.pruned is None
    assert service.live("ConfigMap", "old") is not None
    assert {record.name for record in service.recorded} == {"settings", "more", "web", "old"}


def make_immutable(service: Service, name: str) -> None:
    resource = service.cluster.resource("v1", "ConfigMap")
    service.cluster.merge_patch(
        resource, name, service.environment.namespace, {"immutable": True}, manager="x"
    )


def test_a_lost_claim_ends_the_sync_before_anything_is_written(service: Service) -> None:
    def lost() -> None:
        raise Conflict("another attempt holds the release")

    service.claim = lost

    with pytest.raises(Conflict):
        service.sync(config_map("settings"))

    assert service.live("ConfigMap", "settings") is None


def test_a_claim_lost_before_the_prune_deletes_nothing(service: Service) -> None:
    service.sync(config_map("settings"), config_map("old"))

    def lost() -> None:
        raise Conflict("another attempt holds the release")

    service.before_prune = lambda: setattr(service, "claim", lost)

    with pytest.raises(Conflict):
        service.sync(config_map("settings"))

    assert service.live("ConfigMap", "old") is not None


def test_nothing_is_asked_of_the_claim_where_nothing_is_written(service: Service) -> None:
    service.sync(config_map("settings"))
    asked: list[str] = []
    service.claim = lambda: asked.append("claim")

    service.sync(config_map("settings"))

    assert asked == []


def test_objects_are_written_in_the_name_of_the_environments_service_account(service: Service) -> None:
    namespace = service.environment.namespace
    grant(service, "deployer", rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}])
    service.environment = replace(service.environment, service_account="deployer")
    service.sync(config_map("settings", {"a": "1"}))

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("settings", {"a": "2"}), plain_service("web"), deployment("web"))

    assert {problem.file for problem in refused.value.problems} == {"deploy/1.yaml", "deploy/2.yaml"}
    assert f"system:serviceaccount:{namespace}:deployer" in str(refused.value)
    settings = service.live("ConfigMap", "settings")
    assert settings is not None and settings["data"] == {"a": "1"}


def test_an_account_that_may_read_but_not_write_is_refused_by_the_dry_run(service: Service) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
    ]
    grant(service, "deployer", rules=rules)
    service.environment = replace(service.environment, service_account="deployer")
    service.sync(config_map("settings", {"a": "1"}))

    with pytest.raises(PlanRefused) as refused:
        service.sync(config_map("settings", {"a": "2"}), plain_service("web"))

    (problem,) = refused.value.problems
    assert problem.file == "deploy/1.yaml"
    assert "forbidden" in problem.message


def grant(service: Service, account: str, *, rules: list[Object]) -> None:
    namespace = service.environment.namespace
    group = "rbac.authorization.k8s.io"
    metadata = {"name": account, "namespace": namespace}
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    for one in ({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, role, binding):
        service.cluster.create(one)
    user = f"system:serviceaccount:{namespace}:{account}"
    resource = service.cluster.resource("v1", "ConfigMap")
    eventually(lambda: service.cluster.acting_as(user).get(resource, "none", namespace) is None)
