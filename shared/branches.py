"""Which branch belongs where: patterns of branch names, and the DNS label of a branch; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

HEADS = "refs/heads/"
HASH_LENGTH = 8  # hexadecimal digits
SHORTEST_LABEL = HASH_LENGTH + 4  # so that something readable stands before the hash
LABEL_LENGTH = 63
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
    """Whether a branch matches a pattern: `*` stops at `/`, `**` does not."""
    return _compiled(pattern).fullmatch(branch) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Linear in practice: stars that follow each other are one, and every piece between them is literal."""
    parts = re.split(r"(\*+)", pattern)
    stars = {True: ".*", False: "[^/]*"}
    return re.compile("".join(stars[len(p) > 1] if p.startswith("*") else re.escape(p) for p in parts))


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
