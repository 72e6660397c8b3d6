"""Mirrors of repositories on the Git server of the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from parts.git import Origin
from parts.repositories import repository
from parts.ssh import ssh_server

from towline.shared.config import Credentials
from towline.worker.mirror import Mirror

__all__ = ["ssh_server"]  # a fixture that only the tests of this folder use

MakeMirror = Callable[..., Mirror]


@pytest.fixture
def make_mirror(tmp_path: Path) -> MakeMirror:
    """A mirror of a URL; each call stands for a process of its own on the same data_dir."""

    def make(url: str, *, credentials: Credentials | None = None, allow_insecure: bool = True) -> Mirror:
        return Mirror(
            tmp_path / "mirrors", repository(url, credentials=credentials, allow_insecure=allow_insecure)
        )

    return make


@pytest.fixture
def mirror(make_mirror: MakeMirror, origin: Origin) -> Mirror:
    """The mirror of the fixture `origin`."""
    return make_mirror(origin.url)
