"""How often an object was repaired lately: who keeps writing the same field is not fought for ever.

Redis keys:

    towline:repairs:<release>   zset   `<object>|<random>` -> time of a repair; expires WINDOW_SECONDS after the last

Wiped, the counting begins anew, which costs a few more repairs.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable

from towline.shared.broker import Broker
from towline.shared.model import ObjectKey, ReleaseName

REPAIRS = 3  # of one object in WINDOW_SECONDS; then it is left to whoever else writes it
WINDOW_SECONDS = 300


class Repairs:
    """The repairs of one release."""

    def __init__(self, broker: Broker, name: ReleaseName) -> None:
        self._broker = broker
        self._key = f"towline:repairs:{name}"

    def contested(self, *, now: float) -> frozenset[str]:
        """The objects that were repaired so often that somebody else must be writing them again and again."""
        with self._broker.guard():
            recent = self._broker.redis.zrangebyscore(self._key, now - WINDOW_SECONDS, "+inf")
        counts = Counter(raw.decode().rpartition("|")[0] for raw in recent)
        return frozenset(name for name, count in counts.items() if count >= REPAIRS)

    def note(self, keys: Iterable[ObjectKey], *, now: float) -> None:
        """These objects were repaired now."""
        members = {f"{key}|{secrets.token_hex(4)}": now for key in keys}
        if not members:
            return
        with self._broker.guard(), self._broker.redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(self._key, "-inf", now - WINDOW_SECONDS)
            pipe.zadd(self._key, members)
            pipe.expire(self._key, WINDOW_SECONDS)
            pipe.execute()
