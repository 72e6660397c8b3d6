"""Job: write an operator's word into the spec of a Release; and what an edited spec means to it.

In: a release and what the operator said. Out: `spec.suspended` or `spec.pinned`, as if it had been set by kubectl, and the
status that follows from it. What is set by kubectl is seen by the watcher, which asks for a `conclude` job; that calls `heed`
as well. Killed at any line, the spec says what is wanted and `observedGeneration` that it was not carried out yet.
"""

from __future__ import annotations

import secrets
import time

import structlog

from towline.shared.errors import NotFound, Unavailable
from towline.shared.faults import Point, fault
from towline.shared.jobs import (
    PushArguments,
    QueueName,
    SteerArguments,
    Steering,
    push_call,
    sync_call,
)
from towline.shared.model import Health, Phase, ReleaseName, Trigger, short
from towline.shared.release import Release, ReleaseStatus
from towline.shared.wanted import Lease, Wanted
from towline.worker.decision import is_brought_back
from towline.worker.holding import holding
from towline.worker.outcome import announce, put_on_record
from towline.worker.state import Standing, standing_of
from towline.worker.tools import Tools

KUBECTL = "an edit of the Release"
BUSY_SECONDS = 0.5  # until an operator's word is tried again while a sync runs

log = structlog.get_logger(__name__)


def steer(tools: Tools, arguments: SteerArguments) -> str:
    """Carry out an operator's word. Raises NotFound, and Unavailable while a sync of the release runs."""
    name = ReleaseName.parse(arguments.release)
    lease = Lease(tools.broker, arguments.release)
    with tools.broker.guard():
        if not lease.acquire():
            raise Unavailable(
                f"a sync of {name} runs",
                hint="it is tried again as soon as that ends",
                retry_after=BUSY_SECONDS,
            )
    with holding(tools, name, lease):
        view = tools.views.get(name)
        place = standing_of(tools, view) if view is not None else None
        if place is None or place.release is None:
            raise NotFound(f"there is no release {name}", hint="see `towline status` for those there are")
        release = place.records.set_spec(place.release, **_spec(arguments, place.release))
        fault(Point.SPEC_WRITTEN)
        log.info("release.steered", release=str(name), action=arguments.action, operator=arguments.operator)
        text = heed(tools, place, release, operator=arguments.operator)
        return text or f"{arguments.action}: it was so already"


def _spec(arguments: SteerArguments, release: Release) -> dict[str, bool | str]:
    specs: dict[Steering, dict[str, bool | str]] = {
        Steering.SUSPEND: {"suspended": True},
        Steering.RESUME: {"suspended": False},
        Steering.PIN: {"pinned": arguments.revision or release.status.revision},
        Steering.UNPIN: {"pinned": ""},
    }
    return specs[arguments.action]


def heed(tools: Tools, place: Standing, release: Release, *, operator: str = KUBECTL) -> str:
    """Carry out what the spec says and the status does not know yet; one line, or "" where there is nothing."""
    status = release.status
    is_suspended = status.phase is Phase.SUSPENDED
    if release.suspended and not is_suspended:
        return _suspend(tools, place, release, operator)
    if is_suspended and not release.suspended:
        return _resume(tools, place, release, operator)
    if release.generation == status.observed_generation or status.phase is None:
        return ""
    if not release.pinned:
        return _unpin(tools, place, release, operator)
    return _pin(tools, place, release, operator)


def _suspend(tools: Tools, place: Standing, release: Release, operator: str) -> str:
    text = f"suspended by {operator}: nothing is synced or rolled back until it is resumed"
    told = {**place.identity, "phase": Phase.SUSPENDED, "message": text}
    status = release.status.model_copy(update=told)
    return _write(tools, place, release, status, event="Suspended")


