"""On which line a place in a YAML file stands, found by reading the file once more: only errors ask.

So nothing but the bytes is kept with a document, and the loader spends no time on what is rarely needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import (
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from towline.shared.scalars import Unreadable, key_of, resolve, resolve_tagged

Event = Any  # PyYAML's types do not say that libyaml's events have marks
Take = Callable[[], Event]


def line_of(data: bytes, *, index: int, path: Sequence[str | int], default: int) -> int:
    """The line (from 1) of a place in the document number `index`; the nearest known parent's otherwise.

    What was merged or aliased has the line of its alias.
    """
    line = default
    take: Take = CParser(data).get_event
    try:
        _skip_documents(take, index)
        event = take()
        for step in path:
            found = _child(take, event, step)
            if found is None:
                break
            at, event = found
            line = at + 1
    except (yaml.YAMLError, Unreadable):
        pass  # JSON that YAML cannot read: the nearest parent found so far
    return line


def _skip_documents(take: Take, number: int) -> None:
    take()  # the stream's start
    for _ in range(number):
        while not isinstance(take(), DocumentEndEvent):
            pass
    take()  # the document's start


def _child(take: Take, parent: Event, step: str | int) -> tuple[int, Event] | None:
    """The line (from 0) and the first event of one child; a child of a mapping begins at its key."""
    position = 0
    if isinstance(parent, SequenceStartEvent):
        while not isinstance(event := take(), SequenceEndEvent):
            if position == step:
                return _line(event), event
            _skip(take, event)
            position += 1
    if isinstance(parent, MappingStartEvent):
        while not isinstance(key := take(), MappingEndEvent):
            _skip(take, key)
            event = take()
            if isinstance(key, ScalarEvent) and _key_text(key) == step:
                return _line(key), event
            _skip(take, event)
    return None


def _line(event: Event) -> int:
    return int(event.start_mark.line)


def _key_text(key: Event) -> str:
    if key.tag is not None:
        return key_of(resolve_tagged(key.tag, key.value))
    return key_of(resolve(key.value)) if key.implicit[0] else str(key.value)


def _skip(take: Take, event: Event) -> None:
    """Read past the node that begins with this event."""
    depth = 0
    while True:
        depth += isinstance(event, MappingStartEvent | SequenceStartEvent)
        depth -= isinstance(event, MappingEndEvent | SequenceEndEvent)
        if depth == 0:
            return
        event = take()
