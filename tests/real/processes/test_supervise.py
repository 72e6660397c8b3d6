"""Programs that are kept running, on real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from parts.eventually import eventually
from parts.processes import started_at

SCRIPT = """
import gc, os, signal, sys, time
from pathlib import Path
from towline.shared.supervise import Program, Supervisor

folder = Path(sys.argv[1])

def steady():
    (folder / f"steady-{os.getpid()}").touch()
    while True:
        time.sleep(60)

def dying():
    (folder / f"dying-{os.getpid()}").touch()
    return 3

def looking():
    is_seen = any(one is vars(sys.modules["signal"]) for one in gc.get_objects())
    (folder / f"looking-{int(is_seen)}").touch()
    return 0

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / f"stubborn-{os.getpid()}").touch()
    while True:
        time.sleep(60)

def slow():
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), note("slow"), sys.exit(0)))
    (folder / f"slow-{os.getpid()}").touch()
    while True:
        time.sleep(60)

def needed():
    signal.signal(signal.SIGTERM, lambda *_: (note("needed"), sys.exit(0)))
    (folder / f"needed-{os.getpid()}").touch()
    while True:
        time.sleep(60)

def note(name):
    with (folder / "ended").open("a") as file:
        file.write(name + " ")

programs = [Program(name=name, run=globals()[name], ends_last=name == "needed") for name in sys.argv[2:]]
sys.exit(Supervisor(programs, grace_seconds=0.5).run())
"""


@pytest.fixture
def supervise(tmp_path):
    started = []

    def start(*names):
        child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), *names])
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()


def pids(folder: Path, name: str) -> list[int]:
    return [int(path.name.rpartition("-")[2]) for path in folder.glob(f"{name}-*")]


def test_a_program_that_dies_is_started_again_and_harms_no_other(supervise, tmp_path):
    supervise("steady", "dying")

    eventually(lambda: len(pids(tmp_path, "dying")) >= 3)

    assert len(pids(tmp_path, "steady")) == 1


def test_a_program_that_is_killed_is_started_again(supervise, tmp_path):
    supervise("steady")
    (first,) = eventually(lambda: pids(tmp_path, "steady"))

    os.kill(first, signal.SIGKILL)

    eventually(lambda: len(pids(tmp_path, "steady")) == 2)
    assert started_at(first) is None


def test_what_was_imported_is_not_walked_through_by_a_programs_garbage_collector(supervise, tmp_path):
    """It would write into every page that the programs share."""
    supervise("looking")

    assert eventually(lambda: list(tmp_path.glob("looking-*"))) == [tmp_path / "looking-0"]


def test_sigterm_ends_every_program_and_the_exit_code_says_that_all_went_well(supervise, tmp_path):
    supervisor = supervise("steady", "steady")
    eventually(lambda: len(pids(tmp_path, "steady")) == 2)

    supervisor.terminate()

    assert supervisor.wait(timeout=5) == 0
    assert not [pid for pid in pids(tmp_path, "steady") if started_at(pid)]


def test_a_program_that_does_not_end_is_killed_and_the_exit_code_says_so(supervise, tmp_path):
    supervisor = supervise("stubborn")
    (pid,) = eventually(lambda: pids(tmp_path, "stubborn"))

    supervisor.terminate()

    assert supervisor.wait(timeout=5) == 1
    assert started_at(pid) is None


def test_what_others_need_ends_after_them(supervise, tmp_path):
    supervisor = supervise("needed", "slow")
    eventually(lambda: pids(tmp_path, "needed") and pids(tmp_path, "slow"))

    supervisor.terminate()
    supervisor.wait(timeout=5)

    assert (tmp_path / "ended").read_text().split() == ["slow", "needed"]


def test_no_program_survives_a_supervisor_that_was_killed(supervise, tmp_path):
    supervisor = supervise("steady")
    (pid,) = eventually(lambda: pids(tmp_path, "steady"))

    supervisor.kill()
    supervisor.wait()

    eventually(lambda: started_at(pid) is None)
