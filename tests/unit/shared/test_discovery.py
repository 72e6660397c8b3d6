"""Which kinds a server serves, from answers of either form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from towline.shared.discovery import REFRESH_SECONDS, Discovery, Resource
from towline.shared.errors import ClusterDown, UnknownKind

CORE = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced"},
                        {"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster"},
                    ],
                }
            ],
        }
    ],
}


def group(name: str, *versions: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "versions": list(versions)}


def version(name: str, *kinds: str, **fields: Any) -> dict[str, Any]:
    resources = [
        {"resource": f"{kind.lower()}s", "responseKind": {"kind": kind}, "scope": "Namespaced"}
        for kind in kinds
    ]
    return {"version": name, "resources": resources, **fields}


def groups(*items: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "APIGroupDiscoveryList", "items": list(items)}


class Server:
    """Answers by path, counted."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def __call__(self, path: str, *, accept: str, etag: str) -> tuple[Mapping[str, Any], str] | None:
        self.asked.append(path)
        answer = self.answers.get(path)
        if answer is None or (etag and etag == str(hash(str(answer)))):
            return None
        return answer, str(hash(str(answer)))


class Clock:
    """A time that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_two_requests_tell_every_kind_and_no_more_are_made():
    server = Server({"/api": CORE, "/apis": groups(group("apps", version("v1", "Deployment")))})
    discovery = Discovery(server)

    deployment = discovery.resource("apps/v1", "Deployment")
    node = discovery.resource("v1", "Node")

    assert deployment == Resource(
        group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True
    )
    assert not node.namespaced
    assert server.asked == ["/api", "/apis"]


def test_paths_are_those_of_the_api():
    deployment = Resource(
        group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True
    )
    node = Resource(group="", version="v1", kind="Node", plural="nodes", namespaced=False)
    role = Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRole",
        plural="clusterroles",
        namespaced=False,
    )

    assert deployment.path("web", "shop") == "/apis/apps/v1/namespaces/shop/deployments/web"
    assert deployment.path() == "/apis/apps/v1/deployments"
    assert node.path("n1", "ignored") == "/api/v1/nodes/n1"
    assert role.path("system:x y?") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:x%20y%3F"


def test_the_server_s_order_decides_which_version_is_preferred():
    server = Server(
        {"/api": CORE, "/apis": groups(group("autoscaling", version("v2", "HPA"), version("v1", "HPA")))}
    )

    assert Discovery(server).preferred("autoscaling", "HPA").version == "v2"


def test_a_missed_kind_is_looked_for_again_and_found_when_it_came():
    server = Server({"/api": CORE, "/apis": groups()})
    clock = Clock()
    discovery = Discovery(server, clock)
    with pytest.raises(UnknownKind, match=r"Database in db.example.com/v1"):
        discovery.resource("db.example.com/v1", "Database")
    server.answers["/apis"] = groups(group("db.example.com", version("v1", "Database")))

    with pytest.raises(UnknownKind):  # asked just now
        discovery.resource("db.example.com/v1", "Database")
    clock.now += REFRESH_SECONDS

    assert discovery.resource("db.example.com/v1", "Database").plural == "databases"
    assert discovery.resource("v1", "Pod").plural == "pods"


def test_unknown_kinds_cannot_be_used_to_flood_the_server():
    server = Server({"/api": CORE, "/apis": groups()})
    discovery = Discovery(server, Clock())

    for number in range(1000):
        with pytest.raises(UnknownKind):
            discovery.resource(f"g{number}.example.com/v1", "Odd")

    assert server.asked == ["/api", "/apis"]


def test_an_older_server_is_asked_group_by_group():
    server = Server(
        {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "groups": [
                    {"name": "apps", "versions": [{"groupVersion": "apps/v1"}, {"groupVersion": "apps/v0"}]}
                ],
            },
            "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]},
            "/apis/apps/v1": {
                "resources": [
                    {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
                    {"name": "deployments", "kind": "Deployment", "namespaced": True},
                ]
            },
        }
    )
    discovery = Discovery(server)

    assert discovery.resource("apps/v1", "Deployment").plural == "deployments"
    assert discovery.resource("v1", "Pod").api_version == "v1"
    with pytest.raises(UnknownKind):
        discovery.resource("apps/v1", "Scale")


def test_a_kind_of_an_api_server_that_is_down_may_come_back():
    stale = group("metrics.example.com", version("v1", freshness="Stale"))
    discovery = Discovery(Server({"/api": CORE, "/apis": groups(stale)}))

    with pytest.raises(ClusterDown, match=r"metrics.example.com/v1"):
        discovery.resource("metrics.example.com/v1", "PodMetrics")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"kind": "APIGroupDiscoveryList", "items": 3},
        {
            "kind": "APIGroupDiscoveryList",
            "items": [None, {"versions": [{"resources": [{"responseKind": 1}]}]}],
        },
        {"groups": [{"versions": {}}]},
    ],
)
def test_answers_of_a_wrong_shape_serve_nothing(odd: Mapping[str, Any]):
    with pytest.raises(UnknownKind):
        Discovery(Server({"/api": odd, "/apis": odd})).resource("v1", "Pod")
