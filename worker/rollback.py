"""Brings a release back to a stored revision: from the Secrets beside it, so that neither Git nor the forge is needed.

In: a release as it stands and one of its stored revisions. Out: what was written, and what could not be brought back; the
caller records it. A rollback of which nothing can go back is refused. Order of writes as in a sync: claim, objects,
deletions, status. Killed at any line, the status still says that the objects are to be brought back, and the next job does
it again from the start.

What can go back goes back. Left alone: CustomResourceDefinitions, Namespaces and PersistentVolumeClaims that are there, since
their data would be lost or refused; Jobs, which would run again; whatever the API server refuses, which is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from towline.shared.choice import instead_text
from towline.shared.errors import ClusterError, NotFound, Refused, RevisionMissing, TowlineError
from towline.shared.model import Object, ObjectKey, ReleaseName, short
from towline.shared.objects import group_kind
from towline.shared.records import check_owner
from towline.shared.release import StoredRevision
from towline.shared.wanted import Lease, Wanted
from towline.worker.apply import apply
from towline.worker.claim import Guard, claim
from towline.worker.dry_run import refuse, tried
from towline.worker.in_the_way import left_for_later
from towline.worker.live import listing_of, prepare
from towline.worker.outcome import Outcome, waiting
from towline.worker.plan import RUNS_ONCE, Intent, Kept, Plan, make_plan, without
from towline.worker.policy import PROTECTED_KINDS, Placed, check
from towline.worker.prune import prune
from towline.worker.record import return_refused, returned
from towline.worker.render.rendered import Rendered
from towline.worker.stages import Stages
from towline.worker.state import Standing, standing
from towline.worker.tools import Tools
from towline.worker.written import Restored, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """What is to be written to bring a stored revision back, checked; and what of it stays as it is, one line each."""

    stored: StoredRevision
    plan: Plan
    not_reverted: tuple[str, ...]


def go_back(tools: Tools, name: ReleaseName, wanted: Wanted, lease: Lease, stages: Stages) -> Outcome | None:
    """Carry out an operator's rollback; None for a revision that is not stored any more, which is rendered again.

    Raises NotFound for a release that is not there, ClusterDown, and Conflict when another attempt took the release over.
    """
    with stages("find"):
        place = standing(tools, name, repository=wanted.repository, ref=wanted.ref)
    release = place.release
    if release is None:
        raise NotFound(f"there is no release {name}", hint="see `towline status` for those there are")
    if reason := place.reason_to_wait(wanted):
        return waiting(reason, release)
    stored = release.status.stored_of(wanted.revision)
    if stored is None:
        return None
    try:
        way = _way_back(place, stored, stages)
    except (Refused, NotFound, ClusterError) as error:
        if error.retry:
            raise
        return return_refused(tools, place, wanted, error, stages)
    restored = _gone(place, way, lease, stages, pin=wanted.pinned_to)
    timeout = stored.verification.timeout_seconds
    if outcome := left_for_later(tools, place, wanted, restored.written, stages, timeout):
        return outcome
    with stages("record"):
        return returned(tools, place, wanted, restored, stages)


def refuse_unread(
    tools: Tools, name: ReleaseName, wanted: Wanted, error: TowlineError, stages: Stages
) -> Outcome:
    """A revision that cannot be read is refused at the release, where an operator asked for it; else the error goes on."""
    is_step = bool(wanted.goes_on)  # one that cannot be taken fails by its deadline
    if error.retry or is_step or not wanted.operator:
        raise error
    place = standing(tools, name, repository=wanted.repository, ref=wanted.ref)
    release = place.release
    if release is None:
        raise error
    check_owner(place.owner, release)
    if reason := place.reason_to_wait(wanted):
        return waiting(reason, release)
    if isinstance(error, RevisionMissing):
        is_pinned = release.pinned == wanted.revision
        instead = instead_text(release.status, release=str(name), is_pinned=is_pinned)
        error = RevisionMissing(error.message, hint=f"{error.hint}; {instead}")
    return return_refused(tools, place, wanted, error, stages)


def restore(place: Standing, stored: StoredRevision, lease: Lease, stages: Stages) -> Restored:
    """Apply the objects of a stored revision and delete what it does not have.

    Raises NotFound and Refused for stored objects that cannot be used, ClusterError, ClusterDown, and Conflict when another
    attempt took the release over.
    """
    return _gone(place, _way_back(place, stored, stages), lease, stages)


def _way_back(place: Standing, stored: StoredRevision, stages: Stages) -> WayBack:
    """Check everything; nothing is written."""
    with stages("load"):
        placed = _load(place, stored)
    with stages("plan"):
        plan, left = reversible(_plan(place, placed))
    with stages("check"):
        plan, refused = tried(place.target, plan)
    if plan.is_empty:
        refuse(refused, hint="nothing was written: of what differs, nothing can go back")
    return WayBack(stored=stored, plan=plan, not_reverted=(*left, *map(str, refused)))


def _gone(place: Standing, way: WayBack, lease: Lease, stages: Stages, *, pin: str = "") -> Restored:
    """Write it; `pin` as for `claim`."""
    plan = way.plan
    with stages("claim"):
        release = claim(place, plan, token=lease.token, pin=pin)
    guard = Guard(place.records, release)
    with stages("apply"):
        applied = apply(place.target, plan, claim=guard)
    with stages("prune"):
        pruned = prune(place.target, plan, claim=guard) if not applied.problems else None
    written = Written(release=release, stored=way.stored, plan=plan, applied=applied, pruned=pruned)
    return Restored(written=written, not_reverted=way.not_reverted)


def plan_of_stored(place: Standing, stored: StoredRevision) -> Plan:
    """What brings the objects of this stored revision back, but for what a rollback leaves alone; not checked yet."""
    return reversible(_plan(place, _load(place, stored)))[0]


def _load(place: Standing, stored: StoredRevision) -> tuple[Placed, ...]:
    """The stored objects, judged by the policy again: what the environment allows may have changed since."""
    assert place.release is not None
    objects = place.records.load(place.release, stored)
    return check(_as_rendered(objects, stored), place.environment, place.target.cluster.resource)


def _as_rendered(objects: Iterable[Object], stored: StoredRevision) -> list[Rendered]:
    place = f"the stored revision {short(stored.revision)}"
    return [Rendered(object=one, file=place, line=number) for number, one in enumerate(objects, start=1)]


def _plan(place: Standing, placed: tuple[Placed, ...]) -> Plan:
    # Whatever the bad revision added goes, however much that is: it is ours by all four marks.
    intent = Intent(full=True, allow_prune=True)
    target = place.target
    survey = prepare(target, placed, place.recorded, intent=intent, listing=listing_of(place.release))
    return make_plan(
        placed,
        place.recorded,
        survey,
        environment=place.environment,
        set_id=target.set_id,
        intent=intent,
    )


def reversible(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan without what a rollback leaves alone, and why, one line each. Pure."""
    why = {item.key: reason for item in plan.create if (reason := _why_not_made(item.key))}
    why |= {item.key: reason for item in plan.change if (reason := _why_not_changed(item.key))}
    kept = [one for one in plan.prune if group_kind(one.key) in PROTECTED_KINDS]
    plan = replace(
        without(plan, why),
        prune=tuple(one for one in plan.prune if one not in kept),
        keep=plan.keep + tuple(Kept(key=one.key, why="a rollback does not delete it") for one in kept),
    )
    return plan, tuple(f"{key}: {reason}" for key, reason in why.items())


def _why_not_made(key: ObjectKey) -> str:
    return "it ran already, and is not run again by a rollback" if group_kind(key) == RUNS_ONCE else ""


def _why_not_changed(key: ObjectKey) -> str:
    if group_kind(key) in PROTECTED_KINDS:
        return f"a rollback does not change a {key.kind}"
    return _why_not_made(key)
