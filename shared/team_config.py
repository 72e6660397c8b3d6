"""The team's file, `.towline.yaml` at the root of a repository: which services there are and how each is delivered.

In: its bytes (from a stranger: capped, strict). Out: frozen values; all problems in one ConfigError. Whether the paths
in it exist is the renderer's question. State owned: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from towline.shared.documents import Limits
from towline.shared.model import DNS_LABEL
from towline.shared.team_file import ServiceEntry, TeamFile
from towline.shared.validation import (
    Fault,
    Location,
    as_mapping,
    as_texts,
    nearest,
    read_single,
    validated,
)

__all__ = ["FILE_NAME", "ServiceEntry", "TeamConfig", "parse_team_config"]

FILE_NAME = ".towline.yaml"
LIMITS = Limits(size_bytes=1024 * 1024, nodes=100_000, depth=20)  # 5,000 services have 0.5 MB
DISCOVER = "discover"
CIRCLES = 5  # that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamConfig:
    """The services that are named, the patterns that find more, and what several share."""

    services: Mapping[str, ServiceEntry]
    discover: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    config: str | None


def parse_team_config(data: bytes, *, file: str = FILE_NAME) -> TeamConfig:
    """The team's configuration in these bytes; raises ConfigError with all problems."""
    document = read_single(data, file=file, limits=LIMITS)
    written = validated(TeamFile, document, file=file, check=_check)
    return TeamConfig(
        services=dict(written.services.__pydantic_extra__),
        discover=written.services.discover,
        groups=written.groups,
        config=written.config,
    )


def _check(value: Any) -> Iterator[Fault]:  # noqa: ANN401 - whatever the file holds
    """The problems beyond those of form: names that a release cannot have, that nobody has, or that go in a circle."""
    root = as_mapping(value)
    services = as_mapping(root.get("services"))
    entries = {name: as_mapping(entry) for name, entry in services.items() if name != DISCOVER}
    named = {name: as_texts(entry.get("depends_on")) for name, entry in entries.items()}
    yield from _names(entries)
    yield from _circles(named)
    if services.get(DISCOVER):
        return  # only the tree can tell which services there are
    for name, wanted in named.items():
        yield from _strangers(("services", name, "depends_on"), wanted, entries)
    for group, members in as_mapping(root.get("groups")).items():
        yield from _strangers(("groups", group), as_texts(members), entries)


def _names(entries: Iterable[str]) -> Iterator[Fault]:
    for name in entries:
        if not DNS_LABEL.fullmatch(name):
            better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
            allowed = f"a DNS label, such as {better}" if better else "a DNS label"
            yield ("services", name), "is not a name that a release can have", allowed


def _strangers(place: Location, names: Sequence[str], services: Mapping[str, Any]) -> Iterator[Fault]:
    for number, name in enumerate(names):
        if name not in services:
            yield (*place, number), f"there is no service {name}{nearest(name, services)}", None


def _circles(named: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
    """Circles of dependencies, a few of them: each look takes time for all services."""
    waiting = {name: [other for other in wanted if other in named] for name, wanted in named.items()}
    for _ in range(CIRCLES):
        try:
            TopologicalSorter(waiting).prepare()
            return
        except CycleError as error:
            circle: list[str] = error.args[1][::-1]  # graphlib's goes from what is waited for to who waits
            text = " -> ".join(circle)
            yield ("services", circle[0], "depends_on"), f"services wait for each other: {text}", None
            for name in circle[1:]:
                waiting[name] = []
