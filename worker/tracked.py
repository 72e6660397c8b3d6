"""What a watcher makes of one release: whether its verdict is final, whom to ask, when to look again. Pure.

In: the Release, its objects' sightings, the time. Out: a verdict, UNSEEN while it cannot be told; a Question for the
conclude job, which judges again itself by reading the cluster. What is decided here need not be authoritative, only right.

A sighting may be older than the Release: the streams are not in step. So an object that the last sync wrote counts only
when it was seen later than that sync began, or SETTLE_SECONDS have passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from towline.shared.jobs import QueueName
from towline.shared.model import DriftMode, Health, ObjectKey, Phase
from towline.shared.pod_limits import USUAL, PodLimits
from towline.shared.release import Release
from towline.worker.cache import Cache
from towline.worker.decision import concluded, deadline_of, is_to_be_brought_back, to_judge
from towline.worker.drift import Drift, How, drift_of, is_missed, is_said
from towline.worker.health.kinds import WAITS_FOR_ADDRESS
from towline.worker.health.pods import finding
from towline.worker.health.release import MISSING, Judged, ReleaseVerdict, release_verdict, since_of
from towline.worker.health.surroundings import Gives, nobody_gives
from towline.worker.health.verdict import Verdict, has_health
from towline.worker.repairs import WINDOW_SECONDS
from towline.worker.sightings import number_of

SETTLE_SECONDS = 2.0  # watches are at most this far behind each other
DRIFT_SETTLE_SECONDS = 1.0  # the same for a drift, of which a wrong one costs a job that finds nothing
CONFIRM_SECONDS = 0.1  # a drift is believed when the Release's watch did not tell of a sync meanwhile
STUCK_SECONDS = 2.0  # a rollback is carried out by the job that decides it; later, that job may be gone
FIRST_PAUSE_SECONDS = 2.0  # after a question whose job came to nothing
LONGEST_PAUSE_SECONDS = 30.0
AGAIN_SECONDS = 1.0  # until a drift whose object changes all the time is told again
BACK_SECONDS = 30.0  # what was deleted may be back without our label, which no watch shows
NEVER = float("inf")
UNSEEN = ReleaseVerdict(health=Health.UNKNOWN, reason="its objects were not all seen as they are now")
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
    pause_seconds: float = FIRST_PAUSE_SECONDS  # until it is asked again, when its job came to nothing
    look_seconds: float = FIRST_PAUSE_SECONDS  # until it is seen whether its job waits still


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """When a drift was told last, and as of which version of its object."""

    version: int
    at: float


@dataclass(slots=True, kw_only=True)
class Tracked:
    """One release; times are monotonic. `written`: what the last sync wrote, seen only when later than `floor`.

    `drifts` and `told` are of this attempt; `counted` are those that have been there since they were counted; `mended` those
    of whom the record says that they differ, and who do not.
    """

    release: Release
    seen_at: float
    floor: int = 0
    written: frozenset[ObjectKey] = frozenset()
    asked: Asked | None = None
    drifts: dict[Drift, float] = field(default_factory=dict)  # when it is to be told, also again
    told: dict[Drift, Told] = field(default_factory=dict)
    counted: frozenset[Drift] = frozenset()
    mended: frozenset[ObjectKey] = frozenset()


def followed(before: Tracked | None, release: Release, *, now: float) -> Tracked:
    """The release as it is now; what was asked of it and told of it is kept."""
    if before is None or before.release.uid != release.uid:
        return Tracked(release=release, seen_at=now)
    floor, written = before.floor, before.written
    is_same_attempt = release.claim == before.release.claim
    if not is_same_attempt:
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
        drifts=before.drifts if is_same_attempt else {},
        told=before.told if is_same_attempt else {},
        counted=before.counted,
        mended=before.mended,
    )


def verdict_of(
    tracked: Tracked,
    cache: Cache,
    *,
    at: float,
    now: datetime,
    limits: PodLimits = USUAL,
    gives: Gives = nobody_gives,
) -> ReleaseVerdict:
    """The verdict by what is kept, UNSEEN while it cannot be told; `at` is the monotonic time of `now`, which is the cluster's."""
    release = tracked.release
    if release.is_unfinished:  # a sync runs, or is run again, and judging comes after it
        return UNSEEN
    rules = release.status.verification.health
    keys = [one.key for one in to_judge(release.status) if has_health(one.group, one.kind, rules=rules)]
    if not all(key in cache.members or cache.is_listed(key) for key in keys):
        return UNSEEN
    settle_at = tracked.seen_at + SETTLE_SECONDS
    if at < settle_at and not all(_is_fresh(tracked, cache, key) for key in keys):
        return replace(UNSEEN, look_again_at=now + timedelta(seconds=settle_at - at))
    since = since_of(release.status)
    return release_verdict(
        [
            _judged(cache, key, now=now, since=since, limits=limits, gives=gives)
            if key in cache.members
            else Judged(key=key, verdict=MISSING, is_gone=is_missed(release.status, key))
            for key in keys
        ],
        since=since,
        stable_until=release.status.stable_until,
    )


def _is_fresh(tracked: Tracked, cache: Cache, key: ObjectKey) -> bool:
    """Whether this object was seen as the last sync left it."""
    seen = cache.members.get(key)
    return key not in tracked.written or (seen is not None and seen.version > tracked.floor)


def _judged(
    cache: Cache, key: ObjectKey, *, now: datetime, since: datetime | None, limits: PodLimits, gives: Gives
) -> Judged:
    seen = cache.members[key]
    if seen.verdict is None:
        return Judged(key=key, verdict=MISSING)
    if seen.lacks_address is not None and gives(seen.lacks_address):
        return Judged(key=key, verdict=AWAITED)
    if seen.workload is None:
        return Judged(key=key, verdict=seen.verdict)
    found = finding(seen.workload, cache.seen_of(seen.workload), now=now, since=since, limits=limits)
    return Judged(key=key, verdict=seen.verdict, found=found)


