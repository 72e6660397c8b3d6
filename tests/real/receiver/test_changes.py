"""The stream that tells open pages that something changed."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from parts.answering import deliver, show
from parts.redis import RedisServer

from towline.receiver.access import COOKIE
from towline.receiver.changes import STREAMS
from towline.receiver.context import Context
from towline.shared.model import ReleaseName

SignedIn = Callable[..., FlaskClient]


@contextmanager
def stream(url: str, web: FlaskClient) -> Iterator[http.client.HTTPResponse]:
    """An open `/events`, as a browser holds it."""
    cookie = web.get_cookie(COOKIE)
    assert cookie is not None
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", "/events", headers={"Cookie": f"{COOKIE}={cookie.value}"})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def event(answer: http.client.HTTPResponse) -> str:
    """The next event's data; blocks until there is one."""
    for line in iter(answer.readline, b""):
        if line.startswith(b"data: "):
            return line.removeprefix(b"data: ").decode().strip()
    return "ended"


def test_each_change_is_an_event(served: str, signed_in: SignedIn, context: Context) -> None:
    with stream(served, signed_in("read")) as answer:
        seen = [event(answer)]
        for change in (
            lambda: show(context, "staging/orders"),
            lambda: context.views.started(ReleaseName.parse("staging/orders")),
            lambda: context.views.stopped(ReleaseName.parse("staging/orders")),
            lambda: deliver(context, "d-1"),
            lambda: context.views.remove(ReleaseName.parse("staging/orders")),
        ):
            change()
            seen.append(event(answer))

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert seen == sorted(set(seen), key=int)


def test_beyond_the_limit_the_state_is_told_once_and_no_thread_is_held(
    served: str, signed_in: SignedIn
) -> None:
    web = signed_in("read")
    held = [stream(served, web) for _ in range(STREAMS)]
    answers = [each.__enter__() for each in held]
    first = [event(answer) for answer in answers]

    with stream(served, web) as answer:
        assert [event(answer), event(answer)] == [first[0], "ended"]

    for each in held:
        each.__exit__(None, None, None)


def test_without_redis_a_stream_goes_on(
    served: str, signed_in: SignedIn, context: Context, redis_server: RedisServer
) -> None:
    with stream(served, signed_in("read")) as answer:
        before = event(answer)
        redis_server.restart()
        show(context, "staging/orders")
        show(context, "staging/payments")

        assert event(answer) != before


def test_without_a_session_a_browser_is_told_to_stop_asking(web: FlaskClient) -> None:
    assert web.get("/events").status_code == 204
