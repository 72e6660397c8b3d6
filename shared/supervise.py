"""Keeps a set of programs running: forks each, starts it again when it dies, ends them all together.

Forked after everything is imported, so that the programs share their pages and start at once, and what was imported is
kept out of the garbage collector's sight. A child dies with its parent, even when that is killed (PR_SET_PDEATHSIG), so
no process is ever left behind.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE_SECONDS = 25.0  # for running jobs to end; what is killed after it is run again by the sweep
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0  # a program that ran this long starts again without a pause

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: `run` is called in a child of its own and returns its exit code; `ends_last`: others need it."""

    name: str
    run: Callable[[], int]
    ends_last: bool = False


@dataclass(slots=True, kw_only=True)
class _Child:
    program: Program
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS


class Supervisor:
    """Runs programs until SIGTERM or SIGINT; then sends each SIGTERM, waits, and kills what is left."""

    def __init__(self, programs: Sequence[Program], *, grace_seconds: float = GRACE_SECONDS) -> None:
        self._children = [_Child(program=program) for program in programs]
        self._grace_seconds = grace_seconds

    def run(self) -> int:
        """Returns 0 when asked to stop and every program has ended by itself, 1 when one had to be killed."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        gc.collect()
        gc.freeze()  # what was imported stays: no child's collector walks through it, or writes into shared pages
        try:
            self._keep_running()
            return self._stop()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    def _keep_running(self) -> None:
        while True:
            now = time.monotonic()
            for child in self._children:
                if not child.pid and child.start_at <= now:
                    self._start(child)
            waiting = [child.start_at - now for child in self._children if not child.pid]
            received = signal.sigtimedwait(WATCHED, max(0.01, min([1.0, *waiting])))
            if received and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return
            self._reap()

    def _start(self, child: _Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        child.started_at = time.monotonic()
        child.pid = os.fork()
        if child.pid == 0:
            _become(child.program, parent)
        log.debug("program.started", program=child.program.name, pid=child.pid)

    def _reap(self) -> None:
        for child in self._children:
            if child.pid and (code := _exit_code(child.pid)) is not None:
                now = time.monotonic()
                steady = now - child.started_at > STEADY_SECONDS
                child.pause_seconds = FIRST_PAUSE_SECONDS if steady else child.pause_seconds
                child.pid, child.start_at = 0, now + child.pause_seconds
                log.warning(
                    "program.ended", program=child.program.name, code=code, again_in=child.pause_seconds
                )
                child.pause_seconds = min(LONGEST_PAUSE_SECONDS, child.pause_seconds * 2)

    def _stop(self) -> int:
        """First those that nobody needs, then the others, within one grace."""
        deadline = time.monotonic() + self._grace_seconds
        killed = 0
        for last in (False, True):
            running = [child for child in self._children if child.pid and child.program.ends_last is last]
            for child in running:
                os.kill(child.pid, signal.SIGTERM)
            killed += sum(_end(child, deadline) for child in running)
        return 1 if killed else 0


def _end(child: _Child, deadline: float) -> bool:
    """Wait until a child that was told to end has done so; True when it had to be killed."""
    while _exit_code(child.pid) is None:
        if time.monotonic() > deadline:
            log.warning("program.killed", program=child.program.name, pid=child.pid)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            return True
        signal.sigtimedwait(WATCHED, 0.05)
    return False


def _exit_code(pid: int) -> int | None:
    """The exit code of a child that has ended (negative: by that signal), None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent; ends it at once when that is gone already (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _become(program: Program, parent: int) -> None:
    """The child's whole life; never returns."""
    die_with_parent(parent)
    for number in WATCHED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    code = 1
    try:
        code = program.run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        log.exception("program.failed", program=program.name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
