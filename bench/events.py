"""Watches one kind in one namespace from outside, and keeps every event with the time at which it came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from parts.control_plane import ControlPlane
from parts_of_a_run import watched

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event, at a `time.perf_counter`."""

    at: float
    type: str
    object: Object


class Events:
    """The events of `path`, such as `/api/v1/namespaces/shop/pods`."""

    def __init__(self, plane: ControlPlane, path: str) -> None:
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        events = watched(plane, path)
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def _read(self, events: Iterator[tuple[float, Object]]) -> None:
        for at, event in events:
            with self._changed:
                self._seen.append(Seen(at=at, type=event["type"], object=event["object"]))
                self._changed.notify_all()

    def first(self, what: str, fits: Callable[[Seen], bool], *, after: float, within: float = 20.0) -> float:
        """When the first event after a time came that fits; raises TimeoutError."""
        deadline, at = time.monotonic() + within, 0
        with self._changed:
            while True:
                for seen in self._seen[at:]:
                    if seen.at > after and fits(seen):
                        return seen.at
                at, left = len(self._seen), deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"not seen within {within:g} s: {what}")
