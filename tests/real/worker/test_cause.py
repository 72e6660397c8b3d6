"""Why a release failed, for people: the container's last lines and Events, without the service's secrets."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from parts.cluster_client import access
from parts.control_plane import CRASHED_LINES, RUNNING_LINES
from parts.eventually import eventually
from parts.failing import Fails, workload
from parts.judging import Judge
from parts.odd_api_server import Handler, OddApiServer
from parts.service import environment_of

from towline.shared.cluster import connect
from towline.shared.model import Health, Object, ObjectKey
from towline.shared.pod_limits import PodLimits
from towline.worker.cause import LOG_BYTES, Cause, cause_of
from towline.worker.health.fault import Fault
from towline.worker.health.release import ReleaseVerdict
from towline.worker.target import target_of

SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "hunter2-of-the-test"}}
POD = ObjectKey(group="", kind="Pod", namespace="shop", name="cart-x")
CRASHED = ReleaseVerdict(
    health=Health.FAILED,
    reason="crashes",
    object=ObjectKey(group="apps", kind="Deployment", namespace="shop", name="cart"),
    fault=Fault(object=POD, container="main", reason="CrashLoopBackOff", what="ended", has_ended=True),
)


def test_a_crash_tells_the_last_lines_of_the_run_that_crashed_without_secrets(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.CRASH))
    cause = cause_of(judge.target(), judge.failed(), [SECRET])
    assert (cause.reason, cause.container, cause.exit_code) == ("CrashLoopBackOff", "main", 1)
    assert len(cause.logs) == 20
    assert cause.logs[:2] == CRASHED_LINES[-20:-18]
    assert cause.logs[-1] == "fatal: no database, password=***"
    assert cause.text.startswith(f"Deployment {judge.namespace}/cart: container main of pod cart-")
    assert cause.text.endswith("ended 3 times, at last with exit code 1, Error: no database")


def test_an_image_tells_its_events_and_has_no_log(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.IMAGE))
    verdict = judge.failed()
    assert verdict.fault is not None
    message = "Failed to pull image with hunter2-of-the-test"
    judge.tell(verdict.fault.object.name, reason="Failed", message=message, count=2)
    cause = cause_of(judge.target(), verdict, [SECRET])
    assert cause.logs == ()
    assert cause.events == ("Failed: Failed to pull image with *** (2 times)",)
    assert "is in ImagePullBackOff: Back-off pulling image example.com/cart:9" in cause.text


def test_what_is_never_ready_tells_its_probe_and_what_it_says_now(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", fails=Fails.READY))
    pod = eventually(lambda: next(one for one in judge.pods() if one["status"]["phase"] == "Running"))
    judge.tell(pod["metadata"]["name"], reason="Unhealthy", message="Readiness probe failed: 503")
    verdict = judge.verdict()
    assert verdict.fault is None
    cause = cause_of(judge.target(), verdict, [])
    assert cause.text.startswith(f"{verdict.reason}; container main of pod cart-")
    assert cause.text.endswith("is not ready: Readiness probe failed: 503")
    assert cause.logs == RUNNING_LINES


def test_what_may_not_be_made_tells_why(judge: Judge) -> None:
    judge.apply(workload(judge.namespace, "cart", kind="StatefulSet", pod={"serviceAccountName": "absent"}))
    cause = cause_of(judge.target(), judge.failed(PodLimits(create_refused_seconds=0)), [])
    assert cause.logs == ()
    assert cause.events and all("absent" in one for one in cause.events)


def from_odd(server: OddApiServer) -> Cause:
    """The cause as an odd API server tells it."""
    cluster = connect(access(Path(server.kubeconfig)), parallel=4)
    return cause_of(target_of(cluster, environment_of("shop"), "cart"), CRASHED, [SECRET])


@pytest.mark.parametrize("how", ["mute", "silent", "dripping"])
def test_a_log_that_does_not_end_is_left(odd_api_server: OddApiServer, how: str) -> None:
    ended = threading.Event()

    def respond(handler: Handler) -> None:
        if "/log?" not in handler.path:
            handler.say(200, b'{"items": []}')
            return
        if how == "mute":
            ended.wait(5)
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"6\r\nfirst\n\r\n")
        while not ended.wait(0.1):
            if how == "dripping":
                handler.wfile.write(b"1\r\nx\r\n")

    odd_api_server.respond = respond
    began = time.monotonic()
    cause = from_odd(odd_api_server)
    ended.set()
    assert 1.5 < time.monotonic() - began < 3
    assert cause.text == "Deployment shop/cart: container main of pod cart-x ended"


def test_a_log_that_cannot_be_had_leaves_the_rest(odd_api_server: OddApiServer) -> None:
    event = b'{"items": [{"reason": "BackOff", "message": "restarting", "type": "Warning"}]}'
    odd_api_server.respond = lambda handler: (
        handler.say(500, b"no kubelet") if "/log?" in handler.path else handler.say(200, event)
    )
    cause = from_odd(odd_api_server)
    assert (cause.logs, cause.events[-1]) == ((), "BackOff: restarting")


def test_a_log_is_bounded_and_of_text(odd_api_server: OddApiServer) -> None:
    lines = [b"\x1b[31mred\x1b[0m \x00\xff end", b"y" * 10_000, *[b"short"] * 5]
    tail = b"z" * LOG_BYTES + b"hunter2-of-the-test"
    odd_api_server.respond = lambda handler: handler.say(
        200, b"\n".join([*lines, tail]) if "/log?" in handler.path else b"{}"
    )
    logs = from_odd(odd_api_server).logs
    assert logs[0] == "red  � end"
    assert len(logs[1]) == 500
    assert logs[-1] == "short"


def test_only_what_is_needed_of_a_log_is_asked_for(odd_api_server: OddApiServer) -> None:
    odd_api_server.respond = lambda handler: handler.say(200, b"{}")
    from_odd(odd_api_server)
    asked = [path for _, path, _ in odd_api_server.requests if "/log?" in path]
    assert all("tailLines=20" in path and f"limitBytes={LOG_BYTES}" in path for path in asked)
