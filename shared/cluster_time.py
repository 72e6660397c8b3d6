"""What time it is by a cluster's own clock, told by answers that were asked for anyway.

In: the `Date` of each answer (RFC 9110 6.6.1, in whole seconds). Out: our time, moved only as far as the last answer
demands, so that a clock of ours that is right keeps its fractions of a second, and one that is wrong decides nothing.
State: what the last answer said, in memory, shared by all threads: it is replaced as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

SECOND = timedelta(seconds=1)  # what a date leaves away


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A server said this between two moments of the monotonic clock."""

    date: datetime
    asked_at: float
    heard_at: float


class ClusterTime:
    """The time of one cluster; `ours` is the clock of this machine, in seconds since 1970."""

    def __init__(self, ours: Callable[[], float]) -> None:
        self._ours = ours
        self._told: Told | None = None

    def hear(self, date: str | None, *, asked_at: float) -> None:
        """The `Date` of an answer, which was asked for at this monotonic time; one that is none says nothing."""
        if said := _said(date or ""):
            self._told = Told(date=said, asked_at=asked_at, heard_at=time.monotonic())

    def now(self) -> datetime:
        """The time now; ours until an answer came."""
        ours = datetime.fromtimestamp(self._ours(), UTC)
        return ours if self._told is None else as_told(ours, self._told, at=time.monotonic())


@lru_cache(maxsize=8)  # all answers of a second have the same one
def _said(date: str) -> datetime | None:
    try:
        return parsedate_to_datetime(date).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def as_told(ours: datetime, told: Told, *, at: float) -> datetime:
    """Our time at the monotonic time `at`, moved to where it fits what was told. Pure."""
    try:
        earliest = told.date + timedelta(seconds=at - told.heard_at)
        latest = told.date + SECOND + timedelta(seconds=at - told.asked_at)
    except OverflowError:  # the year 9999
        return ours
    return min(max(ours, earliest), latest)
