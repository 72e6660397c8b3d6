"""Annotations of teams, in four vocabularies."""

from __future__ import annotations

import pytest

from towline.shared.controls import (
    ApplyMode,
    Hook,
    apply_mode,
    control_problems,
    hook,
    prune_disabled,
    recreate_allowed,
    wave,
)
from towline.shared.model import Object

ARGO = "argocd.argoproj.io"
FLUX = "kustomize.toolkit.fluxcd.io"


def annotated(**annotations: object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {name: text for name, text in annotations.items()}},
    }


def with_one(name: str, value: object) -> Object:
    return annotated(**{name: value})


def test_an_object_without_annotations_is_applied_and_pruned_as_usual():
    plain: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}

    assert not prune_disabled(plain)
    assert apply_mode(plain) is ApplyMode.OVERRIDE
    assert not recreate_allowed(plain)
    assert wave(plain) == 0
    assert hook(plain) is None
    assert list(control_problems(plain)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("towline.dev/prune", "disabled"),
        ("towline.dev/prune", " Disabled "),
        (f"{ARGO}/sync-options", "Validate=false, Prune=false"),
        (f"{ARGO}/sync-options", "Prune=confirm"),
        (f"{FLUX}/prune", "disabled"),
    ],
)
def test_pruning_is_disabled_by_each_vocabulary(name: str, value: str):
    assert prune_disabled(with_one(name, value))


@pytest.mark.parametrize("value", ["enabled", "", "no", "disabled-not", 1, None, ["disabled"]])
def test_other_values_do_not_disable_pruning(value: object):
    assert not prune_disabled(with_one("towline.dev/prune", value))


@pytest.mark.parametrize(
    ("name", "value", "mode"),
    [
        ("towline.dev/apply", "merge", ApplyMode.MERGE),
        ("towline.dev/apply", "if-not-present", ApplyMode.IF_NOT_PRESENT),
        ("towline.dev/apply", "ignore", ApplyMode.IGNORE),
        ("towline.dev/apply", "override", ApplyMode.OVERRIDE),
        ("towline.dev/apply", "nonsense", ApplyMode.OVERRIDE),
        (f"{FLUX}/ssa", "IfNotPresent", ApplyMode.IF_NOT_PRESENT),
        (f"{FLUX}/ssa", "Merge", ApplyMode.MERGE),
        (f"{FLUX}/reconcile", "disabled", ApplyMode.IGNORE),
        (f"{ARGO}/hook", "Skip", ApplyMode.IGNORE),
    ],
)
def test_apply_mode_is_read_from_each_vocabulary(name: str, value: str, mode: ApplyMode):
    assert apply_mode(with_one(name, value)) is mode


def test_our_own_word_wins_over_another_tool_s():
    assert apply_mode(annotated(**{"towline.dev/apply": "merge", f"{FLUX}/ssa": "Ignore"})) is ApplyMode.MERGE
    assert wave(annotated(**{"towline.dev/wave": "2", f"{ARGO}/sync-wave": "5"})) == 2


def test_flux_s_words_count_as_labels_too():
    labelled: Object = {"kind": "Job", "metadata": {"labels": {f"{FLUX}/force": "Enabled"}}}

    assert recreate_allowed(labelled)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("towline.dev/recreate", "allowed"),
        (f"{ARGO}/sync-options", "Force=true"),
        (f"{FLUX}/force", "enabled"),
    ],
)
def test_recreation_is_allowed_by_each_vocabulary(name: str, value: str):
    assert recreate_allowed(with_one(name, value))


@pytest.mark.parametrize(
    ("value", "number"), [("3", 3), ("-2", -2), ("x", 0), ("1e3", 0), ("9" * 5000, 0), (3, 0)]
)
def test_waves_are_whole_numbers_and_anything_else_is_the_default(value: object, number: int):
    assert wave(with_one(f"{ARGO}/sync-wave", value)) == number


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("towline.dev/hook", "pre-sync", Hook.PRE_SYNC),
        ("towline.dev/hook", "post-sync", Hook.POST_SYNC),
        (f"{ARGO}/hook", "PreSync", Hook.PRE_SYNC),
        (f"{ARGO}/hook", "PostSync", Hook.POST_SYNC),
        (f"{ARGO}/hook", "Sync", None),
        (f"{ARGO}/hook", "SyncFail", Hook.UNUSED),
        (f"{ARGO}/hook", "Skip", None),
        ("helm.sh/hook", "pre-install,pre-upgrade", Hook.PRE_SYNC),
        ("helm.sh/hook", "post-upgrade", Hook.POST_SYNC),
        ("helm.sh/hook", "crd-install", None),
        ("helm.sh/hook", "test", Hook.UNUSED),
        ("helm.sh/hook", "pre-delete", Hook.UNUSED),
    ],
)
def test_hooks_are_read_from_each_vocabulary(name: str, value: str, expected: Hook | None):
    assert hook(with_one(name, value)) is expected


def test_values_that_mean_nothing_are_problems_that_name_what_is_allowed():
    object = annotated(
        **{
            "towline.dev/apply": "overide",
            "towline.dev/hook": "presync",
            "towline.dev/wave": "first",
            "towline.dev/prune": True,
        }
    )

    problems = {problem.path: problem for problem in control_problems(object)}

    assert set(problems) == {
        f"metadata.annotations[towline.dev/{name}]" for name in ("apply", "hook", "wave", "prune")
    }
    assert "if-not-present" in str(problems["metadata.annotations[towline.dev/apply]"])
    assert "Job.batch migrate" in str(problems["metadata.annotations[towline.dev/wave]"])
