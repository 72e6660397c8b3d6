"""What a sync would do: pure, from what is wanted, what was recorded, and what was read of the cluster.

In: objects that passed the policy, the records of the last sync, a Survey of live metadata. Out: a Plan, or UnsafePrune.
No state, no requests. An object whose digest is the recorded one is left alone without having been looked at, unless
this is a full pass: then the hash of the fields that we own decides, from metadata alone.

What is deleted must be in the record or carry the set's label, must be ours by all four marks (design section 4,
"Ownership"), and must not be protected by an annotation or by its kind. A Plan is not allowed to be applied before
`dry_run` has checked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from towline.shared.config import Environment
from towline.shared.controls import ApplyMode, Hook, apply_mode, hook, is_run, prune_disabled
from towline.shared.errors import Problem, UnsafePrune
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import (
    PART_OF,
    applied_entry,
    group_kind,
    is_ours,
    is_terminating,
    labels_of,
    metadata_of,
    owned_hash,
)
from towline.shared.release import AppliedObject
from towline.worker.order import Rank, rank_of, stages, waves
from towline.worker.policy import PROTECTED_KINDS, Placed
from towline.worker.record_size import refuse_unrecordable

RUNS_ONCE = "Job.batch"
RUN_AT_ONCE = frozenset({RUNS_ONCE, "Pod"})

NAMED = 10  # objects named in a message; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Objects that change hands in one push.

    `taken`: ids of sets that give up what this release wants. `given`: objects that another service is about to take.
    """

    taken: frozenset[str] = frozenset()
    given: Mapping[ObjectKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What was asked for beside "make it so".

    `full`: look at every object, not only at what Git changed. `allow_prune`: an operator's word that more than the
    limit may go. `removing`: the service is gone from Git. `restore`: make anew what was recorded and is not there.
    """

    full: bool = False
    restore: bool = False
    allow_prune: bool = False
    removing: bool = False
    handover: Handover = field(default_factory=Handover)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Metadata of live objects: a missing key was not read, None is a 404. `owners` names sets of others.

    `is_unfinished`: an attempt since the record may have applied anything. Then no hash can be trusted, since it is of
    the names of the fields that we own, and we may have written other values into them ourselves.
    """

    live: Mapping[ObjectKey, Object | None] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """An object to be deleted: exactly this one, as it was when judged."""

    key: ObjectKey
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An object that is not touched, and why."""

    key: ObjectKey
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}"


class Action(StrEnum):
    """What happens to one object that is wanted."""

    CREATE = "create"
    CHANGE = "change"
    LEAVE = "leave"
    IGNORE = "ignore"  # by its own annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one sync would do; `later` is left to further ones (worker/steps.py), and so is `prune` then.

    The last five fields are what the dry run found out; `is_atomic`: the only write is its own check.
    """

    set_id: str
    namespace: str
    create: tuple[Placed, ...] = ()
    change: tuple[Placed, ...] = ()
    leave: tuple[AppliedObject, ...] = ()
    later: tuple[Placed, ...] = ()
    prune: tuple[Doomed, ...] = ()
    keep: tuple[Kept, ...] = ()
    live: Mapping[ObjectKey, Object | None] = field(default_factory=dict)
    recorded: tuple[AppliedObject, ...] = ()
    problems: tuple[Problem, ...] = ()
    is_checked: bool = False
    is_atomic: bool = False
    recreate: frozenset[ObjectKey] = frozenset()
    deferred: frozenset[ObjectKey] = frozenset()
    unverified: frozenset[ObjectKey] = frozenset()

    @property
    def writes(self) -> tuple[Placed, ...]:
        """Everything that is sent."""
        return self.create + self.change

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the cluster would change."""
        return not (self.create or self.change or self.prune)

    @property
    def is_install(self) -> bool:
        """Whether every object is new, so that nothing runs yet that could break."""
        return not (self.change or self.leave or self.prune or self.recorded)

    @property
    def can_be_taken_back(self) -> bool:
        """Whether removing what a refused install has made leaves nothing behind.

        Namespaces and CRDs are not removed again, and what a Job or a bare Pod has done stays done.
        """
        return not any(
            rank_of(item.key) is Rank.FOUNDATION or group_kind(item.key) in RUN_AT_ONCE
            for item in self.writes
        )

    @property
    def group_kinds(self) -> frozenset[str]:
        """The kinds of the set, those that are leaving it too."""
        return frozenset(group_kind(key) for key in self._keys())

    @property
    def additional_namespaces(self) -> frozenset[str]:
        """The namespaces of the set beside the Release's own, those that are being left too."""
        return frozenset(key.namespace for key in self._keys()) - {"", self.namespace}

    def _keys(self) -> Iterator[ObjectKey]:
        yield from (item.key for item in self.writes + self.later)
        yield from (record.key for record in (*self.leave, *self.recorded))
        yield from (doomed.key for doomed in self.prune)

    def stages(self) -> list[list[Placed]]:
        """The writes in order: one stage after another, all of a stage at once."""
        return stages(self.writes, of=key_and_object)

    def waves(self) -> list[int]:
        """The waves that write something."""
        return waves(self.writes, of=key_and_object)

    def counts(self) -> dict[str, int]:
        """How many objects of each action."""
        return {
            "create": len(self.create),
            "change": len(self.change) - len(self.recreate),
            "recreate": len(self.recreate),
            "leave": len(self.leave),
            "prune": len(self.prune),
        }

    def text(self) -> str:
        """A line an object that is touched, for people: `+` new, `~` changed, `±` made anew, `-` deleted."""
        lines = [f"+ {item.key}" for item in self.create]
        lines += [f"{'±' if item.key in self.recreate else '~'} {item.key}" for item in self.change]
        lines += [f"- {doomed.key}" for doomed in self.prune]
        lines += [f"  {kept}" for kept in self.keep]
        return "\n".join(lines) or "nothing to change"


def key_and_object(item: Placed) -> tuple[ObjectKey, Object]:
    """What decides when an object is written."""
    return item.key, item.object


def make_plan(
    desired: Sequence[Placed],
    recorded: Sequence[AppliedObject],
    survey: Survey,
    *,
    environment: Environment,
    set_id: str,
    intent: Intent,
) -> Plan:
    """Decide for each object. Raises UnsafePrune, and Refused: too many to record; what is wrong with single objects is in `problems`."""
    if not desired and not intent.removing:
        raise UnsafePrune(
            "nothing was rendered, which would delete the whole release",
            hint="remove the service from the repository instead, or run `towline delete`",
        )
    records = {record.key: record for record in recorded}
    refuse_unrecordable({*records, *(item.key for item in desired)})
    actions = [(item, _decide(item, records.get(item.key), survey, intent)) for item in desired]
    given = intent.handover.given
    prune, keep = _leaving(desired, records, survey, environment=environment, set_id=set_id, given=given)
    if not intent.allow_prune:
        _refuse_unsafe(prune, total=len(records.keys() | {one.key for one in prune}), environment=environment)
    return Plan(
        set_id=set_id,
        namespace=environment.namespace,
        create=_with(actions, Action.CREATE),
        change=_with(actions, Action.CHANGE),
        leave=tuple(_record(item, records.get(item.key)) for item in _with(actions, Action.LEAVE)),
        prune=prune,
        keep=keep,
        live=survey.live,
        recorded=tuple(recorded),
        problems=tuple(_ownership_problems(actions, survey, set_id=set_id, intent=intent)),
    )


def without(plan: Plan, keys: Iterable[ObjectKey]) -> Plan:
    """The plan that does not write these objects; those that the record has stay in it as they are."""
    left_out = frozenset(keys)
    records = tuple(record for record in plan.recorded if record.key in left_out)
    return replace(
        plan,
        create=_others(plan.create, left_out),
        change=_others(plan.change, left_out),
        leave=plan.leave + _live(plan, records),
    )


def _others(items: Sequence[Placed], keys: frozenset[ObjectKey]) -> tuple[Placed, ...]:
    return tuple(item for item in items if item.key not in keys)


def _live(plan: Plan, records: Sequence[AppliedObject]) -> tuple[AppliedObject, ...]:
    return tuple(record for record in records if plan.live.get(record.key) is not None)


def _with(actions: Iterable[tuple[Placed, Action]], action: Action) -> tuple[Placed, ...]:
    return tuple(item for item, its_action in actions if its_action is action)


def _record(item: Placed, record: AppliedObject | None) -> AppliedObject:
    return AppliedObject.of(item.key, digest=item.digest, owned=record.owned if record else "")


def needs_reading(item: Placed, record: AppliedObject | None, *, full: bool, restore: bool) -> bool:
    """Whether the live metadata of a wanted object decides what happens to it."""
    if is_ignored(item.object):
        return False
    if record is None or full:
        return True
    if record.digest == item.digest:
        return restore and group_kind(item.key) != RUNS_ONCE  # a Job may be gone
    return apply_mode(item.object) is ApplyMode.IF_NOT_PRESENT


def is_ignored(object: Object) -> bool:
    """Whether Towline keeps its hands off this object, or it is a hook for a moment that never comes."""
    return apply_mode(object) is ApplyMode.IGNORE or hook(object) is Hook.UNUSED


def _decide(item: Placed, record: AppliedObject | None, survey: Survey, intent: Intent) -> Action:
    if is_ignored(item.object):
        return Action.IGNORE
    full = intent.full or survey.is_unfinished
    if not needs_reading(item, record, full=full, restore=intent.restore):
        assert record is not None
        return Action.LEAVE if record.digest == item.digest else Action.CHANGE
    live = survey.live[item.key]
    if live is None:
        return Action.CREATE
    if apply_mode(item.object) is ApplyMode.IF_NOT_PRESENT:
        return Action.LEAVE
    if record is None or survey.is_unfinished:
        return Action.CHANGE
    is_as_recorded = record.digest == item.digest and (not full or record.owned == owned_hash(live))
    return Action.LEAVE if is_as_recorded else Action.CHANGE


def _ownership_problems(
    actions: Sequence[tuple[Placed, Action]], survey: Survey, *, set_id: str, intent: Intent
) -> Iterator[Problem]:
    """Objects that another set holds: two releases on one object would fight for ever."""
    for item, action in actions:
        owner = foreign_set(survey.live.get(item.key), set_id)
        if action is Action.CHANGE and owner and owner not in intent.handover.taken:
            yield item.problem(
                f"belongs to {survey.owners.get(owner, owner)} already, and now this release wants it too; "
                "take it out of one of them"
            )


def foreign_set(live: Object | None, set_id: str) -> str | None:
    """The id of the other set that an object carries, if any."""
    label = labels_of(live).get(PART_OF) if live else None
    return str(label) if label and label != set_id else None


def _leaving(
    desired: Sequence[Placed],
    records: Mapping[ObjectKey, AppliedObject],
    survey: Survey,
    *,
    environment: Environment,
    set_id: str,
    given: Mapping[ObjectKey, str],
) -> tuple[tuple[Doomed, ...], tuple[Kept, ...]]:
    wanted = {item.key for item in desired}
    prune, keep = [], []
    for key, live in survey.live.items():
        if key in wanted or live is None or is_terminating(live):
            continue
        taker = given.get(key)
        why = reason_to_keep(key, live, environment=environment, set_id=set_id)
        if taker is not None and why is None:
            why = f"{taker} has it in the same revision, and takes it over"
        if why is None:
            prune.append(doomed(key, live))
        elif key in records:  # a stranger with a copied label, found by a list, is not worth a word
            keep.append(Kept(key=key, why=why))
    return tuple(prune), tuple(keep)


def doomed(key: ObjectKey, live: Object) -> Doomed:
    """This object as it was judged."""
    metadata = metadata_of(live)
    return Doomed(
        key=key,
        uid=str(metadata.get("uid") or ""),
        resource_version=str(metadata.get("resourceVersion") or ""),
    )


def reason_to_keep(key: ObjectKey, live: Object, *, environment: Environment, set_id: str) -> str | None:
    """Why an object is not deleted although it is no longer wanted; None when it may go."""
    if not is_ours(live, set_id, release_namespace=environment.namespace):
        return _missing_mark(live, set_id)
    if is_run(live):
        return "it is a hook"
    if prune_disabled(live):
        return "its annotation keeps it (prune: disabled)"
    if is_ignored(live):
        return "its annotation keeps it (apply: ignore)"
    if group_kind(key) in PROTECTED_KINDS and key.kind not in environment.prune_kinds:
        return f"objects of kind {key.kind} are not deleted unless the environment's prune_kinds names it"
    return None


def _missing_mark(live: Object, set_id: str) -> str:
    label = labels_of(live).get(PART_OF)
    if label != set_id:
        return f"it belongs to another set ({label})" if label else "its label of this release is gone"
    if applied_entry(live) is None:
        return "it was not applied by Towline; its label was copied"
    return "it is the release's own namespace, or another object controls it"


def _refuse_unsafe(prune: Sequence[Doomed], *, total: int, environment: Environment) -> None:
    limit = environment.max_prune
    if len(prune) <= limit.allowed(total):
        return
    named = ", ".join(str(one.key) for one in prune[:NAMED])
    more = f" and {len(prune) - NAMED} more" if len(prune) > NAMED else ""
    raise UnsafePrune(
        f"{len(prune)} of {total} objects would be deleted, more than the limit ({limit}): {named}{more}",
        hint="if that is meant, sync with --allow-prune, or raise max_prune of the environment",
    )
