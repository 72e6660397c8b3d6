"""How one attempt ended, and telling it to whoever asks later: views, metrics, log, the line of the job.

In: an Outcome. Out: nothing but words; the record in the cluster was written before (worker/record.py). Killed in
between, the views are put right by the next sync.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

from towline.shared.errors import TowlineError
from towline.shared.metrics import OBJECTS, PUSH_TO_APPLIED, SYNCS
from towline.shared.model import Phase, ReleaseName, Result, short
from towline.shared.records import Records
from towline.shared.release import Release, ReleaseStatus
from towline.shared.views import ReleaseView
from towline.shared.wanted import Wanted
from towline.worker.stages import Stages
from towline.worker.state import Standing
from towline.worker.tools import Tools

STATES = {
    Result.SYNCED: "synced",
    Result.REMOVED: "removed",
    Result.SUPERSEDED: "superseded",
    Result.REFUSED: "refused",
    Result.QUARANTINED: "quarantined",
}
GOOD = (Result.SYNCED, Result.REMOVED, Result.SUPERSEDED)
GOOD_EVENTS = frozenset({"Synced", "Healthy", "Suspended", "Resumed", "Pinned", "Unpinned", "DriftHealed"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Objects by what happened to them, and what is worth a note."""

    created: int = 0
    changed: int = 0
    left: int = 0
    pruned: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended; `release` is the newest known one, None when there is none.

    `unborn`: what the status of a release would begin with whose first install was refused.
    """

    result: Result
    text: str
    release: Release | None = None
    unborn: ReleaseStatus | None = None
    counts: Counts = field(default_factory=Counts)
    is_change: bool = True  # False: nothing was to be done
    is_partial: bool = False  # more steps of the revision are to come
    is_waiting: bool = False  # an operator's word, another release or what is being deleted comes first
    is_blocked: bool = False  # it stays to be done, when another release is healthy
    again_after: float | None = None  # it stays to be done, in so many seconds

    @property
    def is_left(self) -> bool:
        """Whether the revision stays to be done."""
        return self.is_blocked or self.again_after is not None


def stayed(text: str, release: Release | None) -> Outcome:
    """Nothing was to be done."""
    return Outcome(result=Result.SYNCED, text=text, release=release, is_change=False)


def waiting(text: str, release: Release | None) -> Outcome:
    """An operator's word keeps the release where it is: the revision stays wanted."""
    return Outcome(result=Result.SUPERSEDED, text=text, release=release, is_change=False, is_waiting=True)


def blocked(text: str) -> Outcome:
    """Another release comes first: the revision stays wanted."""
    return Outcome(result=Result.SUPERSEDED, text=text, is_change=False, is_waiting=True, is_blocked=True)


def quarantined(text: str, release: Release | None) -> Outcome:
    """This revision failed before, and is not applied again."""
    return Outcome(result=Result.QUARANTINED, text=text, release=release, is_change=False)


def superseded(release: Release | None, text: str = "superseded before anything was written") -> Outcome:
    """Something newer is wanted."""
    return Outcome(result=Result.SUPERSEDED, text=text, release=release, is_change=False)


def unrecorded(tools: Tools, name: ReleaseName, wanted: Wanted, error: TowlineError) -> Outcome:
    """An attempt that failed before the release could be found: only the view can say so."""
    show_error(tools, name, wanted, error.explained())
    return Outcome(result=Result.FAILED, text=str(error))


def show_release(tools: Tools, standing: Standing, release: Release) -> None:
    """Put the release as it is now where API and page read it."""
    environment = standing.environment
    view = view_of(release, standing.name, cluster=environment.cluster, namespace=environment.namespace)
    tools.views.put(view)


def put_on_record(tools: Tools, standing: Standing, release: Release, status: ReleaseStatus) -> Release:
    """Write the status, and show it. Raises Conflict when somebody else claimed the release."""
    written = standing.records.write_status(release, status)
    show_release(tools, standing, written)
    return written


