"""A watch against a server that forgets, is silent, cuts off and sends nonsense: what a real one does on a bad day."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from parts.eventually import eventually
from parts.odd_api_server import Handler, OddApiServer

from towline.shared.cluster import connect
from towline.shared.watching import Selection
from towline.worker.informer import Change, Failed, Inbox, Informer, Items, Listed, Message

MAPS = Selection(group="", kind="ConfigMap", namespace="shop")
Answer = Callable[[Handler], None]


def config_map(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)}}


class Server:
    """Lists one object at a version that grows by 100 a list; each watch is answered by the next of `answers`."""

    def __init__(self, api: OddApiServer, answers: list[Answer]) -> None:
        self._answers = answers
        self.lists = 0
        self.watched_since: list[str] = []
        self.ended = threading.Event()
        api.respond = self._respond

    def _respond(self, handler: Handler) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        if "watch" not in query:
            self.lists += 1
            version = str(100 * self.lists)
            body = {"metadata": {"resourceVersion": version}, "items": [config_map("a", 1)]}
            handler.say(200, json.dumps(body).encode())
            return
        self.watched_since.append(query["resourceVersion"][0])
        answer = self._answers.pop(0) if self._answers else self.silent
        answer(handler)

    def silent(self, handler: Handler) -> None:
        """Hold the connection and say nothing."""
        begin(handler)
        self.ended.wait(20)


def begin(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def send(handler: Handler, *lines: bytes) -> None:
    for line in lines:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


def event(kind: str, object: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": object}).encode() + b"\n"


def ends(*lines: bytes) -> Answer:
    """Send these lines and end as a server does whose timeoutSeconds are over."""

    def answer(handler: Handler) -> None:
        begin(handler)
        send(handler, *lines, b"")

    return answer


def cuts(*lines: bytes) -> Answer:
    """Send these lines and cut the connection."""

    def answer(handler: Handler) -> None:
        begin(handler)
        send(handler, *lines)
        handler.wfile.flush()
        handler.connection.shutdown(2)
        handler.close_connection = True

    return answer


Watching = Callable[..., tuple[Server, Inbox]]


@pytest.fixture
def watching(odd_api_server: OddApiServer) -> Iterator[Watching]:
    """`watching(answer, ...)` starts a server that gives these answers to watches, and an informer."""
    started: list[tuple[Informer, Server]] = []

    def watching(*answers: Answer, silent_seconds: float = 20.0) -> tuple[Server, Inbox]:
        server = Server(odd_api_server, list(answers))
        inbox: Inbox = queue.Queue(100)
        informer = Informer(
            connect(odd_api_server, parallel=2),
            MAPS,
            inbox,
            listing=threading.Semaphore(1),
            silent_seconds=silent_seconds,
        )
        started.append((informer, server))
        informer.start()
        return server, inbox

    yield watching
    for informer, server in started:
        informer.stop()
        server.ended.set()


def messages(inbox: Inbox) -> list[Message]:
    found: list[Message] = []
    while not inbox.empty():
        found.append(inbox.get_nowait())
    return found


def test_a_version_that_the_server_forgot_is_listed_again(watching: Watching):
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server, inbox = watching(ends(event("ERROR", gone)))

    eventually(lambda: len(server.watched_since) == 2)

    assert (server.lists, server.watched_since) == (2, ["100", "200"])
    assert [type(one) for one in messages(inbox)].count(Listed) == 2


def test_a_watch_that_ends_or_is_cut_is_taken_up_where_it_was_and_nothing_is_listed(watching: Watching):
    bookmark = event("BOOKMARK", config_map("", 140))
    server, inbox = watching(
        ends(event("MODIFIED", config_map("a", 120))),
        cuts(bookmark),
        cuts(event("DELETED", config_map("a", 150))),
    )

    eventually(lambda: len(server.watched_since) == 4)

    assert (server.lists, server.watched_since) == (1, ["100", "120", "140", "150"])
    assert [one.type for one in messages(inbox) if isinstance(one, Change)] == ["MODIFIED", "DELETED"]


def test_a_server_that_is_silent_is_asked_again(watching: Watching):
    server, inbox = watching(silent_seconds=0.2)

    eventually(lambda: len(server.watched_since) >= 2)

    assert server.lists == 1
    assert any(isinstance(one, Failed) for one in messages(inbox))


@pytest.mark.parametrize("line", [b"{]\n", b'{"kind": "List"}\n', b"[" * 100_000 + b"\n"])
def test_what_is_no_event_is_told_and_the_watch_goes_on(watching: Watching, line: bytes):
    server, inbox = watching(ends(line, event("MODIFIED", config_map("a", 120))))

    eventually(lambda: len(server.watched_since) >= 2)

    assert any(isinstance(one, Failed) for one in messages(inbox))


def test_an_informer_that_is_stopped_ends_its_connection_at_once(odd_api_server: OddApiServer):
    server = Server(odd_api_server, [])
    inbox: Inbox = queue.Queue(100)
    cluster = connect(odd_api_server, parallel=2)
    informer = Informer(cluster, MAPS, inbox, listing=threading.Semaphore(1))
    informer.start()
    eventually(lambda: server.watched_since)

    informer.stop()

    eventually(lambda: f"watch {MAPS}" not in {one.name for one in threading.enumerate()})
    server.ended.set()


def test_an_inbox_that_nobody_reads_holds_a_watch_up_and_loses_nothing(watching: Watching):
    lines = [event("MODIFIED", config_map("a", 200 + number)) for number in range(300)]
    _, inbox = watching(ends(*lines))
    eventually(inbox.full)
    found: list[Message] = []

    def all_changes() -> bool:
        found.extend(messages(inbox))
        return sum(isinstance(one, Change) for one in found) == 300

    eventually(all_changes)
    assert sum(len(one.objects) for one in found if isinstance(one, Items)) == 1
