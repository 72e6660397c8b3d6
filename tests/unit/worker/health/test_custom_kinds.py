"""The rules of custom kinds, against states written down in data/health_states.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.custom_objects import condition, custom

from towline.shared.model import Health
from towline.worker.health.rule_table import rule_for, table
from towline.worker.health.verdict import has_health, judge

STATES = yaml.safe_load((Path(__file__).parents[3] / "data" / "health_states.yaml").read_text())
CASES = [
    pytest.param(kind, health, state, id=f"{kind}-{health}-{number}")
    for kind, healths in STATES.items()
    for health, states in healths.items()
    for number, state in enumerate(states)
]


@pytest.mark.parametrize(("kind", "health", "state"), CASES)
def test_a_custom_object_is_judged_by_the_rule_of_its_kind(
    kind: str, health: str, state: dict[str, Any]
) -> None:
    verdict = judge(custom(kind, state))

    assert (verdict.health, bool(verdict.reason)) == (Health(health), True), verdict.reason


def test_a_kind_is_matched_in_every_version_and_a_named_one_before_a_pattern() -> None:
    managed = {
        "apiVersion": "s3.aws.upbound.io/v1beta2",
        "kind": "Bucket",
        "status": {"conditions": [condition("Ready=True")]},
    }

    assert judge(managed).health is Health.HEALTHY
    assert rule_for("aws.upbound.io", "ProviderConfig") is not rule_for("aws.upbound.io", "Bucket")
    assert rule_for("rabbitmq.com", "RabbitmqCluster") is not rule_for("rabbitmq.com", "Queue")


def test_a_condition_of_an_older_generation_says_nothing() -> None:
    stale = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"generation": 2},
        "status": {"conditions": [condition("Ready=True", observedGeneration=1)]},
    }

    assert judge(stale).health is Health.PROGRESSING


def test_a_reason_shows_what_the_object_says_of_itself() -> None:
    refused = custom("Certificate.cert-manager.io", {"conditions": ["Ready=False NoIssuer: no such issuer"]})
    stopped = custom(
        "ClusterServiceVersion.operators.coreos.com",
        {"status": {"phase": "Failed", "reason": "Bad", "message": "no"}},
    )
    running = custom("Order.acme.cert-manager.io", {"status": {"state": "valid"}})

    assert judge(refused).reason == "NoIssuer: no such issuer"
    assert judge(stopped).reason == "Bad: no"
    assert judge(running).reason == "state is valid"


def test_every_rule_is_of_the_form_and_every_kind_of_it_has_health() -> None:
    assert len(table()) > 500
    assert all(has_health(key.partition(".")[2], key.partition(".")[0]) for key in table() if "*" not in key)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "Role"),
        ("networking.k8s.io", "NetworkPolicy"),
    ],
)
def test_kinds_that_only_exist_are_not_read_for_their_health(group: str, kind: str) -> None:
    assert not has_health(group, kind)
    assert has_health(group, kind, rules={f"{group}/{kind}" if group else kind: "true"})


def test_a_custom_kind_without_a_rule_may_have_health() -> None:
    assert has_health("shop.example.com", "Order")
