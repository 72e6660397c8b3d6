"""The key that is made when none is configured."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from towline.shared.errors import ConfigError
from towline.shared.secret_key import SHORTEST, kept_key


def test_a_key_is_made_once_and_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret_key"

    first = kept_key(path)

    assert len(first) >= SHORTEST
    assert kept_key(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    assert kept_key(tmp_path / "one") != kept_key(tmp_path / "two")


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"

    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: kept_key(path), range(64)))

    assert len(keys) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    kept_key(path)
    path.chmod(0o640)

    with pytest.raises(ConfigError, match="can be read by others") as caught:
        kept_key(path)

    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("content", ["", "short", "x" * (SHORTEST - 1)])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret_key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match="does not hold a key"):
        kept_key(path)


def test_a_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")

    with pytest.raises(ConfigError, match="cannot be kept") as caught:
        kept_key(tmp_path / "data" / "secret_key")

    assert "server.secret_key" in caught.value.hint
