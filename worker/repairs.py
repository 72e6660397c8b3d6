"""How often a field was repaired lately: who keeps writing the same one is not fought for ever.

Redis keys:

    towline:repairs:<release>   zset   `<hash of object and field>|<random>` -> time of a repair; expires KEPT_SECONDS after the last

Wiped, the counting begins anew, which costs a few more repairs.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from towline.shared.broker import Broker
from towline.shared.model import ObjectKey, ReleaseName
from towline.worker.owned_fields import Path

REPAIRS = 3  # of one field in WINDOW_SECONDS; then it is left to whoever else writes it
WINDOW_SECONDS = 300
KEPT_SECONDS = 3600  # a fight of so long ago is forgotten

Field = tuple[ObjectKey, Path]  # the path is empty for an object as a whole, which is deleted again and again


def is_contested(repairs: Sequence[float], *, now: float) -> bool:
    """Whether a field that was repaired at these times, in order, is to be left alone now. Pure.

    So it is while the last repair is in the window, and REPAIRS of them ever were in one: when the window has passed it is
    repaired once more, and left alone again at once if that does not last.
    """
    was_stopped = any(
        last - first <= WINDOW_SECONDS for first, last in zip(repairs, repairs[REPAIRS - 1 :], strict=False)
    )
    return was_stopped and now - repairs[-1] < WINDOW_SECONDS


class Repairs:
    """The repairs of one release."""

    def __init__(self, broker: Broker, name: ReleaseName) -> None:
        self._broker = broker
        self._key = f"towline:repairs:{name}"

    def contested(self, *, now: float) -> Callable[[Field], bool]:
        """Tells whether a field was repaired so often that somebody else must be writing it again and again."""
        with self._broker.guard():
            recent = self._broker.redis.zrangebyscore(self._key, now - KEPT_SECONDS, "+inf", withscores=True)
        times: dict[str, list[float]] = defaultdict(list)
        for member, at in recent:
            times[member.decode().partition("|")[0]].append(at)
        contested = {name for name, repairs in times.items() if is_contested(repairs, now=now)}
        return lambda field: _name(field) in contested

    def note(self, fields: Iterable[Field], *, now: float) -> None:
        """These were repaired now."""
        members = {f"{_name(field)}|{secrets.token_hex(4)}": now for field in fields}
        if not members:
            return
        with self._broker.guard(), self._broker.redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(self._key, "-inf", now - KEPT_SECONDS)
            pipe.zadd(self._key, members)
            pipe.expire(self._key, KEPT_SECONDS)
            pipe.execute()


def _name(field: Field) -> str:
    """Short, however long a path is that somebody made up."""
    key, path = field
    return hashlib.sha256("|".join((str(key), *path)).encode()).hexdigest()[:16]
