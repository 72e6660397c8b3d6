"""An API server, or what stands in its place, that answers what it should not."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from parts.odd_api_server import Handler, OddApiServer, write_kubeconfig

from towline.shared import cluster_session
from towline.shared.cluster import Cluster, Request, connect
from towline.shared.config import ClusterConfig
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterDown, ClusterError, ConfigError
from towline.shared.model import Object

CONFIG_MAPS = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
CONFIG_MAP: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "namespace": "shop"},
    "stringData": {"password": "correct-horse"},
}


def cluster_of(api: OddApiServer) -> Cluster:
    return connect(ClusterConfig(kubeconfig=api.kubeconfig, context=None, in_cluster=False), parallel=2)


@pytest.fixture
def cluster(odd_api_server: OddApiServer) -> Cluster:
    return cluster_of(odd_api_server)


def test_a_server_that_is_not_there_is_down_within_a_second(tmp_path: Path):
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server="http://127.0.0.1:1", user={"token": "top-secret-token"})
    cluster = connect(ClusterConfig(kubeconfig=path, context=None, in_cluster=False))
    started = time.monotonic()

    with pytest.raises(ClusterDown, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
        cluster.get(CONFIG_MAPS, "a", "shop")

    assert time.monotonic() - started < 1
    assert caught.value.retry
    assert "top-secret-token" not in str(caught.value)


def test_a_server_that_does_not_answer_is_down_when_its_time_is_over(odd_api_server, cluster):
    odd_api_server.respond = lambda handler: time.sleep(3)
    started = time.monotonic()

    with pytest.raises(ClusterDown, match="did not answer"):
        cluster.request(Request(verb="patch", method="PATCH", path="/x", read_seconds=0.2))

    assert time.monotonic() - started < 2
    assert len(odd_api_server.requests) == 1


def test_a_write_whose_connection_is_cut_is_not_sent_again(odd_api_server, cluster):
    def cut(handler: Handler) -> None:
        handler.close_connection = True
        handler.connection.close()

    odd_api_server.respond = cut

    with pytest.raises(ClusterDown, match="closed the connection"):
        cluster.apply(CONFIG_MAP)

    assert [method for method, _, _ in odd_api_server.requests] == ["PATCH"]


def test_a_read_whose_connection_is_cut_is_sent_once_more(odd_api_server, cluster):
    def cut_once(handler: Handler) -> None:
        if len(odd_api_server.requests) > 1:
            handler.say(200, json.dumps(CONFIG_MAP).encode())
            return
        handler.close_connection = True
        handler.connection.close()

    odd_api_server.respond = cut_once

    assert cluster.get(CONFIG_MAPS, "a", "shop") == CONFIG_MAP


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[1]", b"{", b"[" * 50_000, b"\xff\xff"])
def test_an_answer_that_is_no_object_is_an_error_and_not_tried_again(odd_api_server, cluster, body: bytes):
    odd_api_server.respond = lambda handler: handler.say(200, body)

    with pytest.raises(ClusterError) as caught:
        cluster.apply(CONFIG_MAP)

    assert not caught.value.retry


def test_an_answer_without_end_is_cut_off(odd_api_server, cluster):
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            while True:
                handler.wfile.write(chunk)
        except OSError:
            handler.close_connection = True

    odd_api_server.respond = endless

    with pytest.raises(ClusterError, match=str(cluster_session.ANSWER_BYTES)):
        cluster.get(CONFIG_MAPS, "a", "shop")


def test_a_list_whose_pages_never_end_is_given_up(odd_api_server, cluster):
    page = json.dumps({"kind": "ConfigMapList", "metadata": {"continue": "more"}, "items": []}).encode()
    odd_api_server.respond = lambda handler: handler.say(200, page)

    with pytest.raises(ClusterError, match="pages"):
        cluster.list(CONFIG_MAPS, "shop")


def test_a_list_whose_continuation_expired_starts_anew_and_repeats_nothing(odd_api_server, cluster):
    def pages(handler: Handler) -> None:
        first = {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}
        asked = len(odd_api_server.requests)
        if asked == 2:
            handler.say(410, b'{"kind":"Status","reason":"Expired"}')
        else:
            handler.say(
                200, json.dumps(first if asked == 1 else {"items": [{"metadata": {"name": "b"}}]}).encode()
            )

    odd_api_server.respond = pages

    found = cluster.list(CONFIG_MAPS, "shop")

    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("ConfigMap", "b")]


def test_a_redirect_is_not_followed_with_our_credentials(odd_api_server, cluster):
    odd_api_server.respond = lambda handler: handler.say(307, b"", Location="http://127.0.0.1:1/")

    with pytest.raises(ClusterError):
        cluster.apply(CONFIG_MAP)

    assert len(odd_api_server.requests) == 1


def test_too_many_requests_say_when_to_come_back(odd_api_server, cluster):
    odd_api_server.respond = lambda handler: handler.say(429, b"slow down", Retry_After="9")

    with pytest.raises(ClusterDown) as caught:
        cluster.apply(CONFIG_MAP)

    assert caught.value.retry_after == 9
    assert len(odd_api_server.requests) == 1


def test_values_of_a_secret_are_not_in_the_error_even_when_the_server_repeats_them(odd_api_server, cluster):
    said = {
        "kind": "Status",
        "message": 'cannot use "correct-horse" (Y29ycmVjdC1ob3JzZQ==)',
        "reason": "Invalid",
    }
    odd_api_server.respond = lambda handler: handler.say(422, json.dumps(said).encode())

    with pytest.raises(ClusterError) as caught:
        cluster.apply(SECRET)

    assert "horse" not in str(caught.value) and "Y29ycmVjdC1ob3JzZQ" not in str(caught.value)
    assert "Secret shop/db" in caught.value.message


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a%2fb", "a\x00", "", "x" * 300])
def test_a_name_that_would_lead_elsewhere_is_never_sent(odd_api_server, cluster, name: str):
    with pytest.raises(ClusterError):
        cluster.apply({**CONFIG_MAP, "metadata": {"name": name, "namespace": "shop"}})
    with pytest.raises(ClusterError):
        cluster.apply({**CONFIG_MAP, "metadata": {"name": "a", "namespace": f"{name}/.."}})

    assert odd_api_server.requests == []


@pytest.mark.parametrize(
    "user",
    ["", " ", "a\r\nX: y", "system:masters", "system:admin", "system:serviceaccount:shop:", "ü", "a" * 300],
)
def test_what_is_no_user_is_not_acted_as(cluster, user: str):
    with pytest.raises(ConfigError):
        cluster.acting_as(user)


def test_a_user_is_named_in_each_request_and_only_there(odd_api_server, cluster):
    odd_api_server.respond = lambda handler: handler.say(200, json.dumps(CONFIG_MAP).encode())
    deployer = cluster.acting_as("system:serviceaccount:shop:deployer")

    deployer.apply(CONFIG_MAP)
    cluster.apply(CONFIG_MAP)

    users = [headers.get("Impersonate-User") for _, _, headers in odd_api_server.requests]
    assert users == ["system:serviceaccount:shop:deployer", None]


def token_is(wanted: str):
    def respond(handler: Handler) -> None:
        if handler.headers["Authorization"] == f"Bearer {wanted}":
            handler.say(200, json.dumps(CONFIG_MAP).encode())
        else:
            handler.say(401, b'{"kind":"Status","reason":"Unauthorized","message":"Unauthorized"}')

    return respond


def test_a_token_that_expired_is_renewed_once_and_the_request_sent_again(odd_api_server, tmp_path: Path):
    # given a kubeconfig whose exec plugin reads the token from a file
    (tmp_path / "token").write_text("first")
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import json, pathlib\n"
        f"token = pathlib.Path({str(tmp_path / 'token')!r}).read_text()\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    host = json.loads(odd_api_server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(plugin)],
        "interactiveMode": "Never",
    }
    write_kubeconfig(odd_api_server.kubeconfig, server=host, user={"exec": command})
    cluster = cluster_of(odd_api_server)
    odd_api_server.respond = token_is("first")
    assert cluster.apply(CONFIG_MAP) == CONFIG_MAP

    # when the server asks for another one
    (tmp_path / "token").write_text("second")
    odd_api_server.respond = token_is("second")

    # then it is used, with one request more
    assert cluster.apply(CONFIG_MAP) == CONFIG_MAP
    assert cluster.apply(CONFIG_MAP) == CONFIG_MAP
    assert len(odd_api_server.requests) == 4


def test_a_token_that_stays_refused_is_an_error_and_renewed_now_and_then_only(odd_api_server, cluster):
    odd_api_server.respond = token_is("never")

    for _ in range(5):
        with pytest.raises(ClusterError, match="Unauthorized") as caught:
            cluster.apply(CONFIG_MAP)

    assert not caught.value.retry
    assert len(odd_api_server.requests) <= 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "{}",
        '{"current-context": "x", "contexts": [], "clusters": []}',
        "password: *hunter2x",  # which PyYAML quotes
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_a_configuration_error_that_shows_none_of_it(
    tmp_path: Path, text: str
):
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        connect(ClusterConfig(kubeconfig=path, context=None, in_cluster=False))

    assert str(path) in str(caught.value)
    assert "hunter2x" not in str(caught.value)


def test_in_cluster_outside_of_a_cluster_is_a_configuration_error():
    with pytest.raises(ConfigError, match="in_cluster"):
        connect(ClusterConfig(kubeconfig=None, context=None, in_cluster=True))
