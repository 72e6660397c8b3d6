"""The running watches of one cluster: an informer for each Selection that is wanted, one inbox for all.

In: the wanted Selections. Out: messages of those that still are. State: threads, which end with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from towline.shared.cluster import Cluster
from towline.shared.watching import Selection
from towline.worker.informer import LISTS_AT_ONCE, SILENT_SECONDS, Inbox, Informer, Message

INBOX = 64  # messages; a page of a list is one of them
BATCH = 500  # messages taken at once


class Watches:
    """Used by one thread."""

    def __init__(self, cluster: Cluster, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._cluster = cluster
        self._silent_seconds = silent_seconds
        self._inbox: Inbox = queue.Queue(INBOX)
        self._listing = threading.Semaphore(LISTS_AT_ONCE)
        self._informers: dict[Selection, Informer] = {}

    def __len__(self) -> int:
        return len(self._informers)

    def __iter__(self) -> Iterator[Selection]:
        return iter(self._informers)

    def adjust(self, wanted: set[Selection], dropped: Callable[[Selection], None]) -> None:
        """Start what is missing, in the order of its names; end what is not wanted any more."""
        for selection in self._informers.keys() - wanted:
            self._informers.pop(selection).stop()
            dropped(selection)
        for selection in sorted(wanted - self._informers.keys()):
            self._start(selection)

    def restart(self, kinds: set[tuple[str, str]]) -> None:
        """Have everything of these kinds listed again."""
        for selection in list(self._informers):
            if (selection.group, selection.kind) in kinds:
                self._informers.pop(selection).stop()
                self._start(selection)

    def _start(self, selection: Selection) -> None:
        informer = Informer(
            self._cluster,
            selection,
            self._inbox,
            listing=self._listing,
            silent_seconds=self._silent_seconds,
        )
        self._informers[selection] = informer
        informer.start()

    def receive(self, *, within: float) -> list[Message]:
        """What came in; waits for the first message, and takes no more than BATCH."""
        messages: list[Message] = []
        try:
            messages.append(self._inbox.get(timeout=max(within, 0.001)))
            while len(messages) < BATCH:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return [one for one in messages if self._informers.get(one.informer.selection) is one.informer]

    def stop(self) -> None:
        """End all of them."""
        for informer in self._informers.values():
            informer.stop()
        self._informers.clear()
