"""`towline validate`: which files it checks, what it says, how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from towline.cli.main import main

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both files, both right; the current one."""
    for name in ("towline.yaml", ".towline.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOWLINE_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["validate", *arguments])
    return int(caught.value.code or 0)


def test_a_folder_with_both_files_is_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0

    assert capsys.readouterr().out == "towline.yaml: valid\n.towline.yaml: valid\n"


def test_problems_are_listed_and_the_exit_code_is_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".towline.yaml").write_text("services:\n  a: {pth: x}\nb: 1\n")

    code = run(str(folder))

    out = capsys.readouterr().out
    assert code == 1
    assert "towline.yaml: valid" in out and ".towline.yaml: 3 problems" in out
    assert f"  {folder}/.towline.yaml:2: services.a.pth: unknown key; did you mean path?" in out


def test_json_holds_every_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "towline.yaml").write_text("sync: {workers: 0}\n")

    code = run("--output", "json")

    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["valid"]) == (1, False)
    assert [each["file"] for each in answer["files"]] == ["towline.yaml", ".towline.yaml"]
    assert answer["files"][0]["problems"][0]["path"] == "sync.workers"
    assert answer["files"][1]["problems"] == []


@pytest.mark.parametrize("present", ["towline.yaml", ".towline.yaml"])
def test_one_of_the_two_is_enough(folder: Path, present: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.iterdir():
        if path.name != present:
            path.unlink()

    assert run(str(folder)) == 0
    assert capsys.readouterr().out == f"{folder / present}: valid\n"


def test_a_single_file_is_checked_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "towline.yaml").write_text("nonsense: 1\n")

    assert run(".towline.yaml") == 0
    assert run("towline.yaml") == 1


def test_the_operators_file_may_be_elsewhere(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "production.yaml"
    other.write_text("nonsense: 1\n")

    by_option = run("--config", str(other))
    monkeypatch.setenv("TOWLINE_CONFIG", str(other))
    by_variable = run()
    by_path = run(str(folder))

    assert (by_option, by_variable, by_path) == (1, 1, 0)


def test_nothing_to_check_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path)) == 2
    assert run(str(tmp_path / "missing.yaml")) == 2
    assert run(str(tmp_path), "--config", str(tmp_path / "missing.yaml")) == 2

    assert "neither towline.yaml nor .towline.yaml" in capsys.readouterr().err


def test_what_a_file_holds_does_not_reach_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".towline.yaml").write_text('services: {"\\e[2Jx": {path: y}}\n')

    assert run(".towline.yaml") == 1
    assert "\x1b" not in capsys.readouterr().out


def test_no_secret_needs_to_be_there_to_validate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_WEBHOOK_SECRET", raising=False)

    assert run("towline.yaml") == 0
