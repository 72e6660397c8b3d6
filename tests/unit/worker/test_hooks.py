"""Which hooks are to run, what they are called, and what goes when they have ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from parts.service import config_map, environment_of, rendered

from towline.shared.controls import hook_deletion, wave
from towline.shared.discovery import Resource
from towline.shared.errors import PolicyRefused
from towline.shared.model import HookState, Moment, Object
from towline.shared.pending import HookRun, ended_runs
from towline.worker.hooks import divided, due, named, run_mark, started, to_delete, with_started
from towline.worker.policy import Placed, check

REVISION = "a1b2c3d4e5" * 4
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CONFIG_MAP = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)


def hook(name: str = "migrate", **annotations: Any) -> Object:
    return config_map(name, annotations={"towline.dev/hook": "pre-sync", **annotations})


def placed(*objects: Object) -> tuple[Placed, ...]:
    return check(rendered(*objects), environment_of("shop"), lambda api_version, kind: CONFIG_MAP)


def run(state: HookState, **fields: Any) -> HookRun:
    known = started(placed(hook()), REVISION)[0]
    return known.model_copy(update={"state": state, **fields})


@pytest.mark.parametrize(
    "annotation, moment",
    [
        ({"towline.dev/hook": "post-sync"}, Moment.POST_SYNC),
        ({"argocd.argoproj.io/hook": "PreSync"}, Moment.PRE_SYNC),
        ({"helm.sh/hook": "post-install,post-upgrade"}, Moment.POST_SYNC),
    ],
)
def test_hooks_of_all_three_tools_are_divided_from_the_objects(annotation: Any, moment: Moment) -> None:
    objects, hooks = divided(placed(config_map("a"), config_map("b", annotations=annotation)))

    assert [one.key.name for one in objects] == ["a"]
    assert [(one.name, one.moment) for one in started(hooks, REVISION)] == [("b", moment)]


def test_a_hook_of_a_generated_name_is_named_by_the_revision() -> None:
    object = hook()
    object["metadata"] = {**object["metadata"], "generateName": "migrate-" * 10}
    del object["metadata"]["name"]

    result = named(rendered(object), REVISION)[0].object["metadata"]

    assert result["name"] == ("migrate-" * 10)[:53] + "a1b2c3d4e5"
    assert "generateName" not in result


def test_only_hooks_may_have_a_generated_name() -> None:
    object = config_map("x")
    object["metadata"] = {"generateName": "x-"}

    assert named(rendered(object), REVISION)[0].object == object
    with pytest.raises(PolicyRefused, match=r"every sync would make another object"):
        placed(object)


def test_a_weight_of_helm_is_the_wave_of_its_hook() -> None:
    weight = {"helm.sh/hook-weight": "-5"}

    assert wave(config_map("a", annotations={"helm.sh/hook": "pre-install", **weight})) == -5
    assert wave(config_map("a", annotations=weight)) == 0


@pytest.mark.parametrize(
    "annotations, outcomes",
    [
        ({}, {HookState.SUCCEEDED}),
        ({"argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}, set()),
        ({"helm.sh/hook-delete-policy": "before-hook-creation,hook-failed"}, {HookState.FAILED}),
        (
            {"argocd.argoproj.io/hook-delete-policy": "HookSucceeded, HookFailed"},
            {HookState.SUCCEEDED, HookState.FAILED},
        ),
    ],
)
def test_a_hook_goes_after_success_unless_its_policy_says_otherwise(
    annotations: Any, outcomes: set[HookState]
) -> None:
    assert set(hook_deletion(hook(**annotations))) == outcomes


def test_hooks_run_for_changed_inputs_and_not_for_a_mere_look() -> None:
    hooks = placed(hook())

    assert due(hooks, (), is_new=True) == hooks
    assert due(hooks, (run(HookState.SUCCEEDED),), is_new=False) == ()


def test_a_hook_that_has_succeeded_does_not_run_again_for_its_revision() -> None:
    hooks = placed(hook(), hook("next"))

    assert due(hooks, (run(HookState.SUCCEEDED),), is_new=True) == hooks[1:]


def test_a_hook_that_has_failed_runs_again_when_somebody_asks() -> None:
    hooks = placed(hook())

    assert due(hooks, (run(HookState.FAILED),), is_new=False) == hooks


def test_the_record_has_one_run_of_a_hook() -> None:
    again = started(placed(hook()), REVISION)

    assert with_started((run(HookState.FAILED), run(HookState.FAILED, name="other")), again) == (
        run(HookState.FAILED, name="other"),
        *again,
    )


def test_only_hooks_that_ran_for_the_revision_come_to_an_end() -> None:
    others = (run(HookState.FAILED), run(HookState.RUNNING, revision="b" * 40))

    ended = ended_runs((run(HookState.RUNNING), *others), REVISION, HookState.SUCCEEDED, now=NOW)

    assert ended == (run(HookState.SUCCEEDED, finished_at=NOW), *others)


def test_what_goes_is_told_by_what_came_of_it() -> None:
    runs = [run(state) for state in HookState]

    assert to_delete(runs) == (run(HookState.SUCCEEDED),)


def test_the_mark_of_a_run_is_the_same_until_something_is_recorded() -> None:
    assert run_mark(None, "d") == run_mark(None, "d")
    assert run_mark(None, "d") != run_mark(None, "e")


def test_what_would_take_data_along_cannot_be_a_hook() -> None:
    claim = {**hook(), "kind": "PersistentVolumeClaim"}

    with pytest.raises(PolicyRefused, match="cannot be a hook"):
        placed(claim)


def test_nobody_else_marks_an_object_as_a_run() -> None:
    with pytest.raises(PolicyRefused, match="not an annotation that Towline knows"):
        placed(config_map("x", annotations={"towline.dev/run": "r"}))
