"""What happened to the objects of the demo's cluster, remembered for watches as a real API server does it.

In: each write, in the order of its version. Out: the events of a watch from any version that is still remembered; 410 for
an older one. Its lock is that of the objects, so no write comes between a list and the version that the list names.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from towline.demo.request import Object, Refusal, Target
from towline.demo.selectors import Selector

REMEMBERED = 4096  # changes; a watch that lags further behind must list again
FIRST_VERSION = 1000  # as of a cluster that has a past, which is not remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write: the object before and after it, None where there is none."""

    version: int
    group: str
    plural: str
    namespace: str
    before: Object | None
    after: Object | None


class Changes:
    """See the head of the module."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._news = threading.Condition(self.lock)
        self._changes: deque[Change] = deque(maxlen=REMEMBERED)
        self._ended = False
        self.version = FIRST_VERSION

    def add(self, place: tuple[str, str, str, str], before: Object | None, after: Object | None) -> None:
        """Remember the write that made `version` what it is; with the lock held."""
        group, plural, namespace, _ = place
        change = Change(
            version=self.version,
            group=group,
            plural=plural,
            namespace=namespace,
            before=before,
            after=after,
        )
        self._changes.append(change)
        self._news.notify_all()

    def end(self) -> None:
        """End all waiting for good."""
        with self.lock:
            self._ended = True
            self._news.notify_all()

    @property
    def has_ended(self) -> bool:
        """Whether the cluster was stopped."""
        return self._ended

    def wait(self, since: int, seconds: float) -> int:
        """Wait until something is newer than a version, at most so long; returns the version there is now."""
        with self.lock:
            deadline = time.monotonic() + seconds
            while self.version <= since and not self._ended:
                if not self._news.wait(deadline - time.monotonic()):
                    break
            return self.version

    def since(self, version: int) -> list[Change]:
        """What is newer than a version, oldest first; Refusal 410 when that is not remembered whole."""
        with self.lock:
            oldest = self._changes[0].version if self._changes else self.version + 1
            if version < oldest - 1:
                message = f"too old resource version: {version} ({oldest - 1})"
                raise Refusal(410, "Expired", message)
            newer = list(takewhile(lambda one: one.version > version, reversed(self._changes)))
            return newer[::-1]


def events(changes: list[Change], target: Target, selected: Selector) -> Iterator[tuple[str, Object]]:
    """What a watch of this kind, namespace and selection is told of some changes."""
    for change in changes:
        if (change.group, change.plural) != (target.kind.group, target.kind.plural):
            continue
        if target.namespace not in ("", change.namespace):
            continue
        if event := _event(change, selected):
            type_, object = event
            yield type_, {**object, "apiVersion": target.kind.api_version}


def _event(change: Change, selected: Selector) -> tuple[str, Object] | None:
    """An object that is not selected any more is as good as deleted, one that now is as good as new."""
    before, after = change.before, change.after
    was = before is not None and selected.matches(before)
    if after is not None and selected.matches(after):
        return "MODIFIED" if was else "ADDED", after
    if before is None or not was:
        return None
    last = after or before
    return "DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(change.version)}}
