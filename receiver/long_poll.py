"""Answers that wait until they are final: at most a few at once, so that webhooks always find a thread.

Redis keys read: `towline:changes` (`shared/views.py`). An answer is made again only when that has grown, and the more
seldom the longer it takes to make; no cluster is asked. Killed half-way, the caller asks again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from towline.shared.broker import Broker
from towline.shared.views import changes

WAITERS = 8  # of the receiver's threads; who comes when they are taken gets the present state at once
LONGEST_SECONDS = 60
POLL_SECONDS = 0.1
SHARE = (
    50  # a waiter pauses this many times as long as its answer took, so that it takes 2 % of a core at most
)

T = TypeVar("T")


class LongPoll:
    """One for a whole receiver."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._free = threading.BoundedSemaphore(WAITERS)

    def until(self, answer: Callable[[], T], is_final: Callable[[T], bool], *, seconds: float) -> T:
        """The first answer that is final, or the last one when the time is up or too many wait already."""
        if seconds <= 0 or not self._free.acquire(blocking=False):
            return answer()
        try:
            return self._waited(answer, is_final, ends=time.monotonic() + min(seconds, LONGEST_SECONDS))
        finally:
            self._free.release()

    def _waited(self, answer: Callable[[], T], is_final: Callable[[T], bool], *, ends: float) -> T:
        while True:
            seen, started = changes(self._broker), time.monotonic()
            found = answer()
            pause = max(POLL_SECONDS, SHARE * (time.monotonic() - started))
            if is_final(found) or not self._changed(seen, pause, ends):
                return found

    def _changed(self, seen: int, pause: float, ends: float) -> bool:
        """Wait for a change, for a pause at least; False when the time is up."""
        while (now := time.monotonic()) < ends:
            time.sleep(min(pause, ends - now))
            pause = POLL_SECONDS
            if changes(self._broker) != seen:
                return True
        return False
