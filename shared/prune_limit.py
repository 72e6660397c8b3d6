"""How many objects of a release one sync may delete without an operator's word (`max_prune`); pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

ALLOWED = "a number of objects, such as 3, or a share of the release's objects, such as 50%"
PERCENT = re.compile(r"(100|[0-9]{1,2})%")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneLimit:
    """A deletion is within the limit when it is within either bound; `text` is what people read."""

    text: str
    count: int = 0
    percent: int = 0

    def __str__(self) -> str:
        return self.text

    def allowed(self, total: int) -> int:
        """How many of so many objects may be deleted."""
        return max(self.count, total * self.percent // 100)


# A service of three objects may lose two: a share alone would ask the operator about every small one.
USUAL = PruneLimit(text="5 objects or 50%", count=5, percent=50)


def parse_prune_limit(value: object) -> PruneLimit | None:
    """What the operator wrote counts exactly: `50%` has no lowest number, `3` no share. None when it is neither."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return PruneLimit(text=f"{value} objects", count=value)
    if isinstance(value, str) and (match := PERCENT.fullmatch(value)):
        return PruneLimit(text=value, percent=int(match[1]))
    return None
