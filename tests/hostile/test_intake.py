"""What strangers send to the webhook's address: refused, named, and harmless to everybody else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import pytest
from parts.deliveries import Sent, payload, sent
from parts.eventually import eventually
from parts.intake import LIMIT_BYTES, Intake

from towline.receiver.connection import REQUEST_SECONDS, STALL_SECONDS
from towline.receiver.start import THREADS
from towline.shared.jobs import QueueName
from towline.shared.model import Forge

PUSH = payload(Forge.GITHUB)
MORE_MB = 4.0  # 64 connections and 8 bodies of LIMIT_BYTES at once have their room in it


def push() -> Sent:
    """A good delivery with an id of its own."""
    return sent(Forge.GITHUB, PUSH, delivery=os.urandom(8).hex())


def head(delivery: Sent, **more: str) -> bytes:
    """The head of a request."""
    lines = ["POST /webhooks/github HTTP/1.1", "Host: localhost"]
    headers = delivery.headers | {name.replace("_", "-"): value for name, value in more.items()}
    return (
        "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + b"\r\n\r\n"
    )


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def status_of(connection: socket.socket) -> int:
    """The status of the answer; 0 when the connection was closed without one."""
    answer = b""
    while b"\r\n" not in answer:
        try:
            piece = connection.recv(4096)
        except ConnectionResetError:
            return 0
        if not piece:
            return 0
        answer += piece
    return int(answer.split(b" ")[1])


def jobs(intake: Intake) -> int:
    """How many push jobs wait."""
    return intake.queue.depths()[QueueName.PUSHES]


@contextmanager
def costing_little(intake: Intake, *, seconds: float = 1.0, mb: float = MORE_MB) -> Iterator[None]:
    """Fails when what is inside takes so long, or the process that answers needs so much more memory meanwhile."""
    (child,) = Path(f"/proc/{intake.process.pid}/task/{intake.process.pid}/children").read_text().split()
    process = Path("/proc") / child
    (process / "clear_refs").write_text("5")  # the highest use so far is forgotten (proc(5))
    before, started = memory_mb(process, "VmRSS"), time.monotonic()
    yield
    took, more = time.monotonic() - started, memory_mb(process, "VmHWM") - before
    assert (took < seconds, more < mb) == (True, True), f"{took:.2f} s, {more:.1f} MB more"


def memory_mb(process: Path, field: str) -> float:
    """Memory of a process, by the name of the line in its status (proc(5))."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def test_a_chunked_delivery_is_read_whole(intake: Intake) -> None:
    delivery = push()
    pieces = iter([delivery.body[:10], delivery.body[10:11], delivery.body[11:]])

    answer = intake.call(
        "POST", "/webhooks/github", delivery.headers | {"Transfer-Encoding": "chunked"}, chunks(pieces)
    )

    assert answer.status == 202


def chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """http.client wants chunks made by hand when the header says so."""
    for piece in pieces:
        yield chunk(piece)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("size", "status"), [(LIMIT_BYTES, 401), (LIMIT_BYTES + 1, 413), (LIMIT_BYTES * 20, 413)]
)
def test_a_body_above_the_limit_is_413(intake: Intake, size: int, status: int) -> None:
    with costing_little(intake):
        answer = intake.call("POST", "/webhooks/github", {"Content-Type": "application/json"}, b"x" * size)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == ("close" if status == 413 else "keep-alive")


@pytest.mark.parametrize("size", [LIMIT_BYTES, LIMIT_BYTES + 1])
def test_a_chunked_body_is_counted(intake: Intake, size: int) -> None:
    pieces = (chunk(b"x" * min(8000, size - sent)) for sent in range(0, size, 8000))
    with intake.connect() as connection:
        connection.sendall(head(push(), Transfer_Encoding="chunked"))
        for piece in pieces:
            connection.sendall(piece)
        connection.sendall(b"0\r\n\r\n")

        assert status_of(connection) == (401 if size == LIMIT_BYTES else 413)


def test_an_endless_chunked_body_is_413_at_once(intake: Intake) -> None:
    piece = chunk(b"x" * 64_000)
    with costing_little(intake), intake.connect() as connection:
        connection.sendall(head(push(), Transfer_Encoding="chunked"))
        while not select([connection], [], [], 0)[0]:  # until there is an answer
            connection.sendall(piece)

        assert status_of(connection) == 413


def test_a_length_above_the_limit_is_413_without_the_body(intake: Intake) -> None:
    with costing_little(intake), intake.connect() as connection:
        connection.sendall(head(push(), Content_Length=str(LIMIT_BYTES + 1)))

        assert status_of(connection) == 413


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "1, 1"])
def test_a_length_that_is_none_is_refused(intake: Intake, length: str) -> None:
    with intake.connect() as connection:
        connection.sendall(head(push(), Content_Length=length) + b"x")

        assert status_of(connection) in (400, 413)


