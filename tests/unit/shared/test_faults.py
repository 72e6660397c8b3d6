"""Fault points: nothing at all in a normal run, and once when armed."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from towline.shared import faults
from towline.shared.faults import VARIABLE, Point, Stage

ROOT = Path(faults.__file__).resolve().parent.parent


def passes(folder: Path, *points: str) -> subprocess.CompletedProcess[str]:
    """A process that passes these points one after the other."""
    text = "import sys; from towline.shared.faults import fault; [fault(p) for p in sys.argv[1:]]; print('passed')"
    program = [sys.executable, "-c", text, *points]
    environment = {VARIABLE: str(folder)}
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_without_the_variable_a_point_is_nothing():
    assert faults.fault is faults._nothing


def test_every_name_in_the_code_is_a_point_and_every_point_is_in_the_code():
    code = [path.read_text() for folder in ("worker", "receiver") for path in (ROOT / folder).rglob("*.py")]
    stages = {name for text in code for name in re.findall(r"""\bstages\(["'](\w+)["']\)""", text)}
    points = {name for text in code for name in re.findall(r"fault\(Point\.(\w+)\)", text)}

    assert stages == set(Stage)
    assert points == {point.name for point in Point}


def test_only_the_first_who_passes_is_killed(tmp_path):
    (tmp_path / "find.begin").write_text("kill")

    codes = [passes(tmp_path, "find.begin").returncode for _ in range(2)]

    assert codes == [-signal.SIGKILL, 0]


def test_who_passes_another_point_is_left_alone(tmp_path):
    (tmp_path / "find.begin").write_text("kill")

    assert passes(tmp_path, "find.end", "render.begin").stdout == "passed\n"


@pytest.mark.parametrize(
    ("action", "error"), [("down", "Unavailable"), ("bug", "RuntimeError"), ("no such thing", "ValueError")]
)
def test_a_point_can_raise_what_passes_and_what_does_not(tmp_path, action, error):
    (tmp_path / "find.begin").write_text(action)

    assert error in passes(tmp_path, "find.begin").stderr