def show_missing(tools: Tools, name: ReleaseName, wanted: Wanted, *, error: str) -> None:
    """Show a release that does not exist, since its first install was refused."""
    cluster, namespace = place_of(tools, wanted, name)
    view = ReleaseView(
        environment=name.environment,
        service=name.service,
        cluster=cluster,
        namespace=namespace,
        status={"repository": wanted.repository, "ref": wanted.ref, "phase": Phase.FAILED.value},
        error=error,
        updated_at=time.time(),
    )
    tools.views.put(view)


def view_of(
    release: Release, name: ReleaseName, *, cluster: str, namespace: str, error: str = ""
) -> ReleaseView:
    """A Release as API and page show it."""
    return ReleaseView(
        environment=name.environment,
        service=name.service,
        cluster=cluster,
        namespace=namespace,
        suspended=release.suspended,
        pinned=release.pinned,
        status=release.status.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        error=error,
        updated_at=time.time(),
    )


def announce(records: Records, release: Release, *, reason: str, message: str = "") -> None:
    """A Kubernetes Event on the release, with its own message by default; one that cannot be made changes nothing else."""
    kind = "Normal" if reason in GOOD_EVENTS else "Warning"
    try:
        records.event(release, reason=reason, message=message or release.status.message, type=kind)
    except TowlineError as error:
        log.warning("release.event", release=release.name, error=error.message)


def show_error(tools: Tools, name: ReleaseName, wanted: Wanted, error: str) -> None:
    """Show why an attempt failed beside the release as it was last seen."""
    if not show_beside(tools, name, error):
        show_missing(tools, name, wanted, error=error)


def show_beside(tools: Tools, name: ReleaseName, error: str) -> bool:
    """Show an error beside the release as it was last seen; False for one that never was."""
    view = tools.views.get(name)
    if view is not None:
        tools.views.put(view.model_copy(update={"error": error, "updated_at": time.time()}))
    return view is not None


def place_of(tools: Tools, wanted: Wanted, name: ReleaseName) -> tuple[str, str]:
    """The cluster and namespace of a release that is not there yet."""
    repository = tools.config.repositories_by_name.get(wanted.repository)
    environments = tools.config.environments_for(repository, wanted.ref) if repository else ()
    found = next((one for one in environments if one.name == name.environment), None)
    return (found.cluster, found.namespace) if found else ("", "")


def _newer(tools: Tools, name: ReleaseName, wanted: Wanted) -> str:
    """The revision that took the turn of this one, "" when that is not known (any more)."""
    with tools.broker.guard():
        newest = tools.queue.wishes.newest(str(name))
    return newest.revision if newest and newest.repository == wanted.repository else ""


def _same_as(outcome: Outcome) -> str:
    """The revision that stays in the record, as this one has nothing else to apply."""
    stays = outcome.result is Result.SYNCED and not outcome.is_change and outcome.release is not None
    return outcome.release.status.revision if stays and outcome.release else ""


def tell(tools: Tools, name: ReleaseName, wanted: Wanted, outcome: Outcome, stages: Stages) -> str:
    """Metrics, the revision's verdict, the log; returns the line for the dashboard."""
    result = outcome.result
    state = "waiting" if outcome.is_waiting else STATES.get(result, "failed")
    tools.views.touch(
        wanted.repository,
        wanted.revision,
        [str(name)],
        state,
        text=outcome.text,
        instead=_newer(tools, name, wanted) if state == "superseded" else _same_as(outcome),
    )
    labels = {"environment": name.environment, "service": name.service}
    tools.metrics.count(SYNCS, **labels, result=result.value)
    if outcome.is_change:
        for action in ("created", "changed", "left", "pruned"):
            tools.metrics.count(OBJECTS, getattr(outcome.counts, action), action=action)
        if result in (Result.SYNCED, Result.REMOVED) and not outcome.is_partial:
            seconds = max(0.0, time.time() - wanted.received_at)
            tools.metrics.observe(PUSH_TO_APPLIED, seconds, environment=name.environment)
    write = log.info if result in GOOD else log.warning
    write(f"sync.{state}", text=outcome.text, stages=stages.rounded())
    return f"{short(wanted.revision)}: {outcome.text}"
