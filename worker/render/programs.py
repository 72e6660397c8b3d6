"""Runs a renderer as if its input were hostile: no shell, no network, no git, no home, limits on everything.

In: an argument list and a folder. Out: what the program wrote, or an error with what it said last. State: none that
outlives the call; the program's whole process group is ended with it. Killed half-way: the program ends with the CPU
limit at the latest; its private folder is in the temporary directory.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

from towline.shared.errors import ProgramLimit, RenderError
from towline.worker.render.network import starter

MIB = 1024 * 1024
READ_BYTES = 64 * 1024
VERSION_SECONDS = 10
NOWHERE = "/nonexistent"  # Debian keeps this name free (Policy 9.2.3); a home and a PATH without anything

INSTALL = {
    "kustomize": "install kustomize 5 (https://kubectl.docs.kubernetes.io/installation/kustomize/), put it on PATH, "
    "or name it in TOWLINE_KUSTOMIZE",
    "helm": "install helm 3 (https://helm.sh/docs/intro/install/), put it on PATH, or name it in TOWLINE_HELM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use."""

    seconds: float = 30.0  # a large real build takes two
    cpu_seconds: int = 30
    memory_bytes: int = 1024 * MIB  # private writable memory; kustomize uses some 60 MiB for a small build
    output_bytes: int = 32 * MIB
    message_bytes: int = 64 * 1024  # of what it says on standard error
    open_files: int = 256


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the renderers are; None: not on this machine."""

    kustomize: Path | None = None
    helm: Path | None = None

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Programs:
        """By TOWLINE_KUSTOMIZE and TOWLINE_HELM, then beside this Python, then on PATH."""
        return cls(**{name: _found(name, environ) for name in INSTALL})

    def path(self, name: str) -> Path:
        """The program of this name; raises RenderError with how to install it."""
        path: Path | None = getattr(self, name)
        if path is None:
            raise RenderError(f"{name} is not installed where this worker runs", hint=INSTALL[name])
        return path

    def version(self, name: str) -> str:
        """What the program calls itself; it is an input of every render, so that an upgrade renders again."""
        path: Path | None = getattr(self, name)
        if path is None:
            return "none"
        try:
            status = path.stat()
        except OSError:
            return "none"
        return _version(path, status.st_mtime_ns, status.st_size)


def _found(name: str, environ: Mapping[str, str]) -> Path | None:
    named = environ.get(f"TOWLINE_{name.upper()}")
    beside = str(Path(sys.executable).parent)  # where `make install` puts it
    path = named or shutil.which(name, path=f"{beside}{os.pathsep}{environ.get('PATH', os.defpath)}")
    return Path(path).absolute() if path else None


@lru_cache(maxsize=16)
def _version(path: Path, modified_ns: int, size_bytes: int) -> str:
    try:
        finished = subprocess.run(
            [path, "version"],
            capture_output=True,
            timeout=VERSION_SECONDS,
            check=False,
            env=_environment(LIMITS),
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return finished.stdout.decode("utf-8", "replace").strip()[:100] or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a program ended."""

    status: int  # as Popen.returncode: negative for a signal
    output: bytes
    message: str


def run(argv: Sequence[str | Path], *, folder: Path, limits: Limits = LIMITS) -> Finished:
    """Run a program in `folder`, with nothing of our environment.

    Raises ProgramLimit when it takes more than it may, RenderError when it cannot be started.
    """
    try:
        process = starter().start(
            [str(argument) for argument in argv],
            {
                "cwd": folder,
                "env": _environment(limits),
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "start_new_session": True,
            },
        )
    except OSError as error:
        raise RenderError(
            f"{argv[0]} cannot be started: {error.strerror}", hint="check the program"
        ) from error
    with process:
        try:
            status, output, message = _finish(process, limits)
        except BaseException:
            _end(process.pid)
            raise
    _raise_for_limit(argv, status, message, limits)
    return Finished(status=status, output=output, message=message)


def _finish(process: subprocess.Popen[bytes], limits: Limits) -> tuple[int, bytes, str]:
    deadline = time.monotonic() + limits.seconds
    _limit(process.pid, limits)
    output, message = _Pipes(process, limits, deadline).collected()
    try:
        status = process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise _too_slow(limits) from error
    return status, output, message


def _too_slow(limits: Limits) -> ProgramLimit:
    return ProgramLimit(
        f"the renderer did not end within {limits.seconds:g} s", hint="make the service smaller"
    )


def _environment(limits: Limits) -> dict[str, str]:
    """The whole environment; always the same, since kustomize puts variables into ConfigMaps where an env file asks."""
    return {
        "HOME": NOWHERE,
        "XDG_CONFIG_HOME": NOWHERE,
        "TMPDIR": NOWHERE,
        "PATH": NOWHERE,  # no git, no shell
        "LC_ALL": "C.UTF-8",
        "GOMAXPROCS": "1",  # a build is one thread's work; measured 13 ms against 17
        "GOGC": "off",  # a small build ends before garbage matters ...
        "GOMEMLIMIT": str(limits.memory_bytes // 2),  # ... and a large one is collected before the hard limit
    }


def _limit(pid: int, limits: Limits) -> None:
    """Limits are set from outside, right after the start: a preexec_fn is unsafe with threads and ten times slower."""
    for kind, value in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, 0),  # what it yields goes to a pipe; it has nothing to write
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.prlimit(pid, kind, (value, value))
        except ProcessLookupError:
            return


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(slots=True)
class _Pipes:
    """Reads both pipes of a process until they end, within the limits."""

    process: subprocess.Popen[bytes]
    limits: Limits
    deadline: float
    chunks: dict[int, list[bytes]] = field(default_factory=dict)

    def collected(self) -> tuple[bytes, str]:
        """Standard output, and standard error as text."""
        out, err = self.process.stdout, self.process.stderr
        assert out is not None and err is not None  # both are pipes
        with selectors.DefaultSelector() as selector:
            for pipe in (out, err):
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in self._ready(selector):
                    pipe = out if key.fileobj is out else err
                    if not self._read(pipe, cap=self._cap(pipe is out)):
                        selector.unregister(pipe)
        output, message = (b"".join(self.chunks.get(pipe.fileno(), [])) for pipe in (out, err))
        return output, message.decode("utf-8", "replace")

    def _ready(self, selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
        left = self.deadline - time.monotonic()
        ready = selector.select(left) if left > 0 else []
        if not ready:
            raise _too_slow(self.limits)
        return ready

    def _cap(self, is_output: bool) -> int:
        return self.limits.output_bytes if is_output else self.limits.message_bytes

    def _read(self, pipe: IO[bytes], *, cap: int) -> bool:
        data = os.read(pipe.fileno(), READ_BYTES)
        chunks = self.chunks.setdefault(pipe.fileno(), [])
        chunks.append(data)
        if sum(map(len, chunks)) > cap:
            raise ProgramLimit(f"the renderer wrote more than {cap} bytes", hint="make the service smaller")
        return bool(data)


def _raise_for_limit(argv: Sequence[str | Path], status: int, message: str, limits: Limits) -> None:
    name, hint = Path(argv[0]).name, "make the service smaller"
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ProgramLimit(
            f"{name} was ended by the kernel: more than {limits.cpu_seconds} s of CPU, or no memory left",
            hint=hint,
        )
    if status < 0 or "out of memory" in message or "cannot allocate memory" in message:
        # with too little memory to start, a program dies of a signal and says nothing
        raise ProgramLimit(f"{name} needs more than {limits.memory_bytes} bytes of memory", hint=hint)
