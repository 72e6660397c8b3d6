"""The paths of the server programs; what is not built fails the run with the command that builds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from programs.build import BuildError, find

ProgramPath = Callable[[str], Path]


def program_path(name: str) -> Path:
    """The path of a program that tests/programs/build.py knows; ends the test run when it was not built."""
    try:
        return find(name)
    except BuildError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def program() -> ProgramPath:
    """`program("kustomize")` is its path."""
    return program_path


@pytest.fixture(scope="session")
def kustomize() -> Path:
    """The kustomize program."""
    return program_path("kustomize")


@pytest.fixture(scope="session")
def helm() -> Path:
    """The helm program."""
    return program_path("helm")
