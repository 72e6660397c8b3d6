"""Watches of the demo's API: what happens to some objects, line by line, as it happens.

The protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from towline.demo.changes import Changes, events
from towline.demo.request import Object, Refusal, Target
from towline.demo.selectors import Selector

BOOKMARK_SECONDS = 60.0  # as a real API server
USUAL_SECONDS = 1800.0  # where a client does not say how long


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a client asked for; `shown` makes of an object what it wants to see of it."""

    target: Target
    selected: Selector
    since: int
    seconds: float
    bookmarks: bool
    shown: Callable[[Object], Object]


def lines(changes: Changes, watch: Watch) -> Iterator[bytes]:
    """The events until the time is over or the cluster ends; several at once where they happened at once."""
    version, end = watch.since, time.monotonic() + watch.seconds
    while True:
        try:
            news = changes.since(version)
        except Refusal as refusal:  # a watch was accepted, so it is told there
            yield _line("ERROR", refusal.status)
            return
        version = news[-1].version if news else version
        found = events(news, watch.target, watch.selected)
        if told := b"".join(_line(type_, watch.shown(object)) for type_, object in found):
            yield told
        remaining = end - time.monotonic()
        if remaining <= 0 or changes.has_ended:
            return
        if changes.wait(version, min(remaining, BOOKMARK_SECONDS)) <= version and watch.bookmarks:
            yield _line("BOOKMARK", watch.shown(_bookmark(watch.target, version)))


def _bookmark(target: Target, version: int) -> Object:
    kind = target.kind
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version)},
    }


def _line(type_: str, object: Object) -> bytes:
    return json.dumps({"type": type_, "object": object}).encode() + b"\n"
