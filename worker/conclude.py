"""Job: judge a release that was applied, and record it when that is final.

In: a release and the revision it was applied at. Out: the status says healthy (then this is the stable revision) or
failed, or nothing while it is still under way. Killed at any line, the next job judges anew.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from towline.shared.jobs import ConcludeArguments
from towline.shared.model import Health, Phase, ReleaseName, Trigger, short
from towline.shared.release import Release, ReleaseStatus
from towline.shared.views import ReleaseView
from towline.shared.wanted import Lease, Wanted
from towline.worker.health.verdict import Verdict
from towline.worker.outcome import announce, show
from towline.worker.state import environment_of
from towline.worker.target import target_of
from towline.worker.tools import Tools
from towline.worker.verify import verdict_of

TIMEOUT = timedelta(minutes=5)

log = structlog.get_logger(__name__)


def conclude(tools: Tools, arguments: ConcludeArguments) -> str:
    """Judge the release now; a sync of it goes before, also one that starts meanwhile.

    Raises Conflict when such a sync claimed the release before this could be written.
    """
    name = ReleaseName.parse(arguments.release)
    view = tools.views.get(name)
    if view is None:
        return "is gone"
    lease = Lease(tools.broker, arguments.release, yields=True)
    with tools.broker.guard():
        if not lease.acquire():
            return "a sync of it runs"
    try:
        return _judged(tools, name, view, arguments.revision, lease)
    finally:
        with tools.broker.guard():
            lease.drop()


def _judged(tools: Tools, name: ReleaseName, view: ReleaseView, revision: str, lease: Lease) -> str:
    wanted = _as_wanted(name, view, revision)
    repository = tools.config.repository(wanted.repository)
    environment = environment_of(tools, repository, wanted)
    records = tools.records(environment)
    release = records.read(name, environment.namespace)
    if release is None:
        tools.views.remove(name)
        return "is gone"
    if release.status.phase is not Phase.VERIFYING or release.status.revision != revision:
        _show(tools, name, wanted, release, lease)
        return f"is {release.status.phase} at {short(release.status.revision)} by now"
    verdict = verdict_of(target_of(tools.cluster(environment), environment, name.service), release)
    status = concluded(release.status, verdict, now=datetime.now(UTC))
    if status is None:
        return verdict.reason
    release = records.write_status(release, status)
    announce(records, release)
    _show(tools, name, wanted, release, lease)
    log.info(
        "release.concluded",
        release=str(name),
        revision=revision,
        health=verdict.health,
        reason=verdict.reason,
    )
    return f"{verdict.health}: {verdict.reason}"


def _show(tools: Tools, name: ReleaseName, wanted: Wanted, release: Release, lease: Lease) -> None:
    """Unless a sync took over meanwhile, which shows what is newer."""
    with tools.broker.guard():
        if not lease.held():
            return
    show(tools, name, wanted, release)


def concluded(status: ReleaseStatus, verdict: Verdict, *, now: datetime) -> ReleaseStatus | None:
    """The status when the verdict is final, None while it is not."""
    if verdict.health in (Health.HEALTHY, Health.SUSPENDED):
        return status.model_copy(
            update={
                "phase": Phase.HEALTHY,
                "health": verdict.health,
                "stable_revision": status.revision,
                "message": verdict.reason,
            }
        )
    late = status.synced_at is not None and now - status.synced_at > TIMEOUT
    if verdict.health is Health.FAILED or late:
        prefix = f"not healthy after {int(TIMEOUT.total_seconds()) // 60} minutes: " if late else ""
        health = Health.FAILED if verdict.health is Health.PROGRESSING else verdict.health
        message = prefix + verdict.reason
        return status.model_copy(update={"phase": Phase.FAILED, "health": health, "message": message})
    return None


def _as_wanted(name: ReleaseName, view: ReleaseView, revision: str) -> Wanted:
    return Wanted(
        release=str(name),
        repository=str(view.status.get("repository", "")),
        ref=str(view.status.get("ref", "")),
        revision=revision,
        sequence=0,
        trigger=Trigger.CLOCK,
        received_at=view.updated_at,
    )
