"""Waiting for what other processes do, instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
SELDOM_SECONDS = 0.5


def eventually(
    check: Callable[[], T],
    within: float = 5,
    every: float = 0.02,
    *,
    explain: Callable[[], object] | None = None,
) -> T:
    """What `check` returns once that is true; seconds.

    It is asked `every` so often at first, and less often the longer it takes, by a twentieth of that: most checks are
    requests of a server that others need. An exception counts as not yet. When time is up, an AssertionError tells the
    last value or exception seen, and what `explain` returns: the release's events, a log's end.
    """
    began = time.monotonic()
    deadline = began + within
    while True:
        failure: Exception | None = None
        try:
            value = check()
        except Exception as error:  # noqa: BLE001
            failure = error
        else:
            if value:
                return value
        if time.monotonic() >= deadline:
            seen = f"raised {failure!r}" if failure else f"was {value!r}"
            more = f"\n{explain()}" if explain else ""
            raise AssertionError(f"not true within {within:g} s: the last time it {seen}{more}") from failure
        time.sleep(min(max(every, (time.monotonic() - began) / 20), SELDOM_SECONDS))
