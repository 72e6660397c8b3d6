"""The order of the rules, the general rule, and that nothing an object holds can break them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.custom_objects import custom

from towline.shared.model import Health
from towline.worker.health.kinds import RULES
from towline.worker.health.rule_table import table
from towline.worker.health.special import RULES as SPECIAL
from towline.worker.health.status import REASON_CHARACTERS
from towline.worker.health.verdict import Verdict, judge, worst

UNKNOWN_KIND = "Shop.example.com"

GENERAL: list[tuple[dict[str, Any], Health]] = [
    ({}, Health.HEALTHY),
    ({"conditions": ["Stalled=True", "Ready=True"]}, Health.FAILED),
    ({"conditions": ["Reconciling=True", "Ready=True"]}, Health.PROGRESSING),
    ({"conditions": ["Ready=True", "Progressing=True"]}, Health.HEALTHY),
    ({"conditions": ["Ready=True", "Degraded=True"]}, Health.FAILED),
    ({"conditions": ["Ready=True", "Paused=True"]}, Health.SUSPENDED),
    ({"conditions": ["Ready=Unknown"]}, Health.PROGRESSING),
    ({"conditions": ["Ready=False"]}, Health.PROGRESSING),
    ({"conditions": ["Ready=False Creating: still no error"]}, Health.PROGRESSING),
    ({"conditions": ["Ready=False CreateFailed"]}, Health.FAILED),
    ({"conditions": ["Ready=False Custom: access denied by the cloud"]}, Health.FAILED),
    ({"conditions": ["Ready=False Custom: waits for its parts"]}, Health.PROGRESSING),
    ({"conditions": ["Available=True", "Progressing=True"]}, Health.PROGRESSING),
    ({"conditions": ["Available=False", "Degraded=False"]}, Health.PROGRESSING),
    ({"conditions": ["BrokerReady=True", "TopicsSynced=False SyncError"]}, Health.FAILED),
    ({"conditions": ["UpgradeFailed=True"]}, Health.FAILED),
    ({"conditions": ["Fancy=False"]}, Health.HEALTHY),
    ({"status": {"phase": "Running"}}, Health.HEALTHY),
    ({"status": {"state": "FAILED"}}, Health.FAILED),
    ({"status": {"phase": "In Progress"}}, Health.PROGRESSING),
    ({"status": {"phase": "Paused"}}, Health.SUSPENDED),
    ({"status": {"phase": "Unknown"}}, Health.UNKNOWN),
    ({"status": {"ready": False}}, Health.PROGRESSING),
    ({"status": {"readyReplicas": 1}, "spec": {"replicas": 2}}, Health.PROGRESSING),
    ({"status": {"observedGeneration": 1, "other": "words"}}, Health.HEALTHY),
]


@pytest.mark.parametrize(("state", "health"), GENERAL)
def test_a_kind_nobody_knows_is_judged_by_what_most_operators_write(
    state: dict[str, Any], health: Health
) -> None:
    verdict = judge(custom(UNKNOWN_KIND, state))

    assert verdict.health is health, verdict.reason


def test_what_is_being_deleted_or_not_seen_yet_goes_before_its_kind() -> None:
    ready = {"conditions": ["Ready=True"]}
    deleted = {**ready, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}}
    changed = {**ready, "metadata": {"generation": 2}, "status": {"observedGeneration": 1}}

    assert judge(custom("Certificate.cert-manager.io", deleted)).reason == "is being deleted; waits for a/b"
    assert judge(custom("Certificate.cert-manager.io", changed)).health is Health.PROGRESSING


def test_a_users_expression_goes_before_the_rule_of_the_kind() -> None:
    ready = custom("Certificate.cert-manager.io", {"conditions": ["Ready=True"]})
    rules = {"cert-manager.io/Certificate": "'failed: as ' + self.metadata.name"}

    assert judge(ready, rules=rules) == Verdict(health=Health.FAILED, reason="as it")


def test_a_reason_is_one_printable_line_of_bounded_length() -> None:
    loud = custom(UNKNOWN_KIND, {})
    loud["status"] = {
        "conditions": [{"type": "Ready", "status": "True", "message": "a\n\x1b[31m" + "b" * 100_000}]
    }

    reason = judge(loud).reason

    assert reason.isprintable()
    assert len(reason) <= REASON_CHARACTERS


def test_a_release_is_what_its_worst_object_is() -> None:
    found = {health: Verdict(health=health, reason="so") for health in Health}

    assert worst([("a", found[Health.HEALTHY]), ("b", found[Health.SUSPENDED])]).health is Health.SUSPENDED
    assert worst([("a", found[Health.FAILED]), ("b", found[Health.UNKNOWN])]).reason == "a: so"
    assert worst([]).health is Health.HEALTHY


def _kinds() -> list[tuple[str, str]]:
    named = [key.partition(".")[::2] for key in sorted(table()) if not key.startswith("*")]
    return [
        *RULES,
        *SPECIAL,
        *((group.replace("*", "x"), kind) for kind, group in named),
        ("example.com", "Shop"),
    ]


WORDS = st.sampled_from(["True", "False", "Ready", "Running", "Failed", "Available", "a/b", "2/3", "9" * 400])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
NAMES = st.sampled_from(
    ["conditions", "type", "status", "reason", "message", "phase", "state", "parents", "listeners", "observedGeneration",
     "replicas", "updateStrategy", "rollingUpdate", "loadBalancer", "ingress", "nodeSets", "scale", "containerStatuses",
     "brokersState", "environments", "lastTransitionTime", "generation", "annotations", "finalizers", "suspend"]
) | st.text(max_size=5)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
)


@given(kind=st.sampled_from(_kinds()), metadata=VALUES, spec=VALUES, status=VALUES)
def test_no_value_of_an_object_makes_judging_raise(
    kind: tuple[str, str], metadata: Any, spec: Any, status: Any
) -> None:
    group, name = kind
    object = {"apiVersion": f"{group}/v1" if group else "v1", "kind": name}

    verdict = judge({**object, "metadata": metadata, "spec": spec, "status": status})

    assert verdict.health in Health
    assert verdict.reason


@pytest.mark.parametrize("object", [{}, {"kind": 3, "apiVersion": []}, {"metadata": None, "status": "Ready"}])
def test_what_is_hardly_an_object_is_judged_too(object: dict[str, Any]) -> None:
    assert judge(object).health is Health.HEALTHY


def test_a_number_that_python_would_not_print_does_not_break_judging() -> None:
    huge = {
        "observedGeneration": 1,
        "updatedReplicas": 10**5000,
        "replicas": 10**5000,
        "availableReplicas": 1,
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 10**5000},
        "status": huge,
    }

    assert judge(deployment).health in Health