def _resume(tools: Tools, place: Standing, release: Release, operator: str) -> str:
    """Judge it anew, and look whether something was pushed meanwhile, or another revision pinned.

    A revision that was to be rolled back is, also where that was half done: nothing else would end that.
    """
    if _is_to_move(release):
        _want(tools, place, release, operator)
    else:
        _follow(tools, place, release, operator)
    told = {
        "phase": Phase.VERIFYING,
        "health": Health.PROGRESSING,
        "message": f"resumed by {operator}; waiting until it is healthy",
        "synced_at": place.now(),
    }
    if release.status.revision == release.status.stable_revision:
        told["stable_until"] = place.now()
    if not release.status.revision:  # its first install goes on
        told = {"phase": None, "message": f"resumed by {operator}; its first install goes on"}
    bad = release.status.quarantined
    if bad is not None and not is_brought_back(release.status):
        told |= {
            "phase": Phase.ROLLING_BACK,
            "message": f"resumed by {operator}; going back to {short(release.status.stable_revision)}",
            "quarantined": bad.model_copy(update={"since": place.now()}),
        }
    return _write(tools, place, release, release.status.model_copy(update=told), event="Resumed")


def keep_pinned(tools: Tools, place: Standing) -> None:
    """Have a rollback that pinned the release go on, where a push took its place before it was carried out."""
    release = place.release
    if release is None or release.suspended or not (release.is_unfinished and _is_to_move(release)):
        return
    status = release.status
    is_refused = status.is_newest_refused and status.history[0].revision == release.pinned
    if is_refused and status.stored_of(release.pinned) is None:
        return  # there is no such revision, and that was told
    _want(tools, place, release, "its pin")


def _is_to_move(release: Release) -> bool:
    """Whether it is pinned to another revision than it is at, or than what was begun may have left of that."""
    return release.pinned != "" and (release.pinned != release.status.revision or release.is_unfinished)


def _pin(tools: Tools, place: Standing, release: Release, operator: str) -> str:
    """Have it where it is pinned, unless it is suspended: then when it is resumed."""
    text = f"pinned to {short(release.pinned)} by {operator}"
    status = release.status
    if _is_to_move(release) and not release.suspended:
        _want(tools, place, release, operator)
        status = status.model_copy(update={"message": text})
    _write(tools, place, release, status, event="Pinned", text=text)
    return text


def _unpin(tools: Tools, place: Standing, release: Release, operator: str) -> str:
    if not release.suspended:
        _follow(tools, place, release, operator)
    text = f"unpinned by {operator}: it follows its branch again"
    _write(tools, place, release, release.status, event="Unpinned", text=text)
    return text


def _write(
    tools: Tools, place: Standing, release: Release, status: ReleaseStatus, *, event: str, text: str = ""
) -> str:
    written = put_on_record(tools, place, release, status)
    announce(place.records, written, reason=event, message=text)
    return status.message


def _follow(tools: Tools, place: Standing, release: Release, operator: str) -> None:
    """Have the tip of its branch looked at, as the clock would: a quarantined revision stays where it is.

    So it is not what the operator wants whatever else holds, as a sync is; the history names who let it go all the same.
    """
    arguments = PushArguments(
        repository=place.repository.name,
        ref=release.status.ref,
        sequence=_sequence(tools),
        trigger=Trigger.CLOCK.value,
        delivery=f"follow-{secrets.token_hex(6)}",
        operator=operator,
        release=str(place.name),
        received_at=time.time(),
    )
    tools.queue.enqueue([push_call(arguments, queue=QueueName.URGENT)])


def _want(tools: Tools, place: Standing, release: Release, operator: str) -> None:
    """Have the pinned revision brought back, from the stored objects where they are.

    An operator's rollback to it, which pins before it applies, may be on its way already.
    """
    name = str(place.name)
    with tools.broker.guard():
        before = tools.queue.wishes.get(name)
    if before is not None and before.rollback and before.revision == release.pinned:
        return
    wanted = Wanted(
        release=name,
        repository=place.repository.name,
        ref=release.status.ref,
        revision=release.pinned,
        sequence=_sequence(tools),
        trigger=Trigger.OPERATOR,
        operator=operator,
        received_at=time.time(),
        full=True,
        rollback=True,
    )
    call = sync_call(name, revision=wanted.revision, trigger=wanted.trigger, queue=QueueName.URGENT)
    tools.queue.enqueue([call], [wanted])


def _sequence(tools: Tools) -> int:
    with tools.broker.guard():
        return tools.queue.wishes.next_sequence()
