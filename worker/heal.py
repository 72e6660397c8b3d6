"""Job: look whether the objects of a release are as they were applied, and put back what is not.

In: a release; its stored objects and its drift mode stand in its record, so Git is not needed. Out: in mode `heal` the
objects as they were applied, in mode `report` the status and an Event that say who changed what. A release goes back to the
revision that it is at: a suspended one too, and one that was rolled back to its stable one.

Nothing is deleted here, and nothing made that a rollback would not make (worker/rollback.py). The fields that `ignore_drift`
names are left to whoever changed them. Killed half-way, the claim says that a repair was cut off, and the job, which is run
again, finishes it: what is left differs still, and the record is written even where nothing does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from towline.shared.errors import ClusterError, Unavailable
from towline.shared.jobs import HealArguments
from towline.shared.model import DriftMode, ObjectKey, ReleaseName
from towline.shared.objects import owned_hash
from towline.shared.release import AppliedObject, Release, bounded_notes
from towline.shared.wanted import Lease
from towline.worker.apply import Applied, apply
from towline.worker.claim import Guard, claim
from towline.worker.decision import is_to_be_brought_back
from towline.worker.holding import holding
from towline.worker.outcome import announce, put_on_record
from towline.worker.owned_fields import LostField, covers, lost_fields, without_field
from towline.worker.parallel import in_parallel
from towline.worker.plan import Plan
from towline.worker.policy import Placed
from towline.worker.repairs import REPAIRS, WINDOW_SECONDS, Repairs
from towline.worker.rollback import plan_of_stored
from towline.worker.send import send
from towline.worker.stages import Stages
from towline.worker.state import Standing, standing_of
from towline.worker.tools import Tools
from towline.worker.written import Written

BUSY_SECONDS = 1.0  # until it is looked at again, when a sync held the release
HEALING = "heals-"  # how the claim of a repair starts: one that was cut off is finished here, not by a sync

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """One object that is not as it was applied.

    `item` is what to apply, without the fields that are left to others; `owned` what we own now, where nothing but such
    fields differs. `refused`: why the API server does not let it be put back.
    """

    item: Placed
    is_deleted: bool = False
    fields: tuple[LostField, ...] = ()
    refused: str = ""
    owned: str = ""

    @property
    def counts(self) -> bool:
        """Whether it differs in more than what is left to others."""
        return self.is_deleted or bool(self.fields or self.refused)

    def __str__(self) -> str:
        what = (
            "was deleted" if self.is_deleted else f"changed: {', '.join(map(str, self.fields)) or 'a field'}"
        )
        return f"{self.item.key} {what}" + (f"; not put back: {self.refused}" if self.refused else "")


def heal(tools: Tools, arguments: HealArguments) -> str:
    """Put back what drifted, or report it; returns one line that says what came of it.

    Raises Unavailable while another job has the release: who saw the drift tells it once.
    """
    name = ReleaseName.parse(arguments.release)
    view = tools.views.get(name)
    if view is None:
        return "is gone"
    lease = Lease(tools.broker, arguments.release)
    with tools.broker.guard():
        if not lease.acquire():
            raise Unavailable(
                f"a sync of {name} runs", hint="looked at again after it", retry_after=BUSY_SECONDS
            )
    with holding(tools, name, lease):
        return _looked_after(tools, standing_of(tools, view), lease, Stages(tools.metrics))


def _looked_after(tools: Tools, place: Standing, lease: Lease, stages: Stages) -> str:
    release = place.release
    if release is None or is_to_be_brought_back(release.status):
        return "a sync goes first"
    is_cut_off = release.is_unfinished and release.claim.startswith(HEALING)
    if release.is_unfinished and not is_cut_off:
        return "a sync goes first"
    mode = release.status.verification.drift
    stored = release.status.stored_of(release.status.revision)
    if mode is DriftMode.OFF or stored is None:
        return "its drift is not looked at"
    plan = _of_recorded(plan_of_stored(place, stored), release)
    with stages("check"):
        found = _found(place, plan, release)
    drifted = [one for one in found if one.counts]
    contested = Repairs(tools.broker, place.name).contested(now=time.time())
    if mode is DriftMode.REPORT:
        return _report(tools, place, release, [str(one) for one in drifted], found)
    left = [_left_alone(one) for one in drifted if str(one.item.key) in contested]
    refused = [one for one in drifted if str(one.item.key) not in contested and one.refused]
    to_do = [one for one in drifted if str(one.item.key) not in contested and not one.refused]
    lines = [*left, *map(str, refused)]
    if not to_do and not is_cut_off:
        return _report(tools, place, release, lines, found)
    written = _repair(place, plan, to_do, lease, stages)
    with stages("record"):
        return _repaired(tools, place, written, to_do, lines)


def _left_alone(one: Drifted) -> str:
    return f"{one}; put back {REPAIRS} times within {WINDOW_SECONDS // 60} minutes, and now left alone"


def _of_recorded(plan: Plan, release: Release) -> Plan:
    """The plan without anything that this release has not applied (yet), and without deletions."""
    recorded = {one.key for one in release.status.objects if one.digest}
    return replace(
        plan,
        create=tuple(item for item in plan.create if item.key in recorded),
        change=tuple(item for item in plan.change if item.key in recorded),
        prune=(),
        is_checked=True,  # _found asks for the dry run
    )


def _found(place: Standing, plan: Plan, release: Release) -> list[Drifted]:
    """What is really different, by a dry run of each object that looks so."""
    changed = in_parallel(partial(_changed, place, plan, release), plan.change)
    return [*(Drifted(item=item, is_deleted=True) for item in plan.create), *changed]


def _changed(place: Standing, plan: Plan, release: Release, item: Placed) -> Drifted:
    live = plan.live[item.key]
    assert live is not None
    try:
        sent = send(place.target.deployer, item, set_id=plan.set_id, dry_run=True)
    except ClusterError as error:
        return Drifted(item=item, refused=error.message)
    lost = lost_fields(live, sent.answer)
    pointers = release.status.verification.ignore_drift
    left = [field for field in lost if covers(pointers, field)]
    object = item.object
    for field in left:
        object = without_field(object, field.pointer)
    return Drifted(
        item=replace(item, object=object),
        fields=tuple(field for field in lost if field not in left),
        owned=owned_hash(live),
    )


def _repair(place: Standing, plan: Plan, to_do: Sequence[Drifted], lease: Lease, stages: Stages) -> Written:
    keys = {one.item.key: one.item for one in to_do}
    plan = replace(
        plan,
        create=tuple(item for item in plan.create if item.key in keys),
        change=tuple(keys[item.key] for item in plan.change if item.key in keys),
        leave=plan.leave
        + tuple(one for one in plan.recorded if one.key not in keys and one not in plan.leave),
    )
    with stages("claim"):
        release = claim(place, plan, token=HEALING + lease.token)
    with stages("apply"):
        applied = apply(place.target, plan, claim=Guard(place.records, release, lease))
    stored = release.status.stored_of(release.status.revision)
    assert stored is not None
    return Written(release=release, stored=stored, plan=plan, applied=applied, pruned=None)


def _repaired(
    tools: Tools, place: Standing, written: Written, to_do: Sequence[Drifted], lines: Sequence[str]
) -> str:
    """Record and tell what was put back, and what was not: `lines`, and what the API server refused now."""
    Repairs(tools.broker, place.name).note([one.item.key for one in to_do], now=time.time())
    tried = [_tried(one, written.applied) for one in to_do]
    done = [str(one) for one in tried if not one.refused]
    before = written.release.status
    drift = bounded_notes([*lines, *(str(one) for one in tried if one.refused)])
    status = before.model_copy(update={"objects": written.objects, "drift": drift})
    release = put_on_record(tools, place, written.release, status)
    if to_do and not done:
        text = "nothing was put back"
    else:
        text = f"put back: {'; '.join(done) or 'everything, by a job that was cut off'}"
        announce(place.records, release, reason="DriftHealed", message=text)
    _tell_news(place, release, before.drift)
    log.info("release.healed", release=str(place.name), objects=done)
    return "; ".join([text, *drift])


def _tried(one: Drifted, applied: Applied) -> Drifted:
    """This object after its repair, which the API server may have refused."""
    if one.item.key in (*applied.created, *applied.changed):
        return one
    why = [problem.message for problem in applied.problems if problem.object == str(one.item.key)]
    return replace(one, refused="; ".join(why) or "another object was refused before it")


def _tell_news(place: Standing, release: Release, before: Sequence[str]) -> None:
    """Tell what differs and is not put back, once."""
    drift = release.status.drift
    if set(drift) - set(before):
        announce(place.records, release, reason="Drifted", message="; ".join(drift))
        log.warning("release.drift", release=str(place.name), objects=list(drift))


def _report(
    tools: Tools, place: Standing, release: Release, lines: Sequence[str], found: Sequence[Drifted]
) -> str:
    """Say what differs, once; and remember what we own now where only fields differ that are left to others."""
    owned = {one.item.key: one.owned for one in found if not one.counts}
    objects = _with_owned(release.status.objects, owned)
    drift = bounded_notes(lines)
    text = "; ".join(drift) or "as it was applied"
    if (drift, objects) == (release.status.drift, release.status.objects):
        return text
    before = release.status
    status = before.model_copy(update={"drift": drift, "objects": objects})
    _tell_news(place, put_on_record(tools, place, release, status), before.drift)
    return text


def _with_owned(
    objects: tuple[AppliedObject, ...], owned: Mapping[ObjectKey, str]
) -> tuple[AppliedObject, ...]:
    return tuple(
        one.model_copy(update={"owned": owned[one.key]}) if one.key in owned else one for one in objects
    )
