"""On which lines the places of a YAML document stand, found by reading the file once more: only errors ask.

So nothing but the bytes is kept with a document, and the loader spends no time on what is rarely needed. The bytes have
passed the loader, whose limits bound the nesting here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
Step = str | int


@dataclass(frozen=True, slots=True)
class Place:
    """A node and those below it; `line` counts from 1, and is the key's for what stands in a mapping."""

    line: int
    children: Mapping[Step, Place] = field(default_factory=dict)

    def line_of(self, path: Sequence[Step]) -> int:
        """The line of a place below; that of the nearest known parent otherwise, as for what was merged or aliased."""
        place = self
        for step in path:
            if step not in place.children:
                break
            place = place.children[step]
        return place.line


def read_places(data: bytes, *, index: int, line: int) -> Place:
    """The places of the document number `index`; only its first `line` where YAML cannot read it, as some JSON."""
    take: Take = CParser(data).get_event
    try:
        take()  # the stream's start
        for _ in range(index):
            while not isinstance(take(), DocumentEndEvent):
                pass
        take()  # the document's start
        return _place(take, take(), line)
    except yaml.YAMLError:
        return Place(line)


def _place(take: Take, event: Event, line: int) -> Place:
    if isinstance(event, MappingStartEvent):
        return Place(line, _of_mapping(take))
    if isinstance(event, SequenceStartEvent):
        return Place(line, _of_sequence(take))
    return Place(line)


def _of_mapping(take: Take) -> dict[Step, Place]:
    children: dict[Step, Place] = {}
    while not isinstance(key := take(), MappingEndEvent):
        line = key.start_mark.line + 1
        if isinstance(key, ScalarEvent):
            children[_text(key)] = _place(take, take(), line)
        else:
            _place(take, key, line)
            _place(take, take(), line)
    return children


def _of_sequence(take: Take) -> dict[Step, Place]:
    children: dict[Step, Place] = {}
    while not isinstance(event := take(), SequenceEndEvent):
        children[len(children)] = _place(take, event, event.start_mark.line + 1)
    return children


def _text(key: Event) -> str:
    try:
        if key.tag is not None:
            return key_of(resolve_tagged(key.tag, key.value))
        return key_of(resolve(key.value)) if key.implicit[0] else str(key.value)
    except Unreadable:
        return str(key.value)
