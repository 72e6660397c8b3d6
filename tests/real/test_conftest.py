"""tests/conftest.py in a checkout that has no corpus beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

CASES = """\
import pytest

def test_without(): pass

@pytest.mark.needs_corpus
def test_marked(): assert False

def test_by_fixture(corpus): assert (corpus / "apps").is_dir()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of three tests and our conftest, in a folder of its own."""
    checkout = tmp_path / "checkout"
    (checkout / "tests" / "unit").mkdir(parents=True)
    (checkout / "tests" / "unit" / "test_cases.py").write_text(CASES)
    (checkout / "tests" / "conftest.py").write_text(without_parts((TESTS / "conftest.py").read_text()))
    (checkout / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    return checkout


def without_parts(conftest: str) -> str:
    """The same conftest, quicker to load: none of the parts is used here."""
    changed, count = re.subn(r"^pytest_plugins = \[.*?\]$", "", conftest, flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    return changed


def run(checkout: Path, *arguments: str) -> list[str]:
    """The lines that pytest prints there."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, check=False, cwd=checkout, capture_output=True, text=True
    ).stdout.splitlines()


def test_what_needs_the_corpus_is_left_out_and_counted(checkout: Path) -> None:
    lines = run(checkout)
    assert "1 passed, 2 deselected" in lines[-1]
    assert "2 tests were left out: they need" in lines[-2]
    assert "skipped" not in "".join(lines)


def test_several_processes_say_it_once_and_end_with_the_closing_line(checkout: Path) -> None:
    lines = run(checkout, "--numprocesses", "2")
    assert "1 passed" in lines[-1]
    assert [line for line in lines if "were left out" in line] == [lines[-2]]
    assert lines[-2].startswith("2 tests")


def test_with_the_corpus_they_run(checkout: Path) -> None:
    (checkout.parent / "shared" / "corpus" / "apps").mkdir(parents=True)
    assert "1 failed, 2 passed" in run(checkout)[-1]


def test_markers_follow_folders(checkout: Path) -> None:
    (checkout / "tests" / "unit").rename(checkout / "tests" / "journey")
    assert "1 passed, 2 deselected" in run(checkout, "-m", "journey")[-1]
