"""Which commits a push brought along: those between the tip that was handled last and the new one.

Of several commits that are pushed at once, or one soon after the other, only the newest is deployed. Who asks for one of the
others is told of the tip that contains it.

Redis keys:

    towline:contained:<repository>:<id>    hash   ref -> the newest tip of it that is known to contain this commit; expires

Short-lived and for people only: nothing is deployed by it. Where it is gone, what contains a commit is not known.
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.shared.broker import Broker
from towline.shared.views import REVISION_TTL_SECONDS

LIMIT = 1_000  # commits of one push that are remembered, the newest; some 150 kB


def remember(broker: Broker, repository: str, *, ref: str, tip: str, commits: Iterable[str]) -> None:
    """This tip of a ref contains these commits, itself among them."""
    with broker.guard(), broker.redis.pipeline(transaction=False) as pipe:
        for commit in commits:
            pipe.hset(_key(repository, commit), ref, tip)
            pipe.expire(_key(repository, commit), REVISION_TTL_SECONDS)
        pipe.execute()


def tips_with(broker: Broker, repository: str, commit: str) -> dict[str, str]:
    """The refs that are known to contain a commit, each with the tip that brought it."""
    with broker.guard():
        raw = broker.redis.hgetall(_key(repository, commit))
    return {ref.decode(): tip.decode() for ref, tip in sorted(raw.items())}


def _key(repository: str, commit: str) -> str:
    return f"towline:contained:{repository}:{commit}"
