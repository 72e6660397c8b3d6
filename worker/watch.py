"""Process: sees a cluster change, and has each release concluded in the moment in which its verdict is final.

    elected (election.py) -> Releases and what they contain watched (selections.py, watches.py, informer.py)
    -> what was seen of them (scene.py, cache.py, sightings.py) -> a release's verdict (tracked.py)
    -> a conclude job, which judges again itself (worker/conclude.py)

One watcher is active a cluster. Nothing is asked of the cluster while nothing changes, and no worker is held while a release
is verified. One thread owns all state; each watch has one of its own that only reads, and one inbox brings them together.
Killed at any line, another watcher is elected, lists everything anew, and asks again what was asked. What Redis does not
take is asked when it answers again; a question whose job came to nothing (Redis was wiped) is asked again.

State: in memory only. Redis keys: see shared/watchers.py. What happens here also happens without it, slowly (worker/clock.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import structlog

from towline.shared.cluster import Cluster
from towline.shared.config import Config
from towline.shared.errors import ClusterError, RedisDown
from towline.shared.jobs import QueueName, conclude_call, heal_call
from towline.shared.metrics import Metrics
from towline.shared.model import DriftMode
from towline.shared.queue import Queue
from towline.shared.release import RELEASE
from towline.shared.views import Views
from towline.shared.watchers import SAY_SECONDS, Watchers
from towline.shared.watching import Selection
from towline.worker.addresses import Addresses
from towline.worker.appointments import Appointments
from towline.worker.drift import drifted
from towline.worker.election import Election
from towline.worker.informer import Failed, Message, is_unserved
from towline.worker.scene import Scene
from towline.worker.selections import name_of
from towline.worker.tracked import (
    Question,
    again,
    awaited,
    confirmed,
    is_due,
    look_in,
    question_of,
    verdict_of,
)
from towline.worker.watches import Watches

TURN_SECONDS = 0.5  # at most, until the lead is looked at again
JUDGED_AT_ONCE = 100  # their jobs are one transaction, which Redis must have done before we lose patience
REDIS_PAUSE_SECONDS = 1.0
PLACES_SECONDS = 30.0  # where Releases cannot be watched everywhere: how often new namespaces are looked for
FLUSH_SECONDS = 1.0
FAILED_PAUSE_SECONDS = (
    5.0  # after a bug; meanwhile the clock, which is not told that all is well, does this work
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What a watcher works with: the cluster, and the ways to Redis; `name` is the cluster's in the configuration."""

    config: Config
    name: str
    cluster: Cluster
    queue: Queue
    views: Views
    watchers: Watchers
    metrics: Metrics
    me: str


