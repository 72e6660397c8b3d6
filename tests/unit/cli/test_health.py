"""`towline health`: verdicts for the objects in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from towline.cli.health import health

READY = '{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web}, status: {conditions: [{type: Ready, status: "True"}]}}'  # fmt: skip
PAUSED = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}, spec: {paused: true}}"
NEW = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: new}, spec: {replicas: 1}}"


def run(*arguments: str, text: str) -> Result:
    return CliRunner().invoke(health, list(arguments), input=text, standalone_mode=False)


def rows(text: str, *arguments: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run("--output", "json", *arguments, text=text).output)
    return found


def test_each_object_has_a_verdict_in_the_order_of_the_file() -> None:
    found = rows(f"{NEW}\n---\n{READY}\n---\n{PAUSED}\n")

    assert [(each["kind"], each["name"], each["health"]) for each in found] == [
        ("Deployment", "new", "progressing"),
        ("Certificate", "web", "healthy"),
        ("Deployment", "shop", "suspended"),
    ]
    assert list(found[0]) == ["kind", "name", "health", "reason"]
    assert all(each["reason"] for each in found)


@pytest.mark.parametrize(
    "text",
    [
        f"{{apiVersion: v1, kind: List, items: [{NEW}, {{kind: List, items: [{PAUSED}]}}]}}",
        '{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "new"}}, {"metadata": {"name": "shop"}, "spec": {"paused": true}}]}',
    ],
)  # fmt: skip
def test_lists_are_judged_object_by_object(text: str) -> None:
    assert [each["name"] for each in rows(text)] == ["new", "shop"]


@pytest.mark.parametrize(
    ("text", "code"), [(READY, 0), (f"{READY}\n---\n{PAUSED}", 0), (f"{READY}\n---\n{NEW}", 1)]
)
def test_the_exit_code_says_whether_all_are_settled(text: str, code: int) -> None:
    assert run(text=text).return_value == code


def test_a_table_shows_the_same() -> None:
    lines = run(text=NEW).output.splitlines()

    assert lines[0].split() == ["KIND", "NAME", "HEALTH", "REASON"]
    assert lines[2].split()[:3] == ["Deployment", "new", "progressing"]


@pytest.mark.parametrize(
    "text", ["", "just words", "{kind: 3}", "[1]", "a: [", "{apiVersion: v1, kind: List, items: []}"]
)
def test_what_holds_no_object_is_an_error(text: str) -> None:
    result = run(text=text)

    assert getattr(result.exception, "status", None) == 422


def test_the_rules_of_a_configuration_count(tmp_path: Path) -> None:
    config = tmp_path / "towline.yaml"
    config.write_text("health: {cert-manager.io/Certificate: \"'failed: by rule'\"}")

    [found] = rows(READY, "--config", str(config))

    assert (found["health"], found["reason"]) == ("failed", "by rule")
