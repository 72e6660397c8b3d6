"""What a watcher makes of one release: whether its verdict is final, whom to ask, when to look again. Pure.

In: the Release, its objects' sightings, the time. Out: a verdict, or None while it cannot be told; a Question for the
conclude job, which judges again itself by reading the cluster. What is decided here need not be authoritative, only right.

A sighting may be older than the Release: the streams are not in step. So an object that the last sync wrote counts only
when it was seen later than that sync began, or SETTLE_SECONDS have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from towline.shared.jobs import QueueName
from towline.shared.model import Health, ObjectKey, Phase
from towline.shared.pod_limits import USUAL, PodLimits
from towline.shared.release import Release
from towline.worker.cache import Cache
from towline.worker.decision import concluded, deadline_of, is_to_be_brought_back, to_judge
from towline.worker.drift import Drift, drift_of
from towline.worker.health.kinds import WAITS_FOR_ADDRESS
from towline.worker.health.pods import finding
from towline.worker.health.release import Judged, release_verdict, since_of
from towline.worker.health.surroundings import Gives, nobody_gives
from towline.worker.health.verdict import Verdict, has_health
from towline.worker.sightings import number_of

SETTLE_SECONDS = 2.0  # watches are at most this far behind each other
CONFIRM_SECONDS = 0.1  # a drift is believed when the Release's watch did not tell of a sync meanwhile
STUCK_SECONDS = 2.0  # a rollback is carried out by the job that decides it; later, that job may be gone
FIRST_PAUSE_SECONDS = 2.0  # after a question whose job came to nothing
LONGEST_PAUSE_SECONDS = 30.0
MISSING = Verdict(health=Health.UNKNOWN, reason="is not there")
AWAITED = Verdict(health=WAITS_FOR_ADDRESS[0], reason=WAITS_FOR_ADDRESS[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Why a conclude job is wanted: `about` is the same as long as it would say nothing new."""

    about: str
    queue: QueueName


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The last question, the Release that it was about, and the job that is to answer it."""

    question: Question
    version: str
    job: str
    at: float
    pause_seconds: float = FIRST_PAUSE_SECONDS


@dataclass(slots=True, kw_only=True)
class Tracked:
    """One release; times are monotonic. `written`: what the last sync wrote, seen only when later than `floor`."""

    release: Release
    seen_at: float
    floor: int = 0
    written: frozenset[ObjectKey] = frozenset()
    asked: Asked | None = None
    drifts: dict[Drift, float] = field(default_factory=dict)  # when it is believed; minus infinity when told


def followed(before: Tracked | None, release: Release, *, now: float) -> Tracked:
    """The release as it is now; what was asked of it and told of it is kept."""
    if before is None or before.release.uid != release.uid:
        return Tracked(release=release, seen_at=now)
    floor, written = before.floor, before.written
    if release.claim != before.release.claim:
        # The claim was written before any object; where only the status after it was seen, the Release before both.
        newest = release if release.is_unfinished else before.release
        floor = number_of(newest.resource_version)
    if (
        release.status.objects != before.release.status.objects
        or release.status.hooks != before.release.status.hooks
    ):
        known = (*before.release.status.objects, *to_judge(before.release.status))
        digests = {one.key: one.digest for one in known}
        written = frozenset(one.key for one in to_judge(release.status) if digests.get(one.key) != one.digest)
    return Tracked(
        release=release,
        seen_at=now,
        floor=floor,
        written=written,
        asked=before.asked,
        drifts=before.drifts if release.claim == before.release.claim else {},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A release as its watches show it: `health` is None while it cannot be told; the rest as in ReleaseVerdict."""

    health: Health | None
    look_again_at: datetime | None = None
    is_old: bool = False


def view_of(
    tracked: Tracked,
    cache: Cache,
    *,
    at: float,
    now: datetime,
    limits: PodLimits = USUAL,
    gives: Gives = nobody_gives,
) -> View:
    """The verdict by what is kept; `at` is the monotonic time of `now`, which is the cluster's."""
    release = tracked.release
    rules = release.status.verification.health
    keys = [one.key for one in to_judge(release.status) if has_health(one.group, one.kind, rules=rules)]
    if not all(key in cache.members or cache.is_listed(key) for key in keys):
        return View(health=None)
    settle_at = tracked.seen_at + SETTLE_SECONDS
    if at < settle_at and not all(_is_fresh(tracked, cache, key) for key in keys):
        return View(health=None, look_again_at=now + timedelta(seconds=settle_at - at))
    since = since_of(release.status)
    verdict = release_verdict(
        [_judged(cache, key, now=now, since=since, limits=limits, gives=gives) for key in keys],
        since=since,
        stable_until=release.status.stable_until,
    )
    return View(health=verdict.health, look_again_at=verdict.look_again_at, is_old=verdict.is_old)


def _is_fresh(tracked: Tracked, cache: Cache, key: ObjectKey) -> bool:
    """Whether this object was seen as the last sync left it."""
    seen = cache.members.get(key)
    return key not in tracked.written or (seen is not None and seen.version > tracked.floor)


