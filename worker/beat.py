"""Something done again and again beside a job, in a thread: heartbeats, the renewal of a lease."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Call `action` each `seconds` until the block ends; its errors are its own to handle."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(seconds):
            action()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
