"""What a sync would do, decided from plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.service import config_map, environment_of, rendered

from towline.shared.discovery import Resource
from towline.shared.errors import UnsafePrune
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import PART_OF, key_of, owned_hash
from towline.shared.prune_limit import PruneLimit, parse_prune_limit
from towline.shared.release import AppliedObject
from towline.worker.plan import Handover, Intent, Plan, Survey, make_plan
from towline.worker.policy import Placed, check

SET = "applyset-ours-v1"
ENVIRONMENT = environment_of("shop")
CONFIG_MAP = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)


def placed(*objects: Object) -> tuple[Placed, ...]:
    return check(rendered(*objects), ENVIRONMENT, lambda api_version, kind: CONFIG_MAP)


def key(name: str) -> ObjectKey:
    return ObjectKey(group="", kind="ConfigMap", namespace="shop", name=name)


def recorded(*items: Placed, owned: str | None = None) -> tuple[AppliedObject, ...]:
    return tuple(
        AppliedObject.of(
            item.key, digest=item.digest, owned=owned_hash(live(item.key.name)) if owned is None else owned
        )
        for item in items
    )


def live(name: str, *, label: str | None = SET, manager: str = "towline", **metadata: Any) -> Object:
    """Metadata as an API server answers it, with all four marks."""
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {}}}
    labels = {PART_OF: label} if label else {}
    known = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**known, "labels": labels, "managedFields": [entry], **metadata},
    }


def plan(
    desired: tuple[Placed, ...],
    records: tuple[AppliedObject, ...] = (),
    seen: dict[ObjectKey, Object | None] | None = None,
    **intent: Any,
) -> Plan:
    unfinished = intent.pop("is_unfinished", False)
    limit = intent.pop("max_prune", ENVIRONMENT.max_prune)
    return make_plan(
        desired,
        records,
        Survey(live=seen or {}, owners={"applyset-b-v1": "release shop/payments"}, is_unfinished=unfinished),
        environment=environment_of("shop", max_prune=limit),
        set_id=SET,
        intent=Intent(**intent),
    )


def test_an_object_as_recorded_is_left_without_having_been_read() -> None:
    items = placed(config_map("a"))

    made = plan(items, recorded(*items))

    assert made.is_empty
    assert [record.key for record in made.leave] == [key("a")]


def test_where_something_may_be_gone_only_that_is_made_anew() -> None:
    items = placed(config_map("gone"), config_map("edited"))

    made = plan(
        items,
        recorded(*items, owned="other"),
        {key("gone"): None, key("edited"): live("edited")},
        restore=True,
    )

    assert [item.key for item in made.create] == [key("gone")]
    assert [record.key for record in made.leave] == [key("edited")]


def test_an_object_whose_digest_differs_is_changed_without_having_been_read() -> None:
    made = plan(placed(config_map("a", {"k": "2"})), recorded(*placed(config_map("a", {"k": "1"}))))

    assert [item.key for item in made.change] == [key("a")]


def test_a_new_object_is_created_where_there_is_none_and_changed_where_there_is() -> None:
    items = placed(config_map("a"), config_map("b"))

    made = plan(items, seen={key("a"): None, key("b"): live("b", label=None)})

    assert [item.key for item in made.create] == [key("a")]
    assert [item.key for item in made.change] == [key("b")]


def test_an_install_is_one_only_where_every_object_is_new() -> None:
    items = placed(config_map("a"), config_map("b"))

    assert plan(items, seen={key("a"): None, key("b"): None}).is_install
    assert not plan(items, seen={key("a"): None, key("b"): live("b")}).is_install
    assert not plan(items, recorded(items[0]), {key("b"): None}).is_install
    assert not plan(items, seen={key("a"): None, key("b"): None, key("stray"): live("stray")}).is_install


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (live("a"), "leave"),
        (None, "create"),
        (live("a", manager="somebody"), "change"),
    ],
    ids=["as owned", "gone", "owned by somebody else"],
)
def test_a_full_pass_goes_by_what_is_owned(seen: Object | None, action: str) -> None:
    items = placed(config_map("a"))

    made = plan(items, recorded(*items), {key("a"): seen}, full=True)

    assert made.counts()[action] == 1


def test_after_an_unfinished_attempt_no_hash_is_trusted() -> None:
    items = placed(config_map("a"))

    made = plan(items, recorded(*items), {key("a"): live("a")}, is_unfinished=True)

    assert [item.key for item in made.change] == [key("a")]


def test_an_object_that_left_git_is_deleted_as_it_was_read() -> None:
    items = placed(config_map("a"), config_map("b"))

    made = plan(items[:1], recorded(*items), {key("b"): live("b")})

    (doomed,) = made.prune
    assert (doomed.key, doomed.uid, doomed.resource_version) == (key("b"), "uid-b", "1")


def test_an_object_that_is_gone_or_going_is_not_deleted_again() -> None:
    items = placed(config_map("a"), config_map("b"), config_map("c"))
    going = live("c", deletionTimestamp="2026-01-01T00:00:00Z")

    made = plan(items[:1], recorded(*items), {key("b"): None, key("c"): going})

    assert made.prune == ()
    assert made.keep == ()


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (live("b", label=None), "label of this release is gone"),
        (live("b", label="applyset-b-v1"), "another set"),
        (live("b", manager="kubectl"), "not applied by Towline"),
        (live("b", ownerReferences=[{"controller": True, "name": "x"}]), "another object controls it"),
        (live("b", annotations={"towline.dev/prune": "disabled"}), "prune: disabled"),
        (live("b", annotations={"towline.dev/apply": "ignore"}), "apply: ignore"),
    ],
    ids=["no label", "another's label", "not applied", "controlled", "prune", "ignore"],
)
def test_an_object_that_left_git_stays_where_a_mark_is_missing(seen: Object, why: str) -> None:
    items = placed(config_map("a"), config_map("b"))

    made = plan(items[:1], recorded(*items), {key("b"): seen})

    assert made.prune == ()
    assert why in str(made.keep[0])


def test_a_stranger_found_by_its_label_is_not_worth_a_word() -> None:
    items = placed(config_map("a"))

    made = plan(items, recorded(*items), {key("copy"): live("copy", manager="kubectl"), key("a"): live("a")})

    assert (made.prune, made.keep) == ((), ())


def test_an_object_of_another_set_is_a_problem_that_names_it() -> None:
    made = plan(placed(config_map("a")), seen={key("a"): live("a", label="applyset-b-v1")})

    (problem,) = made.problems
    assert "release shop/payments" in problem.message
    assert problem.file == "deploy/0.yaml"


def test_an_object_that_is_handed_over_is_no_problem() -> None:
    seen = {key("a"): live("a", label="applyset-b-v1")}

    made = plan(placed(config_map("a")), seen=seen, handover=Handover(taken=frozenset({"applyset-b-v1"})))

    assert made.problems == ()


def test_an_object_that_another_service_takes_over_is_not_deleted_and_that_is_said() -> None:
    items = placed(config_map("a"), config_map("b"))

    made = plan(
        items[:1],
        recorded(*items),
        {key("b"): live("b")},
        handover=Handover(given={key("b"): "payments"}),
    )

    assert made.prune == ()
    assert [str(kept) for kept in made.keep] == [
        f"{key('b')}: payments has it in the same revision, and takes it over"
    ]


def test_an_object_of_another_set_that_is_only_made_where_missing_is_left() -> None:
    item = placed(config_map("a", annotations={"towline.dev/apply": "if-not-present"}))

    made = plan(item, seen={key("a"): live("a", label="applyset-b-v1")})

    assert made.problems == ()
    assert made.leave[0].owned == ""


@pytest.mark.parametrize(
    "annotations",
    [
        {"towline.dev/apply": "ignore"},
        {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
        {"argocd.argoproj.io/hook": "Skip"},
        {"helm.sh/hook": "test"},
        {"argocd.argoproj.io/hook": "PostDelete"},
    ],
    ids=str,
)
def test_an_object_that_is_not_to_be_applied_is_neither_written_nor_deleted(
    annotations: dict[str, str],
) -> None:
    before, after = placed(config_map("a")), placed(config_map("a", {"k": "2"}, annotations=annotations))

    made = plan(after, recorded(*before))

    assert made.is_empty
    assert made.leave == ()


def many(count: int) -> tuple[Placed, ...]:
    return placed(*(config_map(f"c{index:03}") for index in range(count)))


def leaving(total: int, gone: int, limit: PruneLimit) -> Plan:
    items = many(total)
    seen = {item.key: live(item.key.name) for item in items[total - gone :]}
    kept = items[: total - gone] or placed(config_map("new"))
    if gone == total:
        seen |= {key("new"): None}  # type: ignore[dict-item]
    return plan(kept, recorded(*items), dict(seen), max_prune=limit)


def limit(text: str | int) -> PruneLimit:
    parsed = parse_prune_limit(text)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("total", "gone", "max_prune"),
    [
        (10, 5, ENVIRONMENT.max_prune),
        (12, 6, ENVIRONMENT.max_prune),
        (5, 5, ENVIRONMENT.max_prune),
        (10, 3, limit(3)),
        (10, 1, limit("10%")),
    ],
)
def test_deletions_within_the_limit_are_planned(total: int, gone: int, max_prune: PruneLimit) -> None:
    assert len(leaving(total, gone, max_prune).prune) == gone


@pytest.mark.parametrize(
    ("total", "gone", "max_prune"),
    [
        (10, 6, ENVIRONMENT.max_prune),
        (12, 7, ENVIRONMENT.max_prune),
        (10, 4, limit(3)),
        (10, 2, limit("10%")),
        (1, 1, limit(0)),
    ],
)
def test_deletions_above_the_limit_are_refused_with_the_numbers(
    total: int, gone: int, max_prune: PruneLimit
) -> None:
    with pytest.raises(UnsafePrune, match=f"{gone} of {total} objects"):
        leaving(total, gone, max_prune)


def test_objects_that_stay_anyway_do_not_count_as_deletions() -> None:
    items = many(10)
    kept = {"towline.dev/prune": "disabled"}
    seen = {item.key: live(item.key.name, annotations=kept) for item in items[1:]}

    assert plan(items[:1], recorded(*items), dict(seen)).prune == ()


def test_a_plan_that_nothing_was_rendered_for_is_refused_even_with_an_operators_word() -> None:
    with pytest.raises(UnsafePrune, match="nothing was rendered"):
        plan((), allow_prune=True)


def test_the_text_of_a_plan_says_a_line_an_object() -> None:
    items = placed(config_map("new"), config_map("old", {"k": "2"}))
    records = recorded(*placed(config_map("old"), config_map("gone"), config_map("kept")))
    seen = {key("new"): None, key("gone"): live("gone"), key("kept"): live("kept", label=None)}

    made = plan(items, records, seen)

    assert made.text().splitlines() == [
        "+ ConfigMap shop/new",
        "~ ConfigMap shop/old",
        "- ConfigMap shop/gone",
        "  ConfigMap shop/kept: its label of this release is gone",
    ]
    assert made.counts() == {"create": 1, "change": 1, "recreate": 0, "leave": 0, "prune": 1}
    assert made.group_kinds == {"ConfigMap"}


NAMES = st.sampled_from(["a", "b", "c", "d"])
STATES = st.sampled_from(["ours", "foreign", "copied", "gone"])


@given(
    wanted=st.sets(NAMES, min_size=1),
    before=st.sets(NAMES),
    states=st.fixed_dictionaries({name: STATES for name in "abcd"}),
)
def test_only_what_is_ours_and_not_wanted_is_ever_deleted(
    wanted: set[str], before: set[str], states: dict[str, str]
) -> None:
    shapes = {
        "ours": live,
        "foreign": lambda name: live(name, label="applyset-b-v1"),
        "copied": lambda name: live(name, manager="kubectl"),
        "gone": lambda name: None,
    }
    seen = {key(name): shapes[state](name) for name, state in states.items()}
    records = recorded(*placed(*(config_map(name) for name in sorted(before))))

    made = plan(placed(*(config_map(name) for name in sorted(wanted))), records, seen, full=True)

    assert {one.key.name for one in made.prune} == {
        name for name, state in states.items() if state == "ours" and name not in wanted
    }
    assert {key_of(item.object) for item in made.writes} <= {key(name) for name in wanted}
