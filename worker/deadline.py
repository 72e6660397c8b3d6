"""A point in time until which something must be done, and the means to end a blocked system call there.

libgit2's own time-outs count from the last byte, so a server that sends one byte at a time is never cut off. A signal
makes the system call that waits for that byte fail (EINTR), whereupon libgit2 gives up. It is sent by a thread to the
thread that waits, so this works in any thread, and no alarm that somebody else set is touched.
State: the process's handler of SIGURG, which does nothing and is set only when nobody else set one.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_SECONDS = 0.05  # a signal that came just before the next blocking call is lost, so it is sent again


class Deadline:
    """`seconds` from now on the monotonic clock."""

    __slots__ = ("_at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, self._at - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining() == 0.0


def prepare() -> None:
    """Make blocked calls of this process interruptible; call it in the main thread, others cannot set handlers."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGURG) is signal.SIG_DFL:
        signal.signal(signal.SIGURG, _ignore)


@contextmanager
def cut_off_at(deadline: Deadline) -> Iterator[None]:
    """Interrupt the blocking calls of this thread from the deadline on, until the block is left."""
    done = threading.Event()
    waiting = threading.get_ident()

    def interrupt() -> None:
        if done.wait(deadline.remaining()):
            return
        while not done.wait(AGAIN_SECONDS):
            signal.pthread_kill(waiting, signal.SIGURG)

    watch = threading.Thread(target=interrupt, name="towline-deadline", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _ignore(number: int, frame: FrameType | None) -> None:
    """The signal has done its work by interrupting the call."""
