"""Who gives addresses, by the evidence of what has one."""

from __future__ import annotations

from typing import Any

import pytest

from towline.shared.model import Object
from towline.worker.health.surroundings import classes_with_address

HAS_ADDRESS = {"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}}
OLD = "kubernetes.io/ingress.class"


def one(*, annotations: Any = None, status: Any = HAS_ADDRESS, **spec: Any) -> Object:
    return {"metadata": {"annotations": annotations}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("kind", "object", "names"),
    [
        pytest.param("Ingress", one(ingressClassName="public"), {"public"}, id="class"),
        pytest.param("Ingress", one(annotations={OLD: "nginx"}), {"nginx"}, id="old way to name a class"),
        pytest.param("Ingress", one(), {""}, id="no class"),
        pytest.param("Ingress", one(ingressClassName="a", annotations={OLD: "b"}), {"a"}, id="both"),
        pytest.param("Service", one(type="LoadBalancer"), {""}, id="load balancer"),
        pytest.param("Service", one(loadBalancerClass="internal"), {"internal"}, id="load balancer's class"),
        pytest.param("Ingress", one(status={}, ingressClassName="public"), set(), id="no address"),
        pytest.param(
            "Ingress", one(status={"loadBalancer": {"ingress": [{"ports": []}, 7]}}), set(), id="odd"
        ),
        pytest.param("Ingress", {}, set(), id="nothing"),
    ],
)
def test_who_gives_addresses_is_told_by_an_object_of_the_class_that_has_one(
    kind: str, object: Object, names: set[str]
) -> None:
    found = classes_with_address(kind, [object])

    assert {each.name for each in found} == names
    assert {each.kind for each in found} <= {kind}
