"""The wheel: everything that the folders hold, and it runs without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("receiver", "worker", "shared", "cli", "demo")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as a release is: the sdist, and the wheel out of it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    listed = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, check=True, text=True
    )
    tracked = {f"towline/{path}" for path in listed.stdout.splitlines() if (ROOT / path).exists()}

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert packed == tracked | {"towline/__init__.py", "towline/py.typed"}


def test_the_wheel_runs_from_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import towline; from towline.cli.main import main; print(towline.__file__); main(['--help'])"

    ended = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path) in ended.stdout
    assert "validate" in ended.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_links_below_src_lead_to_the_folders(folder):
    link = ROOT / "src" / "towline" / folder

    assert link.resolve() == ROOT / folder, (
        f"{link} is no link: Git wrote it as a text file. Run `git config core.symlinks true` and check it out again."
    )
