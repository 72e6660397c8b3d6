"""`make cluster` and `make cluster-stop`: the control plane of the tests, on loopback, for use by hand.

    python tests/cluster.py start     # writes .cluster/kubeconfig and returns when nodes take pods
    python tests/cluster.py stop      # ends exactly those processes and removes .cluster

`.cluster/` holds everything: the data, a log and a pid file a process. A pid file names its process by pid and start
time, so that nothing else is ever ended, also after a restart of the machine. A second `start` says that it runs; one
that finds the rests of a control plane (a process died, the machine was restarted) removes them and starts anew.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE)  # as `pythonpath` in pyproject.toml does for pytest

from parts.control_plane import ControlPlane
from parts.processes import NotReady, started_at
from programs.build import BuildError, find

FOLDER = HERE.parent / ".cluster"
END_SECONDS = 5.0
EVERY_SECONDS = 0.02
PROCESSES = 5


class Busy(Exception):
    """Another start or stop is at work."""


def start(folder: Path) -> None:
    """Start a control plane that outlives this process; raises NotReady, BuildError or Busy."""
    with _held(folder):
        running = list(_running(folder))
        if len(running) == PROCESSES:
            print(f"The control plane already runs.\n{_next_steps(folder)}")
            return
        _end(running)
        _empty(folder)
        started = time.monotonic()
        ControlPlane(folder, detached=True, program=find).start()
        print(f"The control plane is ready after {time.monotonic() - started:.1f} s.\n{_next_steps(folder)}")


def stop(folder: Path) -> None:
    """End the control plane of this folder and remove the folder; raises Busy."""
    if not folder.exists():
        print("No control plane runs.")
        return
    with _held(folder):
        running = list(_running(folder))
        _end(running)
        shutil.rmtree(folder)
    print(f"The control plane is stopped ({len(running)} processes).")


def _next_steps(folder: Path) -> str:
    kubeconfig = folder / "kubeconfig"
    shown = kubeconfig.relative_to(Path.cwd()) if kubeconfig.is_relative_to(Path.cwd()) else kubeconfig
    return (
        f"  kubectl is  {find('kubectl')}\n"
        f"  try         kubectl --kubeconfig {shown} get nodes\n"
        f"  or          export KUBECONFIG={kubeconfig}\n"
        f"  logs are    {shown.parent}/*.log\n"
        f"  end it by   make cluster-stop"
    )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder itself by flock, so that one start or stop is at work at a time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(f"another start or stop is at work on {folder}: wait for it") from None
    finally:
        os.close(held)


def _running(folder: Path) -> Iterator[int]:
    """The pids of the control plane's processes that still are the ones started."""
    for file in sorted(folder.glob("*.pid")):
        try:
            written = json.loads(file.read_text())
            pid, start_time = written["pid"], written["started"]
        except (ValueError, KeyError):
            continue  # cut off by a kill of `start`, which then had not gone on
        if start_time is not None and started_at(pid) == start_time:
            yield pid


def _end(pids: list[int]) -> None:
    """SIGKILL, since nothing is kept, and wait until they are gone."""
    alive = {pid: began for pid in pids if (began := started_at(pid)) is not None}
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while any(started_at(pid) == began for pid, began in alive.items()) and time.monotonic() < deadline:
        time.sleep(EVERY_SECONDS)


def _empty(folder: Path) -> None:
    """Remove the folder's content, not the folder, which is held."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def main() -> int:
    """The command line: exit code 0, or 1 with a reason."""
    parser = argparse.ArgumentParser(
        description="A real Kubernetes control plane on loopback, for use by hand."
    )
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: .cluster in the checkout")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    try:
        start(folder) if arguments.action == "start" else stop(folder)
    except (NotReady, BuildError, Busy) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
