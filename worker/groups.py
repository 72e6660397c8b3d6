"""Groups: services that one push changes together are verified and rolled back together.

In: the conclusion that one member comes to by itself, and its mates as they are recorded. Out: the conclusion that it comes to
with them: it waits until all are healthy, or fails with the one that failed; where its hooks have run before anything else of the
revision is written, nothing else is. Which mates count: those that the same revision was brought to, or is still wanted for;
those that it leaves alone do not. What an operator has brought alone stands alone.

One request a mate, and none for a service without a group. State: none. Whoever is concluded has its mates concluded again;
killed before that, the watcher or the clock asks for them, since they are still being verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from towline.shared.jobs import QueueName, conclude_call
from towline.shared.model import WELL, Health, HookState, Phase, ReleaseName, Result, Trigger
from towline.shared.pending import ended_runs
from towline.shared.release import Release, ReleaseStatus
from towline.shared.views import Touched
from towline.worker.decision import failed, hook_failed, is_accepted, is_prepared
from towline.worker.history import newest_of
from towline.worker.state import Standing
from towline.worker.tools import Tools

LOST = (Result.REFUSED, Result.FAILED, Result.ROLLED_BACK)


class Part(StrEnum):
    """How far a revision got with a mate."""

    APART = "apart"  # it does not change it
    UNDER_WAY = "under way"
    WELL = "well"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mate:
    """Another service of the group; `cause`: why this revision failed with it. `is_undone`: it was rolled back."""

    name: str
    part: Part
    cause: str = ""
    is_undone: bool = False


def mate_of(
    name: str, status: ReleaseStatus | None, revision: str, *, is_wanted: bool, told: Touched | None
) -> Mate:
    """What a mate has to do with a revision. Pure.

    `is_wanted`: its sync is still to come. `told`: what is said of the revision where the mate was never installed.
    """
    if is_wanted:
        return Mate(name=name, part=Part.UNDER_WAY)
    if status is None:
        is_lost = told is not None and told.state in LOST
        return (
            Mate(name=name, part=Part.FAILED, cause=told.text)
            if told and is_lost
            else Mate(name=name, part=Part.APART)
        )
    bad = status.quarantined
    if bad is not None and bad.revision == revision:
        return Mate(name=name, part=Part.FAILED, cause=bad.cause, is_undone=True)
    newest = newest_of(status.history, revision)
    if newest is not None and newest.result in LOST:
        return Mate(name=name, part=Part.FAILED, cause=newest.cause)
    if status.pending is not None and status.pending.revision == revision:
        return Mate(name=name, part=Part.UNDER_WAY)
    return Mate(name=name, part=_part(status) if status.revision == revision else Part.APART)


def _part(status: ReleaseStatus) -> Part:
    is_well = status.phase is Phase.HEALTHY or (status.phase is Phase.VERIFYING and status.health in WELL)
    if is_well:
        return Part.WELL
    return Part.UNDER_WAY if status.phase is Phase.VERIFYING else Part.APART


def with_mates(
    release: Release, alone: ReleaseStatus | None, health: Health, mates: Sequence[Mate], *, now: datetime
) -> ReleaseStatus | None:
    """The conclusion together with the mates, None where nothing is to be said; `alone`: the one without them. Pure."""
    status = release.status
    if is_prepared(status):
        return _before_it_is_written(release, alone, mates, now=now)
    is_verifying = status.phase is Phase.VERIFYING
    lost = [one for one in mates if one.part is Part.FAILED and (is_verifying or one.is_undone)]
    if lost:
        return failed(release, _because(lost[0]), now=now)
    waits_for = [one.name for one in mates if one.part is Part.UNDER_WAY]
    if not is_verifying or not waits_for or status.pending is not None or health not in WELL:
        return alone
    text = f"healthy; waits for {', '.join(waits_for)} of its group"
    waiting = status.model_copy(update={"health": health, "message": text})
    return None if waiting == status else waiting


def _before_it_is_written(
    release: Release, alone: ReleaseStatus | None, mates: Sequence[Mate], *, now: datetime
) -> ReleaseStatus | None:
    """The same where only hooks of the revision have run: one that is lost already ends there."""
    status = release.status
    lost = [one for one in mates if one.part is Part.FAILED]
    if not lost:
        return alone
    hooks = ended_runs(status.hooks, status.judged_revision, HookState.SUCCEEDED, now=now)
    ran = replace(release, status=status.model_copy(update={"hooks": hooks}))
    return hook_failed(ran, _because(lost[0]), now=now)


def _because(lost: Mate) -> str:
    return f"{lost.name} of its group failed: {lost.cause}"


def has_mates(status: ReleaseStatus) -> bool:
    """Whether others decide with it: not what an operator has brought alone, and not what is concluded already. Pure."""
    newest = newest_of(status.history, status.judged_revision)
    is_alone = newest is not None and newest.trigger is Trigger.OPERATOR
    is_open = is_prepared(status) or status.phase in (Phase.VERIFYING, Phase.HEALTHY)
    return bool(_group(status)) and is_open and not is_alone


def _group(status: ReleaseStatus) -> tuple[str, ...]:
    return status.pending.group if status.pending and is_prepared(status) else status.verification.group


def together(
    tools: Tools,
    place: Standing,
    release: Release,
    alone: ReleaseStatus | None,
    health: Health,
    *,
    now: datetime,
) -> ReleaseStatus | None:
    """The conclusion that a release comes to with its group. Raises ClusterError, ClusterDown."""
    if not has_mates(release.status) or _is_decided(release.status, alone):
        return alone
    if alone is not None and alone.health is Health.FAILED:
        health = Health.HEALTHY  # for all that this revision is to answer for
    return with_mates(release, alone, health, _read(tools, place, release), now=now)


def _is_decided(status: ReleaseStatus, alone: ReleaseStatus | None) -> bool:
    """Whether the mates change nothing: it fails by itself, or its hooks still run."""
    if is_prepared(status):
        return alone != status
    return alone is not None and alone.health is Health.FAILED and not is_accepted(status, alone)


def _read(tools: Tools, place: Standing, release: Release) -> list[Mate]:
    revision = release.status.judged_revision
    names = [ReleaseName(place.name.environment, one) for one in _others(place.name, release.status)]
    with tools.broker.guard():
        undone = {one.release: one.revision for one in tools.queue.wishes.undone([str(one) for one in names])}
    told: Mapping[str, Touched] = tools.views.revision(place.repository.name, revision) or {}
    mates = []
    for name in names:
        found = place.records.read(name, place.environment.namespace)
        mates.append(
            mate_of(
                name.service,
                found.status if found else None,
                revision,
                is_wanted=undone.get(str(name)) == revision,
                told=told.get(str(name)),
            )
        )
    return mates


def _others(name: ReleaseName, status: ReleaseStatus) -> list[str]:
    return [one for one in _group(status) if one != name.service]


def ask_mates(tools: Tools, name: ReleaseName, status: ReleaseStatus) -> None:
    """Have the others of the group judged again: something was decided of this one."""
    queue = QueueName.BACKGROUND if status.health in WELL else QueueName.URGENT
    calls = [
        conclude_call(f"{name.environment}/{mate}", revision=status.revision, queue=queue)
        for mate in _others(name, status)
    ]
    if calls:
        tools.queue.enqueue(calls)
