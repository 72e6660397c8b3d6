"""Server programs as children of the tests: started, watched while they come up, paused, killed, ended.

Each writes to `<folder>/<name>.log`, whose end is in the error when it does not come up. A `Process` dies with the test
run even on kill -9, except a `detached` one, which stays and is found again by `<folder>/<name>.pid`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
EVERY_SECONDS = 0.01
LAST_LINES = 30  # of the log, in an error
# Below the range from which the kernel takes ports for outgoing connections (ip_local_port_range), so that a port found
# free stays free until its program listens.
PORTS = range(20_000, 30_000)


class NotReady(Exception):
    """A program ended or did not answer in time; the message holds the end of its log."""


class Process:
    """One program with fixed arguments, that can be started again and again."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, folder: Path, detached: bool = False
    ) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.pid_file = folder / f"{name}.pid"
        self._command = [str(word) for word in command]
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, while it was started and not stopped."""
        if self._child is None:
            raise NotReady(f"{self.name} was not started")
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Started and not ended; a paused one runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, from the main thread unless detached (see launch.py); returns before it is ready."""
        launch = [] if self._detached else [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid())]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                launch + self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder)},
                start_new_session=True,  # the terminal's Ctrl-C is for the test run, which ends its programs itself
            )
        self.pid_file.write_text(json.dumps({"pid": self.pid, "started": started_at(self.pid)}))

    def wait_ready(self, is_ready: Callable[[], object], *, within: float = READY_SECONDS) -> None:
        """Wait until the check is true; raises NotReady when it is not in time, or the program ended."""
        deadline = time.monotonic() + within
        while not is_ready():
            if not self.is_running:
                code = self._child.returncode if self._child else None
                raise NotReady(f"{self.name} ended with exit code {code}\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} is not ready after {within:g} s\n{self.last_lines()}")
            time.sleep(EVERY_SECONDS)

    def last_lines(self) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"{self.log}:", *text.splitlines()[-LAST_LINES:]])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process."""
        if self._child is not None:
            self._child.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, also when paused, and wait until it is gone; SIGKILL after STOP_SECONDS."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._child is None:
            return
        self.send(number)
        self.resume()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None
        self.pid_file.unlink(missing_ok=True)


def started_at(pid: int) -> int | None:
    """When this process started, in clock ticks since boot (proc(5), field 22); None when there is none.

    Together with the pid it names one process: pids are used again.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] == "Z" else int(after_name[19])


def _share_of_ports() -> range:
    """The ports of this process: of several that share a run (pytest-xdist) each has its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return PORTS[int(worker) :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


_PORTS_IN_TURN = itertools.cycle(random.sample(_share_of_ports(), len(_share_of_ports())))


def free_port() -> int:
    """A port on loopback on which nothing listens, and that was not given to anybody lately."""
    for port in itertools.islice(_PORTS_IN_TURN, 100):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NotReady(f"none of 100 ports in {PORTS} is free")
