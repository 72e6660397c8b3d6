"""Which branch belongs where: patterns of branch names, and the DNS label of a branch; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

HEADS = "refs/heads/"
HASH_LENGTH = 8  # hexadecimal digits
SHORTEST_LABEL = HASH_LENGTH + 4  # so that something readable stands before the hash
LABEL_LENGTH = 63
STEP = re.compile(r"\*+|[^*]", re.DOTALL)
NOT_IN_A_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?\[\\]|\.\.|@\{|^/|/$|//|\.lock$|^-")


def is_pattern(name: str) -> bool:
    """Whether this is a pattern rather than one branch's name, which cannot hold a `*`."""
    return "*" in name


def is_branch_name(name: str) -> bool:
    """Whether Git could have a branch of this name (git check-ref-format), patterns included."""
    return bool(name) and len(name) <= 255 and NOT_IN_A_BRANCH.search(name) is None


def best_match(branch: str, names: Iterable[str]) -> str | None:
    """The name or pattern that a branch belongs to: its own name first, then the first pattern in order."""
    names = list(names)
    if branch in names and not is_pattern(branch):
        return branch
    return next((name for name in names if is_pattern(name) and matches(branch, name)), None)


def matches(branch: str, pattern: str) -> bool:
    """Whether a branch matches a pattern: `*` stops at `/`, `**` does not.

    All ways to match are followed at once, since a regular expression takes years for `*a*a*a*a` and a branch that
    somebody named after it.
    """
    steps = STEP.findall(pattern)
    places = _past_stars(steps, {0})
    for letter in branch:
        reached = {place + 1 for place in places if place < len(steps) and steps[place] == letter}
        reached |= {place for place in places if place < len(steps) and _covers(steps[place], letter)}
        places = _past_stars(steps, reached)
    return len(steps) in places


def _covers(step: str, letter: str) -> bool:
    return step.startswith("*") and (len(step) > 1 or letter != "/")


def _past_stars(steps: Sequence[str], places: set[int]) -> set[int]:
    """These places, and those behind a star, which may stand for nothing; no star follows another one."""
    return places | {place + 1 for place in places if place < len(steps) and steps[place].startswith("*")}


def label_of(branch: str, *, length: int) -> str:
    """A branch as a DNS label of at most so many characters.

    Only `/` becomes `-` without a trace. A branch that is cut or changed otherwise gets a hash of its whole name, or
    `feature/A_b` and `feature/a-b` would share one environment.
    """
    plain = branch.replace("/", "-")
    label = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if label == plain and len(label) <= length:
        return label
    digest = hashlib.sha256(branch.encode("utf-8", "surrogateescape")).hexdigest()[:HASH_LENGTH]
    return "-".join(part for part in (label[: length - HASH_LENGTH - 1].strip("-"), digest) if part)
