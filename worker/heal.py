"""Job: look whether the objects of a release are as they were applied, and put back what is not.

In: a release; its stored objects and its drift mode stand in its record, so Git is not needed. Out: in mode `heal` the
objects as they were applied, in mode `report` the status and an Event that say who changed what. A release goes back to the
revision that it is at: a suspended one too, and one that was rolled back to its stable one.

Nothing is deleted here, and nothing made that a rollback would not make (worker/rollback.py). The fields that `ignore_drift`
names are left to whoever changed them, and for a while so are those that somebody writes again and again
(worker/repairs.py). Killed half-way, the claim says that a repair was cut off, and the job, which is run again, finishes it:
what is left differs still, and the record is written even where nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from towline.shared.errors import ClusterError, TowlineError, Unavailable
from towline.shared.jobs import HealArguments
from towline.shared.model import DriftMode, ObjectKey, ReleaseName
from towline.shared.objects import owned_hash
from towline.shared.release import AppliedObject, Release, ReleaseStatus, bounded_notes
from towline.shared.wanted import Lease
from towline.worker.apply import Applied, apply
from towline.worker.claim import Guard, claim
from towline.worker.decision import is_to_be_brought_back
from towline.worker.drift import WAS_DELETED, is_about
from towline.worker.holding import holding
from towline.worker.live import read_metadata
from towline.worker.outcome import announce, put_on_record
from towline.worker.owned_fields import LostField, Path, covers, lost_fields, without_field
from towline.worker.parallel import in_parallel
from towline.worker.plan import Plan
from towline.worker.policy import Placed
from towline.worker.repairs import REPAIRS, WINDOW_SECONDS, Field, Repairs
from towline.worker.rollback import plan_of_stored
from towline.worker.send import send
from towline.worker.stages import Stages
from towline.worker.state import Standing, standing_of
from towline.worker.tools import Tools
from towline.worker.written import Written

BUSY_SECONDS = 1.0  # until it is looked at again, when a sync held the release
COUNTED_FIELDS = 100  # whose repairs are counted one by one; beyond, those of the whole object
WHOLE: Path = ()
NOT_PUT_BACK = "; not put back: "
LEFT_ALONE = f"; put back {REPAIRS} times within {WINDOW_SECONDS // 60} minutes, and now left alone"
HEALING = "heals-"  # how the claim of a repair starts: one that was cut off is finished here, not by a sync

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """One object that is not as it was applied.

    `item` is what to apply, without the fields that are left to others; `owned` what we own now, where nothing but such
    fields differs. `refused`: why the API server does not let it be put back. `is_contested`: it was put back too often lately.
    """

    item: Placed
    is_deleted: bool = False
    fields: tuple[LostField, ...] = ()
    refused: str = ""
    owned: str = ""
    is_contested: bool = False

    @property
    def counts(self) -> bool:
        """Whether it differs in more than what is left to others, if only in who owns a field."""
        return self.is_deleted or bool(self.fields or self.refused)

    @property
    def differs(self) -> bool:
        """Whether it differs in more than that: what somebody changed and put back by hand does not."""
        return self.is_deleted or bool(self.refused) or not all(one.is_same for one in self.fields)

    @property
    def parts(self) -> tuple[Field, ...]:
        """What is counted as repaired when it is put back."""
        paths = [one.path for one in self.fields if len(self.fields) <= COUNTED_FIELDS]
        return tuple((self.item.key, path) for path in paths or [WHOLE])

    def __str__(self) -> str:
        fields = ", ".join(str(one) for one in self.fields if not one.is_same)
        what = WAS_DELETED if self.is_deleted else f"changed: {fields or 'a field'}"
        why = f"{NOT_PUT_BACK}{self.refused}" if self.refused else LEFT_ALONE if self.is_contested else ""
        return f"{self.item.key} {what}{why}"


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
    try:
        plan = _of_recorded(plan_of_stored(place, stored), release)
    except TowlineError as error:
        if error.retry:
            raise
        return _not_repairable(tools, place, release, error)
    with stages("check"):
        found = _found(place, plan, release)
    if mode is DriftMode.REPORT:
        return _report(tools, place, release, _lines(found, release.status), found)
    contested = Repairs(tools.broker, place.name).contested(now=tools.broker.time())
    parted = [_parted(one, contested) for one in found if one.counts]
    left = [one for one, _ in parted if one is not None]
    to_do = [one for _, one in parted if one is not None]
    if not to_do and not is_cut_off:
        return _report(tools, place, release, _lines(left, release.status), found)
    written = _repair(place, plan, to_do, lease, stages)
    with stages("record"):
        return _repaired(tools, place, written, to_do, left)


def _not_repairable(tools: Tools, place: Standing, release: Release, error: TowlineError) -> str:
    """What is stored cannot be used, so that nothing is put back: say what was deleted; raises the error where nothing was."""
    keys = [one.key for one in release.status.objects if one.digest and one.kind != "Job"]
    live = in_parallel(partial(read_metadata, place.target.deployer), keys)
    gone = [key for key, found in zip(keys, live, strict=True) if found is None]
    if not gone and not release.status.drift:
        raise error
    lines = [f"{key} {WAS_DELETED}{NOT_PUT_BACK}{error.message}" for key in gone]
    return _report(tools, place, release, bounded_notes(lines), ())


def _parted(one: Drifted, contested: Callable[[Field], bool]) -> tuple[Drifted | None, Drifted | None]:
    """What of it is left alone, and what is put back. Pure."""
    if one.refused:
        return one, None
    if all(map(contested, one.parts)):
        return replace(one, is_contested=True), None
    left = tuple(field for field in one.fields if contested((one.item.key, field.path)))
    if not left:
        return None, one
    others = tuple(field for field in one.fields if field not in left)
    rest = replace(one, item=_without(one.item, left), fields=others)
    return replace(one, fields=left, is_contested=True), rest


def _without(item: Placed, fields: Iterable[LostField]) -> Placed:
    object = item.object
    for field in fields:
        object = without_field(object, field.path)
    return replace(item, object=object)


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
    deployer, key = place.target.deployer, item.key
    try:
        live = deployer.get(item.resource, key.name, key.namespace) or plan.live[key]
        sent = send(deployer, item, set_id=plan.set_id, dry_run=True)
    except ClusterError as error:
        return Drifted(item=item, refused=error.message)
    assert live is not None
    lost = lost_fields(live, sent.answer)
    pointers = release.status.verification.ignore_drift
    left = [field for field in lost if covers(pointers, field)]
    return Drifted(
        item=_without(item, left),
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
        applied = apply(place.target, plan, claim=Guard(place.records, release))
    stored = release.status.stored_of(release.status.revision)
    assert stored is not None
    return Written(release=release, stored=stored, plan=plan, applied=applied, pruned=None)


def _repaired(
    tools: Tools, place: Standing, written: Written, to_do: Sequence[Drifted], left: Sequence[Drifted]
) -> str:
    """Record and tell what was put back, and what was not: `left`, and what the API server refused now."""
    Repairs(tools.broker, place.name).note(
        [part for one in to_do for part in one.parts], now=tools.broker.time()
    )
    tried = [_tried(one, written.applied) for one in to_do]
    done = [str(one) for one in tried if not one.refused]
    before = written.release.status
    drift = _lines([*left, *(one for one in tried if one.refused)], before)
    # Of what is left alone we own less than was recorded: so it is seen to differ, and looked at again.
    keep = {one.item.key for one in left}
    owned = {one.key: one.owned for one in before.objects if one.key in keep}
    objects = _with_owned(written.objects, owned)
    status = before.model_copy(update={"objects": objects, "drift": drift})
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


def _lines(drifted: Sequence[Drifted], before: ReleaseStatus) -> tuple[str, ...]:
    """What the status says of those that differ."""
    return bounded_notes([_line(one, before) for one in drifted if one.differs])


def _line(one: Drifted, before: ReleaseStatus) -> str:
    """What was tried too often and never put back is told as before: the reason is in there."""
    if not (one.is_deleted and one.is_contested):
        return str(one)
    said = next((line for line in before.drift if is_about(line, one.item.key)), "")
    return said if NOT_PUT_BACK in said else str(one)


def _tell_news(place: Standing, release: Release, before: Sequence[str]) -> None:
    """Tell what differs and is not put back, once."""
    drift = release.status.drift
    if set(drift) - set(before):
        announce(place.records, release, reason="Drifted", message="; ".join(drift))
        log.warning("release.drift", release=str(place.name), objects=list(drift))


def _report(
    tools: Tools, place: Standing, release: Release, drift: tuple[str, ...], found: Sequence[Drifted]
) -> str:
    """Say what differs, once; and remember what we own now where only fields differ that are left to others."""
    owned = {one.item.key: one.owned for one in found if not one.counts}
    objects = _with_owned(release.status.objects, owned)
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
