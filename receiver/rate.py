"""How many verified deliveries a repository may send in a time, counted together by all receivers.

It is asked after the signature, so that a stranger cannot use up a repository's share. In: a repository. Out: nothing,
or TooMany. Redis keys, which expire by themselves: `towline:rate/...`, two counters a repository (sliding window).
"""

from __future__ import annotations

import time

from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from towline.shared.broker import Broker
from towline.shared.config import Repository
from towline.shared.errors import TooMany


class RateLimit:
    """The limits of all repositories."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        storage = RedisStorage(
            broker.url, connection_pool=broker.redis.connection_pool, key_prefix="towline:rate"
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._items: dict[str, RateLimitItem] = {}

    def take(self, repository: Repository) -> None:
        """Count one delivery; raises TooMany above `webhook.rate_limit`, or RedisDown."""
        written = repository.webhook.rate_limit
        item = self._items.setdefault(written, parse(written))
        with self._broker.guard():
            if self._limiter.hit(item, repository.name):
                return
            ends = self._limiter.get_window_stats(item, repository.name).reset_time
        raise TooMany(
            f"more than {written} deliveries",
            hint="send them again later, or raise webhook.rate_limit",
            retry_after=max(1.0, ends - time.time()),
        )