def question_of(tracked: Tracked, verdict: ReleaseVerdict, *, at: float, now: datetime) -> Question | None:
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
    if release.is_unfinished:
        return None
    if concluded(release, verdict, now=now) is None:
        is_awaited = verdict.is_gone and status.health is Health.FAILED  # see BACK_SECONDS
        return Question(about="gone", queue=QueueName.BACKGROUND) if is_awaited else None
    return Question(
        about=f"{status.phase} {status.revision} {'well' if verdict.is_well else 'failed'}",
        queue=QueueName.BACKGROUND if verdict.is_well else QueueName.URGENT,
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
        pause = _longer(asked.pause_seconds)
    return Asked(question=question, version=release.resource_version, job=job, at=at, pause_seconds=pause)


def awaited(asked: Asked, release: Release, *, at: float) -> Asked:
    """The note of a question whose job has not ended; where it waits behind thousands of syncs, it is looked at more and more seldom."""
    is_patient = asked.question.queue is not QueueName.URGENT and at >= asked.at + asked.look_seconds
    look = _longer(asked.look_seconds) if is_patient else asked.look_seconds
    return replace(asked, version=release.resource_version, at=at, look_seconds=look)


def _longer(pause_seconds: float) -> float:
    return min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


def look_in(tracked: Tracked, verdict: ReleaseVerdict, *, at: float, now: datetime) -> float | None:
    """In how many seconds time alone may change what is decided, None when only an event can."""
    status = tracked.release.status
    times: list[float] = []
    if tracked.asked is not None and tracked.asked.version == tracked.release.resource_version:
        times.append(tracked.asked.at + tracked.asked.pause_seconds - at)
    is_open = status.phase in (Phase.VERIFYING, Phase.ROLLING_BACK) or status.pending is not None
    if is_open and (deadline := deadline_of(status)):
        times.append((deadline - now).total_seconds())
        times.append(tracked.seen_at + STUCK_SECONDS - at)
    if verdict.look_again_at is not None:
        times.append((verdict.look_again_at - now).total_seconds())
    times.extend(when - at for when in tracked.drifts.values())
    return min((one for one in times if 0 < one < NEVER), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What differs and is to be told now; `new`: what did not before. `is_mended`: what is said to differ does not any more."""

    told: tuple[Drift, ...] = ()
    new: tuple[Drift, ...] = ()
    is_mended: bool = False


def confirmed(tracked: Tracked, cache: Cache, *, at: float) -> Confirmed:
    """Each drift once an attempt, as soon as it is believed; again when its object was changed since, or time may help.

    Nothing while a sync runs: it writes objects before it records them.
    """
    if tracked.release.is_unfinished:
        return Confirmed()
    current = dict(_drifts(tracked, cache, at=at))
    tracked.told = {one: told for one, told in tracked.told.items() if one in current}
    tracked.drifts = {one: _due_at(tracked, cache, one, believed) for one, believed in current.items()}
    due = sorted((one for one, when in tracked.drifts.items() if when <= at), key=lambda one: one.key)
    for one in due:
        tracked.told[one] = Told(version=_version(cache, one.key), at=at)
        tracked.drifts[one] = _due_at(tracked, cache, one, at)
    new = tuple(one for one in due if one not in tracked.counted)
    tracked.counted = (tracked.counted & current.keys()) | set(new)
    before, tracked.mended = tracked.mended, _mended(tracked, cache, current)
    return Confirmed(told=tuple(due), new=new, is_mended=not tracked.mended <= before)


def _due_at(tracked: Tracked, cache: Cache, drift: Drift, believed: float) -> float:
    """When a drift is to be told; again when whoever puts it back, or reports it, may come to something else by then."""
    told = tracked.told.get(drift)
    if told is None:
        return min(believed, tracked.drifts.get(drift, believed))
    if told.version != _version(cache, drift.key):
        return told.at + AGAIN_SECONDS
    if drift.how is How.DELETED:
        return told.at + BACK_SECONDS
    is_healed = tracked.release.status.verification.drift is DriftMode.HEAL
    return told.at + WINDOW_SECONDS if is_healed else NEVER


def _mended(tracked: Tracked, cache: Cache, current: Mapping[Drift, float]) -> frozenset[ObjectKey]:
    """The objects of which the record says that they differ, and that do not."""
    status = tracked.release.status
    if not status.drift:
        return frozenset()
    differing = {one.key for one in current}
    known = {one.key for one in status.objects if one.key in cache.members} - differing
    return frozenset(key for key in known if is_said(status, key))


def _version(cache: Cache, key: ObjectKey) -> int:
    seen = cache.members.get(key)
    return seen.version if seen is not None else cache.gone_at(key)


def _drifts(tracked: Tracked, cache: Cache, *, at: float) -> Iterator[tuple[Drift, float]]:
    """What differs, and when that is believed.

    What was seen before the record was written may be what the sync then put right, or may have been done meanwhile: the
    watches tell when they had their time.
    """
    recorded = number_of(tracked.release.resource_version)
    for one in tracked.release.status.objects:
        key = one.key
        seen = cache.members.get(key)
        version = _version(cache, key)
        is_known = version > 0 or (cache.is_listed(key) and key.kind != "Job")  # of a Job its TTL may be over
        drift = drift_of(one, seen)
        if drift is None or not is_known or (key in tracked.written and version <= tracked.floor):
            continue
        settled = at if version > recorded else tracked.seen_at + DRIFT_SETTLE_SECONDS
        yield drift, max(at + CONFIRM_SECONDS, settled)
