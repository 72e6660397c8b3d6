"""Services of one push that depend on each other: objects change hands without being deleted, kinds are waited for."""

from __future__ import annotations

import pytest
from parts.control_plane import ControlPlane
from parts.engine import Engine
from parts.manifests import config_map, deployment, several

from towline.shared.errors import Unavailable
from towline.shared.jobs import SyncArguments
from towline.worker.sync import sync

ORDERS = "services/orders/app.yaml"
CART = "services/cart/app.yaml"
PAYMENTS = "services/payments/app.yaml"
OVERLAY = "namePrefix: eu-\nresources: [app.yaml]\n"
CLAIM = """apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def run(engine: Engine, *services: str) -> None:
    """Push, and run these syncs in this order."""
    engine.push(run=False)
    for service in services:
        engine.lines[service] = sync(engine.tools, SyncArguments(release=f"staging/{service}"))


def uid_of(engine: Engine, kind: str, name: str, *, api_version: str = "v1") -> str | None:
    """The identity of a live object, None when there is none."""
    live = engine.live(kind, name, api_version=api_version)
    return live["metadata"]["uid"] if live else None


@pytest.mark.parametrize("order", [("orders", "payments"), ("payments", "orders")])
def test_a_renamed_service_keeps_its_objects(engine: Engine, order: tuple[str, str]) -> None:
    engine.deploy({ORDERS: deployment("orders"), CART: config_map("cart")})
    before = uid_of(engine, "Deployment", "orders", api_version="apps/v1")

    engine.commit({ORDERS: None, PAYMENTS: deployment("orders")})
    run(engine, *order)

    assert uid_of(engine, "Deployment", "orders", api_version="apps/v1") == before
    assert engine.release("orders") is None
    assert {one.name for one in engine.release("payments").status.objects} == {"orders"}


@pytest.mark.parametrize("order", [("orders", "cart"), ("cart", "orders")])
def test_an_object_that_moves_is_the_same_object_afterwards(engine: Engine, order: tuple[str, str]) -> None:
    shared = config_map("shared")
    engine.deploy({ORDERS: several(config_map("orders"), shared), CART: config_map("cart")})
    before = uid_of(engine, "ConfigMap", "shared")

    engine.commit({ORDERS: config_map("orders"), CART: several(config_map("cart"), shared)})
    run(engine, *order)

    assert uid_of(engine, "ConfigMap", "shared") == before
    assert {one.name for one in engine.release("orders").status.objects} == {"orders"}


def test_an_object_that_a_kustomization_names_anew_moves_too(engine: Engine) -> None:
    engine.deploy({ORDERS: deployment("eu-web"), CART: config_map("cart")})
    before = uid_of(engine, "Deployment", "eu-web", api_version="apps/v1")
    kustomization = {
        "services/payments/kustomization.yaml": OVERLAY,
        "services/payments/app.yaml": deployment("web"),
    }

    engine.commit({ORDERS: None, **kustomization})
    run(engine, "orders", "payments")

    assert uid_of(engine, "Deployment", "eu-web", api_version="apps/v1") == before


def test_an_object_whose_name_stands_in_another_service_by_chance_is_deleted(engine: Engine) -> None:
    engine.deploy({ORDERS: several(config_map("orders"), config_map("shared")), CART: config_map("cart")})

    engine.commit({ORDERS: config_map("orders"), CART: several(config_map("cart"), deployment("shared"))})
    run(engine, "orders", "cart")

    assert engine.live("ConfigMap", "shared") is None


def test_a_volume_claim_that_a_removed_service_left_goes_to_who_wants_it(engine: Engine) -> None:
    engine.deploy({ORDERS: several(config_map("orders"), CLAIM), CART: config_map("cart")})
    engine.commit({ORDERS: None})
    run(engine, "orders")

    engine.deploy({PAYMENTS: several(config_map("payments"), CLAIM)})

    assert {one.name for one in engine.release("payments").status.objects} == {"payments", "data"}


def test_a_copied_label_of_a_release_that_is_gone_gives_nothing_away(
    engine: Engine, control_plane: ControlPlane
) -> None:
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})
    label = engine.live("ConfigMap", "orders")["metadata"]["labels"]
    engine.deploy({ORDERS: None})
    control_plane.kubectl("-n", engine.namespace, "create", "configmap", "stranger")
    labels = [f"{name}={value}" for name, value in label.items()]
    control_plane.kubectl("-n", engine.namespace, "label", "configmap", "stranger", *labels)

    engine.deploy({PAYMENTS: config_map("stranger")})

    assert "belongs to" in engine.view("payments").error


DEFINITION = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: alarms.{group}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: alarms, singular: alarm, kind: Alarm, listKind: AlarmList}}
  versions:
    - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
"""


@pytest.mark.parametrize("engine", [{"environment": {"cluster_scoped": True}}], indirect=True)
def test_an_object_whose_kind_another_service_of_the_push_brings_waits_for_it(
    engine: Engine, control_plane: ControlPlane
) -> None:
    group = f"{engine.namespace}.example.com"
    alarm = f"apiVersion: {group}/v1\nkind: Alarm\nmetadata:\n  name: late\n"
    engine.commit({CART: alarm, ORDERS: DEFINITION.format(group=group)})

    try:
        with pytest.raises(Unavailable, match="orders of this revision brings them"):
            run(engine, "cart")
        run(engine, "orders", "cart")

        assert {one.name for one in engine.release("cart").status.objects} == {"late"}
    finally:
        control_plane.kubectl("delete", "crd", f"alarms.{group}", "--wait=false")


def test_an_object_of_a_kind_that_nobody_brings_is_refused(engine: Engine) -> None:
    engine.deploy({CART: "apiVersion: nobody.example.com/v1\nkind: Alarm\nmetadata:\n  name: never\n"})

    assert "does not serve Alarm" in engine.view("cart").error
