"""One thread that keeps up with the objects of one Selection: list, then watch, again and again until it is stopped.

In: a Cluster. Out: messages in an inbox that somebody else reads: Listing, Items..., Listed, then Change by change; Failed
in between when the server cannot be asked. State: the version up to which everything was put into the inbox, so that a
connection that ends is taken up again where it ended. Killed half-way: nothing of it outlives the process.

A full inbox holds the thread up, and with it the server, rather than filling memory.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from dataclasses import dataclass

import msgspec
import structlog

from towline.shared.cluster import Cluster
from towline.shared.cluster_session import Stream
from towline.shared.errors import ClusterError, TowlineError, UnknownKind
from towline.shared.watching import GONE, Selection, events, pages, version_of, watch

STREAM_SECONDS = (
    240,
    360,
)  # a watch's length, asked of the server: spread, so that not all begin anew at once
# A server sends a bookmark a minute where nothing happens; two missed ones are a dead connection.
SILENT_SECONDS = 130.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 5.0  # what lasted this long did work: the next pause is the shortest again
REFUSED_PAUSE_SECONDS = 30.0  # a right that is missing stays so until somebody gives it
PUT_SECONDS = 0.5
LISTS_AT_ONCE = 2  # pages are large, and an API server has other work

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """A list begins: what is not in it is gone when it has ended."""

    informer: Informer


@dataclass(frozen=True, slots=True)
class Items:
    """Some objects of the list, which shows them as of `version`."""

    informer: Informer
    objects: list[msgspec.Raw]
    version: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The list has ended."""

    informer: Informer
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """ADDED, MODIFIED or DELETED."""

    informer: Informer
    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Failed:
    """The server cannot be asked now; tried again by itself."""

    informer: Informer
    error: TowlineError


Message = Listing | Items | Listed | Change | Failed
Inbox = queue.Queue[Message]


def pause_seconds(failures: int, *, spread: float) -> float:
    """How long to wait after so many failures in a row; `spread` between 0 and 1 keeps many from asking at once."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * spread)


class _Stopped(Exception):
    """Nobody reads any more."""


class Informer:
    """See the head of the module; `start` returns at once, `stop` too."""

    def __init__(
        self,
        cluster: Cluster,
        selection: Selection,
        inbox: Inbox,
        *,
        listing: threading.Semaphore,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.selection = selection
        self._cluster = cluster.acting_as(selection.user) if selection.user else cluster
        self._inbox = inbox
        self._listing = listing
        self._silent_seconds = silent_seconds
        self._stopped = threading.Event()
        self._stream: Stream | None = None
        self._version = ""  # "": list first
        self._thread = threading.Thread(target=self._run, name=f"watch {selection}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it: nothing more comes from it but what is in the inbox."""
        self._stopped.set()
        if (stream := self._stream) is not None:
            stream.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                error = self._follow()
                failures = 1 if time.monotonic() - began > STEADY_SECONDS else failures + 1
                if error is not None:
                    self._put(Failed(self, error))
            except _Stopped:
                return
            self._stopped.wait(_rest_seconds(error, failures))

    def _follow(self) -> TowlineError | None:
        """List where nothing is known yet, watch until that ends; returns why it ended, None for a usual end."""
        try:
            if not self._version:
                self._list()
            self._watch()
        except TowlineError as error:
            if isinstance(error, ClusterError) and error.code in (GONE, 404):
                self._version = ""
            return None if self._stopped.is_set() else error
        except _Stopped:
            raise
        except Exception as error:  # a bug in one watch must not end it for good
            log.exception("watch.failed", watch=str(self.selection))
            self._version = ""
            return TowlineError(f"watch of {self.selection}: {type(error).__name__}")
        return None

    def _list(self) -> None:
        with self._listing:
            resource = self._cluster.preferred(self.selection.group, self.selection.kind)
            self._put(Listing(self))
            version = ""
            for page in pages(self._cluster, resource, self.selection):
                version = page.metadata.resource_version
                self._put(Items(self, page.items, version))
        self._put(Listed(self, version))
        self._version = version

    def _watch(self) -> None:
        resource = self._cluster.preferred(self.selection.group, self.selection.kind)
        stream = watch(
            self._cluster,
            resource,
            self.selection,
            since=self._version,
            seconds=random.randint(*STREAM_SECONDS),
            silent=self._silent_seconds,
        )
        self._stream = stream
        if self._stopped.is_set():  # in between: `stop` did not see this stream
            stream.close()
        try:
            for event in events(stream, of=str(self.selection)):
                if event.type != "BOOKMARK":
                    self._put(Change(self, event.type, event.object))
                self._version = version_of(event.object) or self._version
        finally:
            self._stream = None

    def _put(self, message: Message) -> None:
        while not self._stopped.is_set():
            try:
                self._inbox.put(message, timeout=PUT_SECONDS)
                return
            except queue.Full:
                continue
        raise _Stopped


def _rest_seconds(error: TowlineError | None, failures: int) -> float:
    if isinstance(error, ClusterError) and error.code in (401, 403):
        return REFUSED_PAUSE_SECONDS
    return pause_seconds(failures, spread=random.random())


def is_unserved(error: TowlineError) -> bool:
    """Whether the server does not know the kind (yet): there are no objects of it then."""
    return isinstance(error, UnknownKind) or (isinstance(error, ClusterError) and error.code == 404)
