"""A bounded memory of what was worked out from content ids: what an id stands for never changes, so nothing expires.

In: ids of blobs and folders, or of anything else that names its content. Out: what was put in for them. State: one
dict a process, the oldest entries dropped first; lost with the process, which costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

DROPPED_SHARE = 8  # when full, one in so many entries goes, so that dropping is rare


class Remembered(Generic[K, V]):
    """At most `limit` values by key; safe to use from several threads."""

    __slots__ = ("_limit", "_values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of this key, made now if it is not known; two threads may both make it, which harms nobody."""
        value = self._values.get(key)
        if value is None:
            value = make()
            self.keep(key, value)
        return value

    def known(self, key: K) -> V | None:
        """The value of this key, if there is one."""
        return self._values.get(key)

    def keep(self, key: K, value: V) -> None:
        """Put this value in, in the place of the one there."""
        if len(self._values) >= self._limit:
            self._drop()
        self._values[key] = value

    def _drop(self) -> None:
        for key in list(self._values)[: max(1, self._limit // DROPPED_SHARE)]:
            self._values.pop(key, None)
