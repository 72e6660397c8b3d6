"""Which step of a revision comes first, and what is left for later ones."""

from __future__ import annotations

from datetime import UTC, datetime

from parts.service import config_map, environment_of, rendered

from towline.shared.discovery import Resource
from towline.shared.model import Moment, Object
from towline.shared.pending import Pending
from towline.shared.release import AppliedObject
from towline.worker.apply import Applied
from towline.worker.plan import Doomed, Plan
from towline.worker.policy import Placed, check
from towline.worker.prune import recorded_after
from towline.worker.steps import Step, first_step, pending_after

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CONFIG_MAP = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)


def placed(*objects: Object) -> tuple[Placed, ...]:
    return check(rendered(*objects), environment_of("shop"), lambda api_version, kind: CONFIG_MAP)


def in_wave(name: str, wave: int) -> Object:
    return config_map(name, annotations={"towline.dev/wave": str(wave)})


def plan(**fields: object) -> Plan:
    return Plan(set_id="set", namespace="shop", is_checked=True, **fields)  # type: ignore[arg-type]


def names(items: tuple[Placed, ...]) -> list[str]:
    return [item.key.name for item in items]


def record(item: Placed) -> AppliedObject:
    return AppliedObject.of(item.key, digest="before", owned="o")


def test_everything_is_one_step_where_one_wave_writes() -> None:
    whole = plan(create=placed(in_wave("a", 1), in_wave("b", 1)))

    assert first_step(whole) == Step(plan=whole, wave=1, left=0)


def test_the_first_wave_with_writes_comes_first_and_deletes_nothing() -> None:
    create, change = placed(in_wave("a", 2), in_wave("b", -1)), placed(in_wave("c", 0), in_wave("d", -1))

    step = first_step(plan(create=create, change=change))

    assert (step.wave, step.left) == (-1, 2)
    assert names(step.plan.writes) == ["b", "d"]
    assert names(step.plan.later) == ["a", "c"]


def test_namespaces_and_definitions_go_with_the_first_wave_whatever_theirs_is() -> None:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": {"towline.dev/wave": "9"}},
    }
    resource = Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
    foundation = check(rendered(namespace), environment_of("shop"), lambda api_version, kind: resource)

    step = first_step(plan(create=foundation + placed(in_wave("a", 0), in_wave("b", 1))))

    assert names(step.plan.writes) == ["shop", "a"]
    assert step.left == 1


def test_what_a_later_step_changes_or_deletes_stays_in_the_record_without_a_digest() -> None:
    first, later, leaving = placed(in_wave("a", 0), in_wave("b", 1), in_wave("c", 0))
    doomed = Doomed(key=leaving.key, uid="u", resource_version="1")
    recorded = (record(later), record(leaving))
    step = first_step(plan(create=(first,), change=(later,), prune=(doomed,), recorded=recorded))
    done = AppliedObject.of(first.key, digest=first.digest, owned="o")

    after = recorded_after(step.plan, Applied(objects=(done,)), None)

    assert {one.name: one.digest for one in after} == {"a": first.digest, "b": "", "c": ""}


KNOWN = Pending(revision="a" * 40, inputs_digest="d", since=NOW, timeout_seconds=7)


def pending(step: Step, before: Pending | None = None) -> Pending | None:
    return pending_after(step, before or KNOWN)


def test_the_record_counts_the_steps_of_the_whole_revision() -> None:
    first = pending(Step(plan=plan(), left=2))
    second = pending(Step(plan=plan(), wave=1, left=1), before=first)

    assert first is not None and second is not None
    assert first.text == "2 of 3 steps are still to be taken"
    assert second.text == "1 of 3 steps are still to be taken"
    assert (second.since, second.timeout_seconds) == (NOW, 7)


def test_nothing_is_pending_after_the_last_step() -> None:
    assert pending(Step(plan=plan(), left=0)) is None


def test_a_step_is_after_another_by_its_moment_and_then_by_its_wave() -> None:
    last = pending(Step(plan=plan(), wave=1, left=1))

    assert last is not None
    assert Step(plan=plan(), wave=2).is_after(last)
    assert not Step(plan=plan(), wave=1).is_after(last)
    assert Step(plan=plan(), moment=Moment.POST_SYNC, wave=0).is_after(last)
    assert not Step(plan=plan(), moment=Moment.PRE_SYNC, wave=5).is_after(last)


def hook(name: str, when: str, wave: int = 0) -> Object:
    return config_map(name, annotations={"towline.dev/hook": when, "towline.dev/wave": str(wave)})


def walk(whole: Plan, hooks: tuple[Placed, ...], before: Pending | None = None) -> Step:
    return first_step(whole, hooks, before=before)


def test_hooks_come_before_and_after_the_waves_of_objects() -> None:
    hooks = placed(hook("late", "post-sync"), hook("second", "pre-sync", 1), hook("first", "pre-sync", -1))
    whole = plan(create=placed(in_wave("a", 0), in_wave("b", 1)))
    applied = KNOWN.model_copy(update={"moment": Moment.APPLY})

    steps = [
        walk(whole, hooks),
        walk(whole, hooks[:2]),
        walk(whole, hooks[:1]),
        walk(plan(), hooks[:1], before=applied),
    ]

    assert [(one.moment, one.wave, names(one.hooks), one.left) for one in steps] == [
        (Moment.PRE_SYNC, -1, ["first"], 4),
        (Moment.PRE_SYNC, 1, ["second"], 3),
        (Moment.APPLY, 0, [], 2),
        (Moment.POST_SYNC, 0, ["late"], 0),
    ]


def test_a_revision_that_changes_no_object_is_recorded_between_its_hooks() -> None:
    hooks = placed(hook("late", "post-sync"))
    prepared = KNOWN.model_copy(update={"moment": Moment.PRE_SYNC})

    step = walk(plan(), hooks, before=prepared)

    assert (step.moment, step.hooks, step.left) == (Moment.APPLY, (), 1)


def test_a_revision_whose_steps_are_all_taken_is_recorded_once_more() -> None:
    step = walk(plan(), (), before=KNOWN)

    assert (step.moment, step.left) == (Moment.APPLY, 0)