@dataclass(slots=True)
class Watcher:
    """The watcher of one cluster: `turn` after `turn`, by one thread."""

    watching: Watching
    election: Election
    watches: Watches
    addresses: Addresses = field(init=False)
    scene: Scene = field(init=False)
    dirty: set[str] = field(default_factory=set)  # ApplySets whose release is to be judged
    due: Appointments = field(default_factory=Appointments)  # the same, at a time
    drifting: set[str] = field(default_factory=set)  # to be looked after by a heal job
    namespaces: set[str] | None = None  # where Releases are watched, None for everywhere
    is_watching: bool = False
    _is_changed: bool = True  # whether something else may have to be watched by now
    _rest_until: float = 0.0  # Redis does not answer
    _said_at: float = 0.0
    _flushed_at: float = 0.0
    _looked_at: float = 0.0
    _complaints: dict[Selection, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.addresses = Addresses(self.watching.cluster)
        self.scene = Scene(self.watching.config, self.watching.name)

    def turn(self) -> None:
        """Take what came in, judge what it changes, ask for what is final."""
        if not self.is_watching and not self.election.holds():
            time.sleep(TURN_SECONDS / 5)
            return
        if self.is_watching and self.election.is_taken:
            log.warning("watcher.lost_the_lead", cluster=self.watching.name)
            self.forget()
            return
        self.is_watching = True
        self._adjust()
        for message in self.watches.receive(within=self._wait_seconds()):
            self._take(message)
        if self.election.holds():
            self._judge()
            self._say()

    def stop(self) -> None:
        """Another one takes over at once."""
        held = self.election.holds()
        self.watches.stop()
        self.election.stop()
        if held:
            self.watching.watchers.gone(self.watching.name)

    def forget(self) -> None:
        """Nothing that is known here is kept up with any more: begin anew, when we are the active one."""
        self.watches.stop()
        self.scene = Scene(self.watching.config, self.watching.name)
        for pending in (self.dirty, self.due, self.drifting):
            pending.clear()
        self.is_watching, self._is_changed = False, True

    def _wait_seconds(self) -> float:
        """How long nothing is to be done unless something comes in."""
        if not self.election.holds():
            return TURN_SECONDS
        now = time.monotonic()
        wake = now if self.dirty or self.drifting else self.due.next()
        return min(max(wake, self._rest_until) - now, TURN_SECONDS)

    def _adjust(self) -> None:
        """Watch what the Releases contain by now."""
        now = time.monotonic()
        if self.namespaces is not None and now - self._looked_at >= PLACES_SECONDS:
            self._looked_at = now
            self.namespaces = set(self._known_namespaces())
            self._is_changed = True
        if self._is_changed:
            self._is_changed = False
            self.watches.adjust(self.scene.wanted(self.namespaces), self._dropped)
        if self.scene.outdated:
            self.watches.restart(self.scene.outdated)
            self.scene.outdated = set()

    def _dropped(self, selection: Selection) -> None:
        self._complaints.pop(selection, None)
        self.dirty |= self.scene.drop(selection)

    def _known_namespaces(self) -> Iterator[str]:
        """Where Releases of this cluster can be, by the configuration and by what syncs have shown."""
        for environment in self.watching.config.environments.values():
            if environment.cluster == self.watching.name:
                yield environment.namespace
        try:
            views = self.watching.views.list()
        except RedisDown:
            return
        yield from (one.namespace for one in views if one.cluster == self.watching.name)

    def _take(self, message: Message) -> None:
        selection = message.informer.selection
        if isinstance(message, Failed):
            self._complain(selection, message)
        else:
            self._complaints.pop(selection, None)
        self.dirty |= self.scene.take(message, now=time.monotonic())
        self._is_changed |= self.scene.is_other

    def _complain(self, selection: Selection, failed: Failed) -> None:
        """Say it once; where Releases may not be watched everywhere, watch them where they can be."""
        error = failed.error
        forbidden = isinstance(error, ClusterError) and error.code == 403
        if forbidden and selection.kind == RELEASE.kind and self.namespaces is None:
            self.namespaces, self._looked_at = set(), 0.0
            self._is_changed = True
        if error.message != self._complaints.get(selection):
            self._complaints[selection] = error.message
            write = log.info if is_unserved(error) else log.warning
            write("watch.waits", watch=str(selection), error=error.message, hint=error.hint)

    def _judge(self) -> None:
        """Judge what changed and what is due; what Redis does not take stays to be judged."""
        at = time.monotonic()
        if at < self._rest_until:
            return
        self.dirty.update(self.due.take(at))
        if not self.dirty and not self.drifting:
            return
        some = set(islice(self.dirty, JUDGED_AT_ONCE))
        questions = {one: question for one in some if (question := self._question(one, at))}
        self.dirty -= some - questions.keys()
        try:
            self._ask(questions, at)
        except RedisDown as error:
            self._rest_until = at + REDIS_PAUSE_SECONDS
            log.warning("watcher.waits", cluster=self.watching.name, error=error.message)
            return
        self.dirty -= some

    def _question(self, set_id: str, at: float) -> Question | None:
        """What is to be asked of this release now; also when to look at it again, and its drift."""
        tracked = self.scene.tracked.get(set_id)
        if tracked is None:
            return None
        now = self.watching.cluster.now()
        limits = self.scene.environments[set_id].pod_limits
        gives = self.addresses.gives
        verdict = verdict_of(tracked, self.scene.cache, at=at, now=now, limits=limits, gives=gives)
        found = confirmed(tracked, self.scene.cache, at=at)
        for drift in found.new:
            drifted(self.watching.metrics, name_of(tracked.release), drift)
        if (found.told or found.is_mended) and tracked.release.status.verification.drift is not DriftMode.OFF:
            self.drifting.add(set_id)
        question = question_of(tracked, verdict, at=at, now=now)
        seconds = look_in(tracked, verdict, at=at, now=now)
        if seconds is not None:
            self.due.set(set_id, at + seconds)
        if question is None or not is_due(tracked.asked, question, tracked.release, at=at):
            return None
        return question

    def _ask(self, questions: Mapping[str, Question], at: float) -> None:
        """Enqueue the jobs in one transaction, but for those whose last job has not ended. Raises RedisDown."""
        tracked = self.scene.tracked
        new = {one: questions[one] for one in questions.keys() - self._in_hand(questions, at)}
        concluding = [
            conclude_call(
                str(name_of(tracked[one].release)),
                revision=tracked[one].release.status.revision,
                queue=question.queue,
            )
            for one, question in new.items()
        ]
        names = [str(name_of(tracked[one].release)) for one in self.drifting if one in tracked]
        healing = [heal_call(name, queue=QueueName.URGENT) for name in names]
        if concluding or healing:
            jobs = self.watching.queue.enqueue([*concluding, *healing])
            for (set_id, question), job in zip(new.items(), jobs, strict=False):
                self._note(set_id, question, job=job, at=at)
        self.drifting.clear()

    def _in_hand(self, questions: Mapping[str, Question], at: float) -> set[str]:
        """Those whose last job, about the same, has not ended: its answer is waited for."""
        asked = {one: before for one in questions if (before := self.scene.tracked[one].asked) is not None}
        same = {one: before for one, before in asked.items() if before.question.about == questions[one].about}
        waiting = self.watching.queue.waiting([before.job for before in same.values()])
        found = {one: before for one, before in same.items() if before.job in waiting}
        for set_id, before in found.items():
            tracked = self.scene.tracked[set_id]
            tracked.asked = awaited(before, tracked.release, at=at)
            self.due.advance(set_id, at + tracked.asked.look_seconds)
        return set(found)

    def _note(self, set_id: str, question: Question, *, job: str, at: float) -> None:
        tracked = self.scene.tracked[set_id]
        tracked.asked = again(tracked.asked, question, tracked.release, job=job, at=at)
        self.due.advance(set_id, at + tracked.asked.pause_seconds)
        log.info("watcher.asked", release=str(name_of(tracked.release)), about=question.about, job=job)

    def _say(self) -> None:
        """Tell the clock that this cluster is watched, once everything in it is known; and what was counted."""
        now = time.monotonic()
        if now - self._flushed_at >= FLUSH_SECONDS:
            self._flushed_at = now
            self.watching.metrics.flush()
        if now - self._said_at < SAY_SECONDS or not self.is_complete:
            return
        try:
            self.watching.watchers.alive(self.watching.name, self.watching.me)
            self._said_at = now
        except RedisDown:
            return  # nobody can read it either; said again in the next turn

    @property
    def is_complete(self) -> bool:
        """Whether every watch has listed what there is."""
        return not self._is_changed and all(self.scene.is_listed(one) for one in self.watches)


def watch(watcher: Watcher, is_stopped: Callable[[], bool]) -> int:
    """Turn until it is stopped."""
    watcher.election.start()
    while not is_stopped():
        try:
            watcher.turn()
        except Exception:  # something that came in may be lost now, so nothing of the rest can be relied on
            log.exception("watcher.failed", cluster=watcher.watching.name)
            watcher.forget()
            time.sleep(FAILED_PAUSE_SECONDS)
    watcher.stop()
    return 0
