"""Tells an open page that something changed: server-sent events, at most a few streams a process.

Each stream holds a thread of the receiver, whose first duty is webhooks. So only STREAMS of them are kept open, each
for STREAM_SECONDS; any other browser gets the present state at once and asks again after RETRY_MS, which `EventSource`
does by itself. All streams of a process share one look at Redis a POLL_SECONDS.

Redis keys read: `towline:changes` (`shared/views.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from flask import Response

from towline.shared.broker import Broker
from towline.shared.errors import RedisDown
from towline.shared.views import changes

STREAMS = 3
STREAM_SECONDS = 60.0
POLL_SECONDS = 0.5
RETRY_MS = 3_000
QUIET_SECONDS = (
    10.0  # after which a line is sent all the same: proxies cut silent answers, and a closed page shows
)


class EventStream:
    """Answers `/events`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._free = threading.BoundedSemaphore(STREAMS)
        self._lock = threading.Lock()
        self._seen, self._seen_at = "", 0.0

    def answer(self) -> Response:
        """A stream if one is free, the present state alone otherwise."""
        if not self._free.acquire(blocking=False):
            return _response(iter([_event(self.state())]))
        answer = _response(self._events())
        answer.call_on_close(self._free.release)
        return answer

    def _events(self) -> Iterator[str]:
        ends, last, sent_at = time.monotonic() + STREAM_SECONDS, None, 0.0
        while (now := time.monotonic()) < ends:
            state = self.state()
            if state != last:
                last, sent_at = state, now
                yield _event(state)
            elif now - sent_at > QUIET_SECONDS:
                sent_at = now
                yield ": still here\n\n"
            time.sleep(POLL_SECONDS)

    def state(self) -> str:
        """A number that grows with every change of a release or a delivery; the last one while Redis is away."""
        with self._lock:
            if time.monotonic() - self._seen_at >= POLL_SECONDS:
                try:
                    self._seen = str(changes(self._broker))
                except RedisDown:
                    pass
                self._seen_at = time.monotonic()
            return self._seen


def _event(state: str) -> str:
    return f"retry: {RETRY_MS}\nid: {state}\ndata: {state}\n\n"


def _response(lines: Iterator[str]) -> Response:
    return Response(lines, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
