"""What a real API server cannot be made to answer at will."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from parts.odd_api_server import Handler, OddApiServer
from parts.service import Service, config_map, environment_of

from towline.shared.cluster import connect
from towline.shared.config import ClusterConfig
from towline.shared.errors import ClusterDown, PlanRefused

NO_DRY_RUN = 'admission webhook "guard.example.com" does not support dry run'


@pytest.fixture
def odd_service(odd_api_server: OddApiServer) -> Iterator[Service]:
    """A release on a server that answers what the test says."""
    access = ClusterConfig(kubeconfig=odd_api_server.kubeconfig, context=None, in_cluster=False)
    yield Service(cluster=connect(access), environment=environment_of("shop"), requests=Counter())


def say(handler: Handler, code: int, message: str, reason: str = "") -> None:
    status = {"kind": "Status", "code": code, "message": message, "reason": reason}
    handler.say(code, json.dumps(status).encode())


def without_dry_run(handler: Handler) -> None:
    """Like an API server with one old webhook."""
    if handler.command == "GET":
        answer = {"metadata": {"name": handler.path.rpartition("/")[2], "namespace": "shop"}}
        handler.say(200, json.dumps(answer).encode())
    elif "dryRun=All" in handler.path:
        say(handler, 400, NO_DRY_RUN, "BadRequest")
    else:
        handler.say(200, b'{"metadata": {}}')


def test_a_webhook_that_cannot_dry_run_is_a_refusal(
    odd_service: Service, odd_api_server: OddApiServer
) -> None:
    odd_api_server.respond = without_dry_run

    with pytest.raises(PlanRefused) as refused:
        odd_service.sync(config_map("settings"))

    (problem,) = refused.value.problems
    assert "guard.example.com" in problem.message
    assert "unverified: true" in problem.message


def test_a_webhook_that_cannot_dry_run_is_said_where_the_environment_allows_it(
    odd_service: Service, odd_api_server: OddApiServer
) -> None:
    odd_api_server.respond = without_dry_run
    odd_service.environment = environment_of("shop", unverified=True)

    synced = odd_service.sync(config_map("settings"))

    assert [key.name for key in synced.applied.unverified] == ["settings"]


@pytest.mark.parametrize("failing", ["GET", "dryRun=All", "force=false"])
def test_an_api_server_that_fails_is_tried_again_later_and_nothing_is_refused(
    odd_service: Service, odd_api_server: OddApiServer, failing: str
) -> None:
    def respond(handler: Handler) -> None:
        if failing in f"{handler.command} {handler.path}":
            say(handler, 500, "etcdserver: leader changed")
        elif handler.command == "GET":
            handler.say(200, b'{"metadata": {}}')
        else:
            handler.say(200, b'{"metadata": {}}')

    odd_api_server.respond = respond

    with pytest.raises(ClusterDown) as down:
        odd_service.sync(config_map("settings"))

    assert down.value.retry
