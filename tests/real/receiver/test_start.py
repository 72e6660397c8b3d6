"""The receiver as a process: starts without Redis, ends clean, comes back when its child is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from parts.deliveries import payload, sent
from parts.eventually import eventually
from parts.intake import Intake
from parts.redis import RedisServer

from towline.shared.model import Forge

PUSH = payload(Forge.GITHUB)


@pytest.fixture
def receiver(tmp_path: Path) -> Intake:
    """A receiver that was not started, and its Redis, which was not either."""
    return Intake(tmp_path, RedisServer(tmp_path))


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_starts_before_redis_does(receiver: Intake) -> None:
    try:
        receiver.start()
        first = receiver.deliver("github", sent(Forge.GITHUB, PUSH))
        receiver.redis.start()
        second = eventually(
            lambda: (answer := receiver.deliver("github", sent(Forge.GITHUB, PUSH))).status == 202 and answer
        )
    finally:
        receiver.process.stop()
        receiver.queue.broker.redis.close()
        receiver.redis.stop()

    assert first.status == 503
    assert second.json["jobs"]


def test_it_is_connected_to_redis_before_the_first_delivery(receiver: Intake) -> None:
    receiver.redis.start()
    try:
        receiver.start()
        with receiver.redis.client() as client:
            eventually(lambda: [one for one in client.client_list() if one["id"] != str(client.client_id())])
    finally:
        receiver.process.stop()
        receiver.redis.stop()


def test_sigterm_ends_it_and_its_child(receiver: Intake) -> None:
    receiver.start()
    pid, (child,) = receiver.process.pid, children(receiver.process.pid)

    receiver.process.send(signal.SIGTERM)
    eventually(lambda: not receiver.process.is_running, within=8)
    receiver.process.stop()

    assert not Path(f"/proc/{child}").exists()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(OSError, match="refused"):
        receiver.connect()


def test_a_request_that_runs_is_answered_before_the_end(receiver: Intake) -> None:
    receiver.redis.start()
    receiver.start()
    delivery = sent(Forge.GITHUB, PUSH)
    lines = [f"{name}: {value}" for name, value in delivery.headers.items()]
    head = "\r\n".join(
        ["POST /webhooks/github HTTP/1.1", "Host: x", f"Content-Length: {len(delivery.body)}", *lines]
    )
    try:
        with receiver.connect() as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + delivery.body[:-1])
            eventually(lambda: receiver.call("GET", "/healthz").status == 200)
            receiver.process.send(signal.SIGTERM)
            connection.sendall(delivery.body[-1:])

            assert connection.recv(4096).startswith(b"HTTP/1.1 202")
        eventually(lambda: not receiver.process.is_running, within=8)
    finally:
        receiver.process.stop()
        receiver.queue.broker.redis.close()
        receiver.redis.stop()


def test_a_child_that_is_killed_is_started_again(receiver: Intake) -> None:
    receiver.start()
    try:
        (child,) = children(receiver.process.pid)
        os.kill(child, signal.SIGKILL)

        eventually(lambda: receiver.call("GET", "/healthz").status == 200)
        assert children(receiver.process.pid) != [child]
    finally:
        receiver.process.stop()


def test_the_child_ends_with_its_parent(receiver: Intake) -> None:
    receiver.start()
    (child,) = children(receiver.process.pid)

    receiver.process.kill()

    eventually(lambda: not Path(f"/proc/{child}").exists())


def test_a_wrong_configuration_is_told_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "towline.yaml").write_text("repositorys: []\n")

    ended = subprocess.run(
        [sys.executable, "-m", "towline.receiver", "--config", tmp_path / "towline.yaml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 2
    assert "repositories" in ended.stderr
    assert "Traceback" not in ended.stderr
