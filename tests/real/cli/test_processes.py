"""The commands that run something, where their configuration cannot work: told once and at once, not at each restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from towline.cli.processes import programs_of
from towline.shared.config import REDIS_VARIABLE, parse_config

ALONE = ["receiver", "worker", "watcher", "clock"]


def start(command: str, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "towline.yaml"
    path.write_text(f"data_dir: {folder}/data\nserver: {{listen: '127.0.0.1:0'{text}")
    return subprocess.run(
        [sys.executable, "-m", "towline.cli", command, "--config", str(path)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "SHORT_KEY": "too short"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ALONE)
def test_a_program_alone_needs_a_redis(command: str, tmp_path: Path) -> None:
    ended = start(command, tmp_path, "}\n")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: no Redis is configured\n")


@pytest.mark.parametrize("command", ["up", *ALONE])
def test_a_secret_key_that_is_none_is_told(command: str, tmp_path: Path) -> None:
    redis = "redis: {url: 'redis://127.0.0.1:1/0'}"

    ended = start(command, tmp_path, f", secret_key: {{env: SHORT_KEY}}}}\n{redis}\n")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: server.secret_key has 9 characters")


def test_a_redis_named_by_the_environment_takes_the_place_of_an_embedded_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(REDIS_VARIABLE, "redis://127.0.0.1:1/0")
    config = parse_config(b"data_dir: data", file="towline.yaml", folder=tmp_path)

    names = [program.name for program in programs_of(config)]

    assert "redis" not in names
    assert os.environ[REDIS_VARIABLE] == "redis://127.0.0.1:1/0"


def test_without_any_redis_an_embedded_one_is_started_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(REDIS_VARIABLE, "")  # so that what is set here is forgotten afterwards
    monkeypatch.delenv(REDIS_VARIABLE)
    config = parse_config(b"data_dir: data", file="towline.yaml", folder=tmp_path)

    names = [program.name for program in programs_of(config)]

    assert names[0] == "redis"
    assert os.environ[REDIS_VARIABLE] == f"unix://{tmp_path}/data/redis/redis.sock?db=0"
