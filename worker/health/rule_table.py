"""The rules of custom kinds, looked up by group and kind; read from the package's files once, when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import yaml

from towline.worker.health.rule_file import Rule, rules_of

REMEMBERED = 4096  # kinds a process looks up; a cluster has a few hundred


@cache
def table() -> Mapping[str, Rule]:
    """Every rule under its `Kind.group`, patterns included."""
    found: dict[str, Rule] = {}
    for file in sorted(
        files("towline.worker.health").joinpath("rules").iterdir(), key=lambda each: each.name
    ):
        if file.name.endswith(".yaml"):
            for kind, rule in rules_of(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)).items():
                if kind in found:
                    raise ValueError(f"{file.name}: {kind} has a rule in another file")
                found[kind] = rule
    return found


@cache
def _patterns() -> tuple[tuple[str, str, Rule], ...]:
    """(kind, pattern of the group, rule) of those with a `*`, the longest group first, a named kind before any."""
    found = []
    for key, rule in table().items():
        kind, _, group = key.partition(".")
        if "*" in key:
            found.append((kind, group, rule))
    return tuple(sorted(found, key=lambda each: (-len(each[1]), each[0] == "*")))


def rule_for(group: str, kind: str) -> Rule | None:
    """The rule of a kind, whatever its version; a name goes before a pattern."""
    key = f"{kind}.{group}" if group else kind
    known = _remembered.get(key)
    if known is None:
        known = _remembered[key] = (table().get(key) or _by_pattern(group, kind),)
        if len(_remembered) > REMEMBERED:
            _remembered.clear()
    return known[0]


# Kinds come from clusters: what is remembered of them is bounded.
_remembered: dict[str, tuple[Rule | None]] = {}


def _by_pattern(group: str, kind: str) -> Rule | None:
    for pattern_kind, pattern_group, rule in _patterns():
        if pattern_kind in ("*", kind) and fnmatchcase(group, pattern_group):
            return rule
    return None
