"""Job: judge a release now, and draw the conclusion: it is stable, or it is rolled back.

In: the name of a release. Out: its status says what its health means (worker/decision.py); a failed revision is replaced by
the stable one from the stored objects. An operator's edit of the Release's spec is carried out first (worker/steer.py).

A sync goes before a judgement, also one that starts meanwhile; a rollback is not interrupted by one, and a sync that finds it
running ends, so whatever is wanted afterwards gets a new job. Killed at any line, the status says what was decided, and the
next job goes on: `RollingBack` without `revertedAt` means that the stable objects are still to be applied.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

import structlog

from towline.shared.errors import TowlineError
from towline.shared.jobs import ConcludeArguments, conclude_call
from towline.shared.metrics import PUSH_TO_HEALTHY, ROLLBACKS
from towline.shared.model import Phase, ReleaseName, short
from towline.shared.release import Release, ReleaseStatus
from towline.shared.views import ReleaseView
from towline.shared.wanted import Lease
from towline.worker.decision import (
    concluded,
    is_accepted,
    is_ill,
    is_to_be_brought_back,
    may_wait,
    rollback_failed,
)
from towline.worker.dependants import reason_to_wait, wake
from towline.worker.failure import told, why
from towline.worker.groups import ask_mates, together
from towline.worker.health.release import ReleaseVerdict
from towline.worker.holding import holding, let_others_go_on
from towline.worker.hooks import delete, to_delete
from towline.worker.outcome import announce, show_beside, show_release
from towline.worker.record import reverted
from towline.worker.rollback import restore
from towline.worker.stages import Stages
from towline.worker.state import Standing, standing_of
from towline.worker.steer import heed
from towline.worker.steps import go_on
from towline.worker.tools import Tools
from towline.worker.verify import verdict_of
from towline.worker.written import Restored

UNHEALTHY = "Unhealthy"  # the cause of a rollback of which no part of a workload has told a reason

log = structlog.get_logger(__name__)


def conclude(tools: Tools, arguments: ConcludeArguments) -> str:
    """Judge the release now; returns one line that says what came of it.

    Raises Conflict when a sync claimed the release before this could be written.
    """
    name = ReleaseName.parse(arguments.release)
    view = tools.views.get(name)
    if view is None:
        return "is gone"
    lease = Lease(tools.broker, arguments.release, yields=True)
    with tools.broker.guard():
        if not lease.acquire_or_ask():
            return "a sync of it runs, and asks again"
    with holding(tools, name, lease):
        return _concluded(tools, name, view, lease)


def _concluded(tools: Tools, name: ReleaseName, view: ReleaseView, lease: Lease) -> str:
    place = standing_of(tools, view)
    release = place.release
    if release is None:
        tools.views.remove(name)
        return "is gone"
    if text := heed(tools, place, release):
        return text
    if is_to_be_brought_back(release.status):
        return _bring_back(tools, place, release, lease)
    if release.is_unfinished:
        return "its last attempt did not finish: a sync goes first"
    stages = Stages(tools.metrics)
    with stages("judge"):
        now = place.now()
        gives = tools.addresses(place.environment).gives
        verdict = verdict_of(place.target, release, now=now, gives=gives)
    status, reason = _alone(place, release, verdict, stages, now)
    status = together(tools, place, release, status, verdict.health, now=now)
    if status is None:
        _show(tools, place, release, lease)
        return verdict.reason
    if status == release.status:
        text = go_on(tools, place, release)
        let_others_go_on(tools, place.name)
        return text
    with stages("conclude"):
        before = release.status
        release = _write(tools, place, release, status, lease)
        _count(tools, place, before, status, reason)
    if is_to_be_brought_back(status):
        return _bring_back(tools, replace(place, release=release), release, lease)
    return f"{status.phase}: {status.message}"


def _alone(
    place: Standing, release: Release, verdict: ReleaseVerdict, stages: Stages, now: datetime
) -> tuple[ReleaseStatus | None, str]:
    """The conclusion that the release comes to by itself, and the reason that a part of a workload told."""
    status = concluded(release, verdict, now=now)
    if status is None or not is_ill(release.status, status) or verdict.is_gone:
        return status, ""
    with stages("cause"):
        cause = why(place, release, verdict)
    status = concluded(release, replace(verdict, reason=cause.text), now=now)
    return told(status, release.status.judged_revision, cause) if status else None, cause.reason


def _write(tools: Tools, place: Standing, release: Release, status: ReleaseStatus, lease: Lease) -> Release:
    """Record a conclusion and tell the world."""
    before = release.status
    written = place.records.write_status(release, status)
    _show(tools, place, written, lease)
    if before.hooks != status.hooks or before.phase is Phase.VERIFYING:
        delete(place.target, to_delete(status.hooks))
    if status.phase is not Phase.VERIFYING:
        announce(place.records, written, reason=_reason(status))
    _tell_revision(tools, place, before, status)
    wake(tools, place.name)
    ask_mates(tools, place.name, status)
    log.info(
        "release.concluded",
        release=str(place.name),
        revision=status.revision,
        phase=status.phase,
        health=status.health,
        reason=status.message,
    )
    return written


def _reason(status: ReleaseStatus) -> str:
    return "Quarantined" if is_to_be_brought_back(status) else str(status.phase)


def _tell_revision(tools: Tools, place: Standing, before: ReleaseStatus, status: ReleaseStatus) -> None:
    """How far the judged revision got, for whoever asks whether it is live."""
    states = {Phase.HEALTHY: "healthy", Phase.ROLLING_BACK: "rolled back", Phase.FAILED: "failed"}
    state = states.get(status.phase) if status.phase else None
    if is_accepted(before, status):
        state = "healthy"
    names, repository = [str(place.name)], place.repository.name
    if before.pending is not None and before.pending.revision != before.revision:  # its hooks failed
        tools.views.touch(repository, before.pending.revision, names, "failed", text=status.message)
    elif state is not None and before.phase is not Phase.ROLLING_BACK:
        tools.views.touch(repository, before.revision, names, state, text=status.message)


def _count(tools: Tools, place: Standing, before: ReleaseStatus, status: ReleaseStatus, reason: str) -> None:
    if is_to_be_brought_back(status):
        labels = {"environment": place.name.environment, "service": place.name.service}
        tools.metrics.count(ROLLBACKS, **labels, cause=reason or UNHEALTHY)
    newest = status.history[0] if status.history else None
    if before.phase is Phase.VERIFYING and status.phase is Phase.HEALTHY and newest and newest.received_at:
        seconds = max(0.0, time.time() - newest.received_at.timestamp())
        tools.metrics.observe(PUSH_TO_HEALTHY, seconds, environment=place.name.environment)


def _show(tools: Tools, place: Standing, release: Release, lease: Lease) -> None:
    """Unless a sync took over meanwhile: it shows what is newer, or had nothing to do, and then this is looked at again."""
    with tools.broker.guard():
        is_held = lease.held()
    if is_held:
        show_release(tools, place, release)
    else:
        tools.queue.enqueue([conclude_call(str(place.name), revision=release.status.revision)])


def _bring_back(tools: Tools, place: Standing, release: Release, lease: Lease) -> str:
    """Replace the failed revision by the stable one, unless something newer can be brought, which goes first."""
    with tools.broker.guard():
        newer = tools.queue.wishes.get(str(place.name))
    if newer is not None and not reason_to_wait(tools, newer):
        return "something newer is wanted, and goes before the rollback"
    with tools.broker.guard():
        if not lease.stand_firm():
            return "a sync has taken over"
    stages = Stages(tools.metrics)
    stable = release.status.stable
    bad = release.status.quarantined
    assert bad is not None  # that is what made it one to be brought back
    try:
        if stable is None:
            return _cannot(tools, place, release, "its stable revision is not stored any more", lease)
        restored = restore(place, stable, lease, stages)
        if restored.written.applied.is_in_the_way and may_wait(release.status, place.now()):
            return _waits(tools, place, restored)
        with stages("record"):
            written = reverted(tools, place, restored, stages)
    except TowlineError as error:
        if error.retry:
            raise
        return _cannot(tools, place, release, str(error), lease)
    log.info(
        "release.rolled_back",
        release=str(place.name),
        revision=bad.revision,
        stable=stable.revision,
        stages=stages.rounded(),
    )
    return f"{short(bad.revision)} failed, back to {short(stable.revision)}: {written.status.message}"


def _waits(tools: Tools, place: Standing, restored: Restored) -> str:
    """What is being deleted stands in the way: it is tried again when the rollback is seen not to be carried out."""
    text = "; ".join(["the rollback waits", *(one.message for one in restored.written.applied.problems)])
    show_beside(tools, place.name, text)
    announce(place.records, restored.written.release, reason="RollingBack", message=text)
    return text


def _cannot(tools: Tools, place: Standing, release: Release, reason: str, lease: Lease) -> str:
    """The rollback failed too; nothing more is tried by itself."""
    status = rollback_failed(release.status, reason)
    written = place.records.write_status(release, status)
    _show(tools, place, written, lease)
    announce(place.records, written, reason="Failed")
    log.error("release.rollback_failed", release=str(place.name), reason=reason, hint="push a fix, or sync")
    return status.message
