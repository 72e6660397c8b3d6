"""The Redis connection, for a process that must answer at once (receiver) or one that may wait (everything else).

Every key of Towline starts with `towline:`; RQ's own start with `rq:`. Each key is described in the head of the
module that owns it. Losing all of them loses no deployment: the record is in the cluster (design section 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from towline.shared.errors import RedisDown

# redis-py types every answer as bytes or str, since decoding is an option of the connection; ours never decodes.
Redis = Any
Pipe = Any

IMPATIENT_SECONDS = (
    0.3  # a forge waits for the receiver's answer; redis-py's defaults take 4 to 8 s to give up
)
PATIENT_SECONDS = 10.0
PATIENT_RETRIES = 6  # with the back-off below about 6 s, the time a restarted Redis needs
RETRY_AFTER_SECONDS = 5.0


def connect(url: str, *, patient: bool) -> Redis:
    """A client for this URL; nothing is sent yet, so a process starts while Redis is down."""
    seconds = PATIENT_SECONDS if patient else IMPATIENT_SECONDS
    backoff = ExponentialBackoff(cap=2.0, base=0.05) if patient else NoBackoff()
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(backoff, PATIENT_RETRIES if patient else 0),
        health_check_interval=0,
    )


class Broker:
    """One process's way to Redis."""

    def __init__(self, url: str, *, patient: bool = True) -> None:
        self.url = url
        self.redis: Redis = connect(url, patient=patient)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what redis-py raises into RedisDown, so that callers need not know the library."""
        try:
            yield
        except redis.RedisError as error:
            raise RedisDown(
                f"Redis does not answer: {type(error).__name__}",
                hint="check that Redis runs, has memory left and accepts writes",
                retry_after=RETRY_AFTER_SECONDS,
            ) from error

    def time(self) -> float:
        """Seconds since the epoch by Redis' clock, which all hosts share."""
        with self.guard():
            seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1e6
