"""Watches Releases from outside, as any user of the cluster can, and remembers when each revision was recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from parts.control_plane import ControlPlane
from parts_of_a_run import watched

RELEASES = "/apis/towline.dev/v1alpha1/namespaces/{}/releases"


class Watch:
    """A watch of the Releases of one namespace; `time.perf_counter` of the first event of each revision is kept."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._changed = threading.Condition()
        events = watched(plane, RELEASES.format(namespace))
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def _read(self, events: Iterator[tuple[float, dict[str, Any]]]) -> None:
        for at, event in events:
            self._note(event["object"], at)

    def _note(self, release: dict[str, Any], at: float) -> None:
        status = release.get("status") or {}
        key = (release["metadata"]["name"], status.get("revision", ""))
        with self._changed:
            if key not in self._seen:
                self._seen[key] = at
                self._entries[key] = (status.get("history") or [{}])[0]
                self._changed.notify_all()

    def wait(self, services: Iterable[str], revision: str, *, within: float) -> float:
        """The time at which the last of these was recorded at the revision; raises TimeoutError naming the rest."""
        missing = set(services)
        keys = {(name, revision) for name in missing}
        deadline = time.monotonic() + within
        with self._changed:
            while not keys <= self._seen.keys():
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    rest = sorted(name for name, _ in keys - self._seen.keys())
                    raise TimeoutError(f"{len(rest)} of {len(keys)} not at {revision[:10]}: {rest[:5]}")
            return max(self._seen[key] for key in keys)

    def entry(self, service: str, revision: str) -> dict[str, Any]:
        """The history entry of the attempt that brought a release to a revision."""
        with self._changed:
            return self._entries[service, revision]