@pytest.mark.parametrize("body", [b"zz\r\nx", b"-1\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"0" * 20_000])
def test_a_body_that_is_not_chunked_as_it_says_is_400(intake: Intake, body: bytes) -> None:
    with intake.connect() as connection:
        connection.sendall(head(push(), Transfer_Encoding="chunked") + body)

        assert status_of(connection) == 400


def test_a_body_that_stalls_is_408(intake: Intake) -> None:
    delivery, started = push(), time.monotonic()
    with intake.connect() as connection:
        connection.sendall(head(delivery, Content_Length=str(len(delivery.body))) + delivery.body[:-1])

        assert status_of(connection) == 408
    assert STALL_SECONDS * 0.9 < time.monotonic() - started < STALL_SECONDS + 1


def test_a_body_that_drips_is_408_at_the_deadline(intake: Intake) -> None:
    started = time.monotonic()
    with intake.connect() as connection:
        connection.sendall(head(push(), Content_Length="1000"))
        connection.settimeout(0.5)
        status = drip(connection, b"x")

    assert status == 408
    assert REQUEST_SECONDS * 0.9 < time.monotonic() - started < REQUEST_SECONDS + 2


def test_a_head_that_drips_is_408_at_the_deadline(intake: Intake) -> None:
    started = time.monotonic()
    with intake.connect() as connection:
        connection.sendall(b"POST /webhooks/github HTTP/1.1\r\nX-Long: ")
        connection.settimeout(0.5)
        status = drip(connection, b"x")

    assert status == 408
    assert time.monotonic() - started < REQUEST_SECONDS + 2


def drip(connection: socket.socket, byte: bytes) -> int:
    """Send a byte whenever no answer has come in the connection's time-out."""
    while True:
        try:
            return status_of(connection)
        except TimeoutError:
            connection.sendall(byte)


def test_a_client_that_goes_away_leaves_nothing_behind(intake: Intake) -> None:
    delivery, before = push(), jobs(intake)
    with intake.connect() as connection:
        connection.sendall(head(delivery, Content_Length=str(len(delivery.body))) + delivery.body[:-1])
        connection.shutdown(socket.SHUT_WR)

        assert status_of(connection) == 400
    assert jobs(intake) == before


def test_a_header_of_10_mb_is_refused(intake: Intake) -> None:
    with costing_little(intake), intake.connect() as connection:
        try:
            connection.sendall(head(push(), X_Long="x" * 10_000_000))
        except (BrokenPipeError, ConnectionResetError):
            pass

        assert status_of(connection) == 431


def test_a_thousand_headers_are_refused(intake: Intake) -> None:
    many = {f"X_{number}": "x" for number in range(1000)}
    with intake.connect() as connection:
        connection.sendall(head(push(), **many))

        assert status_of(connection) == 431


def test_a_signed_body_of_any_depth_or_number_is_400(intake: Intake) -> None:
    for body in (
        b"[" * 100_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"a":' + b"9" * 200_000 + b"}",
        b"{",
    ):
        with costing_little(intake):
            answer = intake.deliver("github", sent(Forge.GITHUB, body))

        assert (answer.status, answer.json["type"]) == (400, "/problems/delivery-error")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", ""]
)
def test_a_signed_body_of_a_wrong_type_is_400(intake: Intake, content_type: str) -> None:
    assert intake.deliver("github", sent(Forge.GITHUB, PUSH, Content_Type=content_type)).status == 400


def test_idle_connections_hold_no_thread(intake: Intake) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS * 4):
            stack.enter_context(intake.connect())

        assert intake.deliver("github", push()).seconds < 1


def test_half_sent_bodies_leave_threads_for_others(intake: Intake) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS - 2):
            connection = stack.enter_context(intake.connect())
            connection.sendall(head(push(), Content_Length="1000") + b"x")

        answer = intake.deliver("github", push())

        assert (answer.status, answer.seconds < 1) == (202, True)


def test_more_half_sent_bodies_than_threads_hold_up_others_for_seconds_only(intake: Intake) -> None:
    with costing_little(intake, seconds=STALL_SECONDS * 2 + 2), ExitStack() as stack:
        for _ in range(THREADS * 2):
            connection = stack.enter_context(intake.connect())
            connection.sendall(head(push(), Content_Length="1000") + b"x")

        assert intake.deliver("github", push()).status == 202


def test_clients_that_linger_after_a_refusal_hold_up_nobody(intake: Intake) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS):
            connection = stack.enter_context(intake.connect())
            connection.sendall(b"NONSENSE\r\n\r\n")

        assert intake.deliver("github", push()).seconds < STALL_SECONDS * 0.9


def test_oversize_bodies_do_not_grow_memory(intake: Intake) -> None:
    def big() -> int:
        return intake.call("POST", "/webhooks/github", {}, b"x" * LIMIT_BYTES * 10).status

    with costing_little(intake, seconds=20), ThreadPoolExecutor(8) as pool:
        assert {each.result() for each in [pool.submit(big) for _ in range(40)]} == {413}


def test_many_at_once_are_all_taken(intake: Intake) -> None:
    before = jobs(intake)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: intake.deliver("github", push()), range(100)))

    assert {answer.status for answer in answers} == {202}
    assert jobs(intake) == before + 100


def test_one_delivery_many_times_at_once_is_taken_once(intake: Intake) -> None:
    delivery, before = push(), jobs(intake)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: intake.deliver("github", delivery), range(32)))

    assert sorted(answer.status for answer in answers) == [200] * 31 + [202]
    assert jobs(intake) == before + 1


@pytest.mark.parametrize("fault", ["stopped", "paused"])
def test_without_redis_a_delivery_is_503_and_nothing_is_claimed(intake: Intake, fault: str) -> None:
    delivery = push()
    if fault == "stopped":
        intake.redis.stop()
    else:
        intake.redis.pause()

    answer = intake.deliver("github", delivery)
    unsigned = intake.deliver("github", Sent(headers={}, body=b"{}"))
    ready, alive = intake.call("GET", "/readyz"), intake.call("GET", "/healthz")
    if fault == "stopped":
        intake.redis.start()
    else:
        intake.redis.resume()

    assert (answer.status, answer.json["type"]) == (503, "/problems/redis-down")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.seconds < 1
    assert (unsigned.status, unsigned.seconds < 1) == (401, True)
    assert (ready.status, alive.status) == (503, 200)
    eventually(lambda: intake.call("GET", "/readyz").status == 200)
    assert intake.deliver("github", delivery).status == 202
