"""Which clusters have an active watcher: what the clock looks at before it judges releases itself.

Redis keys:

    towline:watcher:<cluster>   string   the active watcher's name; expires ALIVE_SECONDS after it last said that it works
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.shared.broker import Broker

KEY = "towline:watcher:"
ALIVE_SECONDS = 10
SAY_SECONDS = 3.0


class Watchers:
    """Said by the watchers, asked by clock and receiver."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def alive(self, cluster: str, name: str) -> None:
        """This watcher keeps up with this cluster."""
        with self._broker.guard():
            self._broker.redis.set(KEY + cluster, name, ex=ALIVE_SECONDS)

    def gone(self, cluster: str) -> None:
        """It does not any more."""
        with self._broker.guard():
            self._broker.redis.delete(KEY + cluster)

    def active(self, clusters: Iterable[str]) -> set[str]:
        """Those of these clusters that have one."""
        names = list(clusters)
        if not names:
            return set()
        with self._broker.guard():
            found = self._broker.redis.mget([KEY + name for name in names])
        return {name for name, value in zip(names, found, strict=True) if value is not None}
