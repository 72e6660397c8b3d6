"""Health rules that users write: one CEL expression over `self`, the object as the API server shows it.

In: an expression and an object, both of strangers. Out: a health and a reason, or what is wrong with the expression.
They are evaluated in a process of their own (cel_process.py), which this module starts when the first expression is
there and owns; it is killed when an answer takes longer than DEADLINE_SECONDS, and started anew for the next one. It
ends by itself when this process is killed, as its standard input ends.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from towline.shared.model import Health, Object

PROGRAM = Path(__file__).with_name("cel_process.py")
EXPRESSION_CHARACTERS = 4096
OBJECT_BYTES = 1024 * 1024  # as JSON; etcd stores 1.5 MB
DEADLINE_SECONDS = 0.5  # an evaluation takes 0.3 ms
START_SECONDS = 10.0  # the first answer may wait for a busy machine
ANSWER_BYTES = 64 * 1024
SLOW_REMEMBERED = 1000
HELLO = b'{"expression": "true"}'


def judgement(expression: str, object: Object) -> tuple[Health, str]:
    """The health that the expression gives for this object; one that cannot be evaluated says so and is progressing."""
    request = _request(expression, object)
    if request is None:
        return Health.PROGRESSING, f"is too large for its expression (over {OBJECT_BYTES} bytes)"
    answer = _PROCESS.ask(expression, request)
    if "error" in answer:
        return Health.PROGRESSING, f"its expression has no answer: {answer['error']}"
    return _read(answer.get("value"))


def problem_of(expression: str) -> str | None:
    """Why this is no expression that gives a health, None when it is one."""
    found = _PROCESS.ask(expression, json.dumps({"expression": expression}).encode()).get("error")
    return str(found) if found is not None else None


def _request(expression: str, object: Object) -> bytes | None:
    metadata = object.get("metadata")
    if isinstance(metadata, dict):
        object = {**object, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}
    try:
        request = json.dumps({"expression": expression, "self": object}).encode()
    except (ValueError, TypeError, RecursionError):
        return None
    return request if len(request) <= OBJECT_BYTES else None


def _read(value: Any) -> tuple[Health, str]:  # noqa: ANN401 - whatever the expression gives
    """true or false, `"failed"`, `"failed: why"`, or `{"health": "failed", "reason": "why"}`."""
    if isinstance(value, bool):
        return (
            (Health.HEALTHY, "its expression holds")
            if value
            else (Health.PROGRESSING, "its expression does not hold")
        )
    if isinstance(value, str):
        name, _, reason = value.partition(":")
    elif isinstance(value, Mapping):
        name, reason = str(value.get("health", "")), str(value.get("reason", ""))
    else:
        name, reason = "", ""
    try:
        return Health(name.strip()), reason.strip() or "as its expression says"
    except ValueError:
        allowed = ", ".join(Health)
        return Health.PROGRESSING, f"its expression gives neither true nor false nor one of {allowed}"


class _Process:
    """The one process that evaluates; one question at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._slow: dict[str, None] = {}

    def ask(self, expression: str, request: bytes) -> Mapping[str, Any]:
        """Its answer; one that took too long once is not asked again."""
        with self._lock:
            if expression in self._slow:
                return {"error": f"takes longer than {DEADLINE_SECONDS:g} s"}
            if not self._is_ready():
                return {"error": "the program that evaluates it does not start"}
            line = self._exchange(request, DEADLINE_SECONDS)
            if line is None:
                self._end()
                self._remember(expression)
                return {"error": f"takes longer than {DEADLINE_SECONDS:g} s, or more memory than it may"}
        return _parsed(line)

    def _is_ready(self) -> bool:
        """Whether it runs and answers; it is started when it does not."""
        if self._running is not None and self._running.poll() is None:
            return True
        self._start()
        return self._exchange(HELLO, START_SECONDS) is not None

    def _remember(self, expression: str) -> None:
        if len(self._slow) >= SLOW_REMEMBERED:
            self._slow.clear()
        self._slow[expression] = None

    def _start(self) -> None:
        self._end()
        # -I: nothing of the environment or the current folder; it gets no secret that this process has.
        self._running = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )

    def _exchange(self, request: bytes, seconds: float) -> bytes | None:
        """One line there, one back; None when it did not come in time, or not at all."""
        running = self._running
        if running is None or running.stdin is None or running.stdout is None:
            return None
        try:
            running.stdin.write(request + b"\n")
            running.stdin.flush()
        except OSError:
            return None
        return _line_of(running.stdout.fileno(), monotonic() + seconds)

    def _end(self) -> None:
        if self._running is None:
            return
        self._running.kill()
        self._running.wait()
        for stream in (self._running.stdin, self._running.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._running = None

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._end()


def _line_of(descriptor: int, until: float) -> bytes | None:
    """A line of the answer, None when it does not come by `until`."""
    poll = select.poll()  # unlike select.select, for any number of open files
    poll.register(descriptor, select.POLLIN)
    found = b""
    while not found.endswith(b"\n") and len(found) < ANSWER_BYTES:
        ready = poll.poll(max(0.0, until - monotonic()) * 1000)
        read = os.read(descriptor, ANSWER_BYTES) if ready else b""
        if not read:
            return None
        found += read
    return found


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {"error": "cannot be evaluated"}
    return found if isinstance(found, dict) else {"error": "cannot be evaluated"}


_PROCESS = _Process()
atexit.register(_PROCESS.close)
