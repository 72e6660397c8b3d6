"""Secrets: where they come from, rotation, and that they show themselves nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from towline.shared.errors import ConfigError
from towline.shared.secret import SIZE_LIMIT, Secret


def test_a_file_is_read_without_its_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" hunter2 \r\n")

    assert Secret(file=path).value() == " hunter2 "


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    secret = Secret(file=path)
    before = secret.value()

    path.write_text("newer")

    assert (before, secret.value()) == ("old", "newer")


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    secret = Secret(file=path)
    secret.value()
    times = path.stat()

    other = tmp_path / "other"
    other.write_text("new")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)

    assert secret.value() == "new"


def test_a_link_that_leads_elsewhere_now_is_followed(tmp_path: Path) -> None:
    (tmp_path / "v1").write_text("old")
    (tmp_path / "v2").write_text("new")
    link = tmp_path / "token"
    link.symlink_to("v1")
    secret = Secret(file=link)
    secret.value()

    link.unlink()
    link.symlink_to("v2")

    assert secret.value() == "new"


def test_a_missing_file_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "token"
    secret = Secret(file=path)
    with pytest.raises(ConfigError):
        secret.value()

    path.write_text("there now")

    assert secret.value() == "there now"


def test_a_file_that_went_away_gives_no_old_value(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    secret = Secret(file=path)
    secret.value()

    path.unlink()

    with pytest.raises(ConfigError, match="token"):
        secret.value()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff", b"x" * (SIZE_LIMIT + 1)], ids=["empty", "line", "bytes", "large"]
)
def test_a_file_without_a_usable_secret_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="token"):
        Secret(file=path).value()


def test_the_environment_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret(env="TOWLINE_TEST_SECRET")
    monkeypatch.setenv("TOWLINE_TEST_SECRET", "one")
    before = secret.value()

    monkeypatch.setenv("TOWLINE_TEST_SECRET", "two")

    assert (before, secret.value()) == ("one", "two")


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TOWLINE_TEST_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("TOWLINE_TEST_SECRET", value)

    with pytest.raises(ConfigError, match="TOWLINE_TEST_SECRET"):
        Secret(env="TOWLINE_TEST_SECRET").value()


def test_a_secret_never_shows_its_value(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hunter2")
    secret = Secret(file=path)
    secret.value()

    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret(file=path)


def test_values_that_were_used_stay_known_for_redaction(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    secret = Secret(file=path)
    secret.value()
    path.write_text("second")
    secret.value()

    assert set(secret.known()) == {"first", "second"}


def test_a_secret_that_was_never_used_is_known_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("unused")

    assert Secret(file=tmp_path / "token").known() == ("unused",)
    assert Secret(file=tmp_path / "missing").known() == ()
