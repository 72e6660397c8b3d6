"""What the clock has looked at again though nothing was seen to change: the health and the drift of every release.

Where a watcher sees a cluster change this is only a second look, once an hour; where none is active it is how a stable
release that turns bad, and what somebody changed by hand, are found at all. In: the views. Out: jobs on `background`, a few
a turn, so that nothing waits behind a thousand of them.

Redis keys:

    towline:tended   hash   cluster -> when a pass over its releases began
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from towline.shared.jobs import Call, QueueName, conclude_call, heal_call
from towline.shared.views import ReleaseView
from towline.shared.watchers import Watchers
from towline.worker.tools import Tools

TENDED = "towline:tended"
WATCHED_SECONDS = 3600.0
UNWATCHED_SECONDS = 300.0
A_TURN = 20  # releases, of 0.5 s: a thousand in 25 s


@dataclass(slots=True)
class Tending:
    """The releases of the pass that is under way."""

    tools: Tools
    waiting: deque[ReleaseView] = field(default_factory=deque)

    def turn(self, now: float) -> None:
        """Begin a pass over the clusters that are due, and go on with the one that is under way."""
        if not self.waiting and (due := self._due(now)):
            self.waiting.extend(view for view in self.tools.views.list() if view.cluster in due)
            with self.tools.broker.guard():
                self.tools.broker.redis.hset(TENDED, mapping=dict.fromkeys(due, now))
        views = [self.waiting.popleft() for _ in range(min(A_TURN, len(self.waiting)))]
        if calls := [call for view in views for call in calls_for(view)]:
            self.tools.queue.enqueue(calls)

    def _due(self, now: float) -> set[str]:
        clusters = list(self.tools.config.clusters)
        watched = Watchers(self.tools.broker).active(clusters)
        with self.tools.broker.guard():
            raw = self.tools.broker.redis.hmget(TENDED, clusters) if clusters else []
        last = {name: float(at or 0.0) for name, at in zip(clusters, raw, strict=True)}
        every = {name: WATCHED_SECONDS if name in watched else UNWATCHED_SECONDS for name in clusters}
        return {name for name in clusters if not last[name] <= now < last[name] + every[name]}


def calls_for(view: ReleaseView) -> Iterator[Call]:
    """The jobs that look at one release again; one that never was applied has nothing to be looked at."""
    revision = str(view.status.get("revision") or "")
    if revision:
        yield conclude_call(str(view.name), revision=revision)
        yield heal_call(str(view.name), queue=QueueName.BACKGROUND)
