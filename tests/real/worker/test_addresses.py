"""An address is waited for where others of the class have one, told by a real API server; no controller runs there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml
from parts.addressed import addressed, give_address, make_with_address
from parts.cluster_client import ClientOf
from parts.engine import Engine

from towline.shared.cluster import Cluster
from towline.shared.model import Object, Phase
from towline.worker.addresses import Addresses
from towline.worker.health.surroundings import AddressClass, address_class

KINDS = pytest.mark.parametrize("kind", ["Ingress", "Service"])


@pytest.fixture
def deployed(engine: Engine, namespace: str, cluster: Cluster) -> Any:
    """Deploys `cart`, an object of this kind whose class is the namespace's, and judges it; returns the object."""

    def deploy(kind: str) -> Object:
        object = addressed(kind, engine.namespace, "cart", of=namespace)
        engine.deploy({"services/cart/app.yaml": yaml.safe_dump(object)})
        engine.conclude("cart")
        return object

    return deploy


def phase_of(engine: Engine) -> Phase | None:
    release = engine.release("cart")
    return release.status.phase if release else None


@KINDS
def test_an_address_is_not_waited_for_where_nobody_gives_one_to_the_class(
    engine: Engine, namespace: str, cluster: Cluster, deployed: Any, kind: str
) -> None:
    cluster.apply(addressed(kind, namespace, "without", of=namespace))
    make_with_address(cluster, addressed(kind, namespace, "other", of=namespace[-8:]))

    deployed(kind)

    assert phase_of(engine) is Phase.HEALTHY


@KINDS
def test_a_release_waits_for_its_address_where_another_of_the_class_has_one(
    engine: Engine, namespace: str, cluster: Cluster, deployed: Any, kind: str
) -> None:
    make_with_address(cluster, addressed(kind, namespace, "other", of=namespace))

    object = deployed(kind)
    before = phase_of(engine)
    give_address(cluster, object)
    engine.conclude("cart")

    assert (before, phase_of(engine)) == (Phase.VERIFYING, Phase.HEALTHY)


def test_a_cluster_is_asked_once_a_minute_and_for_each_kind_alone(
    namespace: str, cluster: Cluster, requests: Counter[str]
) -> None:
    make_with_address(cluster, addressed("Ingress", namespace, "other", of=namespace))
    addresses = Addresses(cluster)
    requests.clear()

    found = [
        addresses.gives(AddressClass(kind="Ingress", name=name)) for name in (namespace, "none", namespace)
    ]

    assert (found, requests) == ([True, False, True], {"list": 1})


def test_who_may_not_ask_takes_it_that_nobody_gives_addresses(
    namespace: str, cluster: Cluster, client_of: ClientOf
) -> None:
    other = addressed("Ingress", namespace, "other", of=namespace)
    make_with_address(cluster, other)

    assert not Addresses(client_of("blind")).gives(address_class("Ingress", other))
