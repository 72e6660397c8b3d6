"""Children without a network: a way to start programs in an empty network namespace.

In: an argument list. Out: a started process. State: where the machine lets us, one thread that has left the network
for good, a process; it ends with the process, and so does its namespace.

Network namespaces belong to threads (network_namespaces(7)), and a child is born into its thread's one. So the thread
that starts the programs leaves the network once, and starting costs what it costs anyway (measured: 1.0 ms; the
`unshare` program in between 3.9 ms; a preexec_fn 11 ms, as it forks the whole worker). Leaving needs
CAP_SYS_ADMIN; without it, `unshare` makes a user namespace first, where that is allowed. Where neither is (many
containers), programs run with the network, and only the checks before keep them from using it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import lru_cache
from typing import Any

CLONE_NEWNET = 0x40000000  # linux/sched.h
PROBE_SECONDS = 5


class Isolation(StrEnum):
    """How programs are kept from the network."""

    THREAD = "thread"  # started by the thread that has left it
    PROGRAM = "program"  # started through unshare(1)
    NONE = "none"


class Starter:
    """Starts programs, without a network where that can be had."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="offline")
        self._unshare = shutil.which("unshare", path=os.defpath)
        self.isolation = self._found_out()

    def start(self, argv: Sequence[str], options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Like Popen with these options; never through a shell."""
        if self.isolation is Isolation.THREAD:
            return self._thread.submit(_popen, argv, options).result()
        return _popen([*self._prefix(), *argv] if self.isolation is Isolation.PROGRAM else argv, options)

    def _found_out(self) -> Isolation:
        if self._thread.submit(_leave_network).result():
            return Isolation.THREAD
        if self._unshare and _succeeds([*self._prefix(), self._unshare, "--version"]):
            return Isolation.PROGRAM
        return Isolation.NONE

    def _prefix(self) -> list[str]:
        return [str(self._unshare), "--user", "--net", "--"]


def starter() -> Starter:
    """The starter of this process; a forked child has none of its parent's threads and gets its own."""
    return _starter(os.getpid())


@lru_cache(maxsize=1)
def _starter(pid: int) -> Starter:
    return Starter()


def _popen(argv: Sequence[str], options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, **options)


def _leave_network() -> bool:
    unshare: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and unshare(CLONE_NEWNET) == 0


def _succeeds(argv: Sequence[str]) -> bool:
    try:
        finished = subprocess.run(argv, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0