def _judged(
    cache: Cache, key: ObjectKey, *, now: datetime, since: datetime | None, limits: PodLimits, gives: Gives
) -> Judged:
    seen = cache.members.get(key)
    if seen is None or seen.verdict is None:
        return Judged(key=key, verdict=MISSING)
    if seen.lacks_address is not None and gives(seen.lacks_address):
        return Judged(key=key, verdict=AWAITED)
    if seen.workload is None:
        return Judged(key=key, verdict=seen.verdict)
    found = finding(seen.workload, cache.seen_of(seen.workload), now=now, since=since, limits=limits)
    return Judged(key=key, verdict=seen.verdict, found=found)


def question_of(tracked: Tracked, view: View, *, at: float, now: datetime) -> Question | None:
    """What the conclude job would do something about, None when it would change nothing."""
    release = tracked.release
    status = release.status
    if status.phase is None:
        return None
    if release.generation != status.observed_generation:
        return Question(about=f"edited {release.generation}", queue=QueueName.URGENT)
    if is_to_be_brought_back(status):
        is_stuck = at - tracked.seen_at >= STUCK_SECONDS
        return Question(about="rollback", queue=QueueName.URGENT) if is_stuck else None
    if release.is_unfinished:  # a sync runs, or is run again, and judging comes after it
        return None
    health = view.health or Health.UNKNOWN
    if concluded(release, health, "", now=now, is_old=view.is_old) is None:
        return None
    is_good = health in (Health.HEALTHY, Health.SUSPENDED)
    return Question(
        about=f"{status.phase} {status.revision} {'well' if is_good else 'failed'}",
        queue=QueueName.BACKGROUND if is_good else QueueName.URGENT,
    )


def is_due(asked: Asked | None, question: Question, release: Release, *, at: float) -> bool:
    """Whether this question is to be asked now: it is new, or its job came to nothing a while ago."""
    if asked is None or (asked.question.about, asked.version) != (question.about, release.resource_version):
        return True
    return at >= asked.at + asked.pause_seconds


def again(asked: Asked | None, question: Question, release: Release, *, job: str, at: float) -> Asked:
    """The note of a question just asked; the same one is asked with growing pauses."""
    pause = FIRST_PAUSE_SECONDS
    if asked is not None and (asked.question.about, asked.version) == (
        question.about,
        release.resource_version,
    ):
        pause = min(2 * asked.pause_seconds, LONGEST_PAUSE_SECONDS)
    return Asked(question=question, version=release.resource_version, job=job, at=at, pause_seconds=pause)


def look_in(tracked: Tracked, view: View, *, at: float, now: datetime) -> float | None:
    """In how many seconds time alone may change what is decided, None when only an event can."""
    status = tracked.release.status
    times: list[float] = []
    if tracked.asked is not None and tracked.asked.version == tracked.release.resource_version:
        times.append(tracked.asked.at + tracked.asked.pause_seconds - at)
    is_open = status.phase in (Phase.VERIFYING, Phase.ROLLING_BACK) or status.pending is not None
    if is_open and (deadline := deadline_of(status)):
        times.append((deadline - now).total_seconds())
        times.append(tracked.seen_at + STUCK_SECONDS - at)
    if view.look_again_at is not None:
        times.append((view.look_again_at - now).total_seconds())
    times.extend(when - at for when in tracked.drifts.values())
    return min((one for one in times if one > 0), default=None)


def confirmed(tracked: Tracked, cache: Cache, *, at: float) -> list[Drift]:
    """The drifts to be told of now: each once an attempt, as soon as it is believed."""
    current = dict(_drifts(tracked, cache, at=at))
    tracked.drifts = {one: min(when, tracked.drifts.get(one, when)) for one, when in current.items()}
    due = [one for one, when in tracked.drifts.items() if float("-inf") < when <= at]
    tracked.drifts |= dict.fromkeys(due, float("-inf"))
    return sorted(due, key=lambda one: one.key)


def _drifts(tracked: Tracked, cache: Cache, *, at: float) -> Iterator[tuple[Drift, float]]:
    """What differs, and when that is believed.

    Nothing while a sync runs: it writes objects before it records them. What was seen before the record was written may be
    what the sync then put right, or may have been done meanwhile: the watches tell when they had their time.
    """
    if tracked.release.is_unfinished:
        return
    recorded = number_of(tracked.release.resource_version)
    for one in tracked.release.status.objects:
        key = one.key
        seen = cache.members.get(key)
        version = seen.version if seen is not None else cache.gone_at(key)
        is_known = version > 0 or (cache.is_listed(key) and key.kind != "Job")  # of a Job its TTL may be over
        drift = drift_of(one, seen)
        if drift is None or not is_known or (key in tracked.written and version <= tracked.floor):
            continue
        settled = at if version > recorded else tracked.seen_at + SETTLE_SECONDS
        yield drift, max(at + CONFIRM_SECONDS, settled)
