"""When each of many is to be looked at again: what is due is found without a look at the others.

In: names and monotonic times. Out: the names that are due, and the next time. State: in memory, owned by one thread.
"""

from __future__ import annotations

import heapq

SPARE = 1_000  # outdated entries that are borne before they are cleared away


class Appointments:
    """One time a name; a heap, in which a time that was moved stays until it comes or too many are outdated."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, when: float) -> None:
        """Look at it then, and not when it was to be looked at before."""
        self._times[name] = when
        heapq.heappush(self._heap, (when, name))
        if len(self._heap) > 2 * len(self._times) + SPARE:
            self._heap = [(at, one) for one, at in self._times.items()]
            heapq.heapify(self._heap)

    def advance(self, name: str, when: float) -> None:
        """Look at it then, unless it is looked at sooner."""
        if when < self._times.get(name, float("inf")):
            self.set(name, when)

    def next(self) -> float:
        """The time of the next one; infinite when there is none."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, at: float) -> list[str]:
        """The names that are due at a time, which are forgotten."""
        names = []
        while self.next() <= at:
            _, name = heapq.heappop(self._heap)
            del self._times[name]
            names.append(name)
        return names

    def clear(self) -> None:
        """Nothing is to be looked at."""
        self._times.clear()
        self._heap.clear()
