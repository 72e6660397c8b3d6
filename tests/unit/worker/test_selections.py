"""What is watched for a release: its kinds where they are, in the name of who applied them, and no value of a Secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parts.engine import configuration, parsed

from towline.shared.config import Config
from towline.shared.objects import ADDITIONAL_NAMESPACES, CONTAINS_GROUP_KINDS
from towline.shared.release import CLAIM, ENVIRONMENT, Release, release_of
from towline.shared.watching import Selection
from towline.worker.selections import environment_of, member_selections, release_selections


def config_of(folder: Path, **environment: Any) -> Config:
    """One environment `staging` in `shop`, one template `preview` in `preview-{branch}-x`."""
    document = configuration(
        folder,
        redis_url="redis://127.0.0.1:1/0",
        kubeconfig=folder / "kubeconfig",
        url="https://example.com/acme/shop.git",
        namespaces={"staging": "shop", "preview": "preview-{branch}-x"},
        environment=environment,
    )
    return parsed(document, folder)


def release(
    *kinds: str, environment: str = "staging", namespace: str = "shop", **annotations: str
) -> Release:
    """A Release with an object of each of these kinds (`Deployment.apps`)."""
    pairs = [kind.partition(".") for kind in kinds]
    objects = [
        {"group": group, "kind": kind, "namespace": namespace, "name": "orders"} for kind, _, group in pairs
    ]
    return release_of(
        {
            "metadata": {
                "name": "orders",
                "namespace": namespace,
                "annotations": {ENVIRONMENT: environment, **annotations},
            },
            "status": {"environment": environment, "objects": objects},
        }
    )


def selected(config: Config, one: Release) -> dict[str, Selection]:
    """What is watched, by kind."""
    environment = environment_of(config, "test", one)
    assert environment is not None
    return {each.kind: each for each in member_selections(one, environment)}


def test_kinds_without_a_health_are_watched_by_their_metadata_alone(tmp_path: Path):
    found = selected(config_of(tmp_path), release("Secret", "ConfigMap", "Deployment.apps"))

    assert found["Secret"].metadata_only and found["ConfigMap"].metadata_only
    assert not found["Deployment"].metadata_only


def test_every_member_is_selected_by_the_label_of_its_applyset(tmp_path: Path):
    found = selected(config_of(tmp_path), release("Secret", "Deployment.apps", "Widget.example.com"))

    members = [found["Secret"], found["Deployment"], found["Widget"]]
    assert {one.labels for one in members} == {"applyset.kubernetes.io/part-of"}
    assert {one.namespace for one in members} == {"shop"}


def test_pods_and_events_are_watched_only_where_something_makes_pods(tmp_path: Path):
    config = config_of(tmp_path)

    assert {"Pod", "ReplicaSet", "Event"} <= selected(config, release("Deployment.apps")).keys()
    assert "Pod" not in selected(config, release("Secret"))


def test_objects_are_read_in_the_name_of_the_account_that_applied_them(tmp_path: Path):
    config = config_of(tmp_path, service_account="deployer")

    fixed = selected(config, release("Secret"))
    made = selected(config, release("Secret", environment="preview-cart", namespace="preview-cart-x"))

    assert fixed["Secret"].user == "system:serviceaccount:shop:deployer"
    assert made["Secret"].user == "system:serviceaccount:preview-cart-x:deployer"


def test_what_a_sync_is_about_to_apply_is_watched_before_it_is_recorded(tmp_path: Path):
    claimed = {CLAIM: "t", CONTAINS_GROUP_KINDS: "Job.batch,Secret", ADDITIONAL_NAMESPACES: "jobs"}
    one = release("Secret", **claimed)
    environment = environment_of(config_of(tmp_path), "test", one)
    assert environment is not None

    found = {(each.kind, each.namespace) for each in member_selections(one, environment)}

    assert {("Job", "shop"), ("Job", "jobs")} <= found


@pytest.mark.parametrize(
    ("environment", "namespace", "is_ours"),
    [
        ("staging", "shop", True),
        ("staging", "elsewhere", False),
        ("production", "shop", False),
        ("preview-cart", "preview-cart-x", True),
        ("preview-cart", "preview-cart-y", False),
        ("preview", "preview--x", False),
    ],
)
def test_a_release_of_another_installation_is_left_alone(tmp_path: Path, environment, namespace, is_ours):
    found = environment_of(config_of(tmp_path), "test", release(environment=environment, namespace=namespace))

    assert (found is not None) is is_ours


def test_releases_are_watched_in_the_whole_cluster_or_in_the_namespaces_that_are_known():
    everywhere = {one.namespace for one in release_selections(None)}
    some = {one.namespace for one in release_selections(["b", "a", "b"])}

    assert (everywhere, some) == ({""}, {"a", "b"})
