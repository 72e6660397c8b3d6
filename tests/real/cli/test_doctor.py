"""`towline doctor`, on real parts that are well, and on ones that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.control_plane import ControlPlane
from parts.engine import configuration
from parts.git import Origin

NOWHERE = "127.0.0.1:1"  # nobody listens there

Examine = Callable[..., "tuple[int, dict[str, dict[str, str]]]"]


@pytest.fixture
def document(
    tmp_path: Path, redis_url: str, control_plane: ControlPlane, namespace_name: str, origin: Origin
) -> dict[str, Any]:
    """A configuration with which everything is well."""
    return configuration(
        tmp_path,
        redis_url=redis_url,
        kubeconfig=control_plane.kubeconfig,
        url=origin.url,
        namespaces={"staging": namespace_name},
    )


@pytest.fixture
def examine(tmp_path: Path, kustomize: Path) -> Examine:
    """Runs `towline doctor`: its exit code, and what it found by part."""

    def run(document: dict[str, Any]) -> tuple[int, dict[str, dict[str, str]]]:
        path = tmp_path / "towline.yaml"
        path.write_text(yaml.safe_dump(document))
        answer = subprocess.run(
            [sys.executable, "-m", "towline.cli", "doctor", "--output", "json", "--config", str(path)],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TOWLINE_KUSTOMIZE": str(kustomize)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.stderr == ""
        return answer.returncode, {each["part"]: each for each in json.loads(answer.stdout)}

    return run


def test_where_all_is_well_it_says_so(document: dict[str, Any], examine: Examine) -> None:
    code, found = examine(document)

    assert code == 0, found
    assert {each["state"] for each in found.values()} <= {"ok", "warning"}
    assert list(found) == [
        "data_dir",
        "secret key",
        "redis",
        "repository shop: webhook",
        "repository shop: git",
        "cluster test",
        "environment staging",
        "kustomize",
        "render network",
    ]


def test_each_part_that_is_away_is_named_and_hides_no_other(
    document: dict[str, Any], examine: Examine, tmp_path: Path
) -> None:
    kubeconfig = yaml.safe_load(Path(document["clusters"]["test"]["kubeconfig"]).read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://{NOWHERE}"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    document["clusters"]["test"]["kubeconfig"] = str(tmp_path / "kubeconfig")
    document["redis"]["url"] = f"redis://{NOWHERE}/0"
    document["repositories"][0]["url"] = f"http://{NOWHERE}/shop.git"
    document["repositories"][0]["webhook"]["secrets"] = [{"env": "NOT_SET"}]

    code, found = examine(document)

    assert code == 1
    failed = {part for part, each in found.items() if each["state"] == "failed"}
    assert failed == {
        "redis",
        "repository shop: webhook",
        "repository shop: git",
        "cluster test",
        "environment staging",
    }
    assert all(found[part]["hint"] for part in failed)
    assert found["kustomize"]["state"] == "ok"


def test_an_embedded_redis_that_died_is_told_from_one_that_was_not_started(
    document: dict[str, Any], examine: Examine
) -> None:
    document["redis"] = {}
    before = examine(document)[1]["redis"]
    socket = Path(document["data_dir"]) / "redis" / "redis.sock"
    socket.parent.mkdir(parents=True)
    socket.touch()

    after = examine(document)[1]["redis"]

    assert (before["state"], after["state"]) == ("ok", "failed")
    assert "towline up" in before["text"]
