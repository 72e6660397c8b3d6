"""The tests that rules are made of."""

from __future__ import annotations

from typing import Any

import pytest
from parts.custom_objects import condition
from pydantic import ValidationError

from towline.worker.health.rule_file import rules_of
from towline.worker.health.rule_tests import Subject, compiled

OBJECT: dict[str, Any] = {
    "metadata": {"generation": 3, "annotations": {"a.b/c": "on"}},
    "spec": {"replicas": 2},
    "status": {
        "phase": "Waiting for nodes",
        "ready": False,
        "none": 0,
        "counts": {"new": 1},
        "conditions": [condition("Ready=False Creating"), condition("Old=True", observedGeneration=1)],
        "parents": [
            {"conditions": [condition("Accepted=True")]},
            {"conditions": [condition("Accepted=False Gone")]},
        ],
        "nodes": {"a": {"state": "up"}, "b": {"state": "up"}},
    },
}

HOLDS = [
    "Ready",
    "! Missing",
    "! Old",
    "Ready = False | Unknown",
    "Ready = False (Creating | Pending)",
    "Ready = False (! Failed)",
    "Ready != True",
    "* = False",
    ".status.phase ^= Waiting | Updating",
    ".status.ready = false",
    ".status.ready",
    ".status.none = 0",
    ".status.phase != Running",
    ".metadata.annotations[a.b/c] = on",
    ".status.counts.new < .spec.replicas",
    ".status.counts.old < 1",
    ".status.counts.new < .status.counts.wanted ?? 2",
    ".status.parents[-1].conditions[0].reason = Gone",
    ".status.parents[#] is .spec.replicas",
    ".status.parents[#] is not .metadata.generation",
    ".status.counts.none before .status.phase",
    {"any": ".status.parents", "where": "Accepted = False"},
    {"every": ".status.nodes", "where": [".state = up", "~.spec.replicas = 2"]},
    {"none": ".status.nodes", "where": ".state = down"},
    {"either": ["Missing", ".status.phase"]},
]
DOES_NOT = [
    "Missing",
    "Ready = True",
    "Ready = False (Failed)",
    "Missing != True",
    ".status.missing",
    ".status.missing != Running",
    ".status.missing is .spec.replicas",
    ".status.counts.new >= .spec.replicas",
    ["Ready", "Missing"],
    {"every": ".status.parents", "where": "Accepted = True"},
    {"any": ".status.missing", "where": ".state"},
]


@pytest.mark.parametrize("test", HOLDS)
def test_a_test_holds(test: Any) -> None:
    assert compiled(test)(Subject.of(OBJECT))


@pytest.mark.parametrize("test", DOES_NOT)
def test_a_test_does_not_hold(test: Any) -> None:
    assert not compiled(test)(Subject.of(OBJECT))


@pytest.mark.parametrize(
    "test",
    [
        "",
        "Ready ==",
        ".a <",
        ".a < b",
        "a b c",
        {"any": ".a"},
        {"some": ".a", "where": "b"},
        {"any": "a", "where": "b"},
    ],
)
def test_what_is_no_test_is_refused_when_the_rules_are_loaded(test: Any) -> None:
    with pytest.raises(ValueError):
        compiled(test)


@pytest.mark.parametrize(
    "document",
    [
        {"kinds": ["A.b"]},
        [{"kinds": []}],
        [{"kinds": ["A.b"], "cases": [{"healthy": "Ready", "failed": "Ready"}]}],
        [{"kinds": ["A.b"], "otherwise": "fine"}],
        [{"kinds": ["A.b"]}, {"kinds": ["A.b"]}],
    ],
)
def test_a_file_of_rules_that_is_not_of_the_form_is_refused(document: Any) -> None:
    with pytest.raises((ValidationError, ValueError)):
        rules_of(document)
