""".towline.yaml: what it means, and what is refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from towline.shared.errors import ConfigError, Problem
from towline.shared.team_config import TeamConfig, parse_team_config
from towline.shared.team_file import RenderWith, Rollback

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / ".towline.yaml"


def parse(text: str) -> TeamConfig:
    return parse_team_config(text.encode())


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def test_the_published_example_means_what_it_says() -> None:
    team = parse_team_config(EXAMPLE.read_bytes())

    orders, payments = team.services["orders"], team.services["payments"]
    assert team.discover == ("services/*",)
    assert orders.overlays == {"production": "services/orders/deploy/overlays/production"}
    assert (orders.substitute, orders.depends_on) == ({"REPLICAS": "3"}, ("payments",))
    assert (orders.timeout_seconds, orders.ignore_drift) == (180, ("/spec/replicas",))
    assert orders.rollback == Rollback(enabled=True, watch_seconds=600)
    assert (payments.render, payments.drift) == (RenderWith.HELM, "report")
    assert payments.values == ("values.yaml", "values-{environment}.yaml")
    assert team.groups == {"checkout": ("orders", "payments")}


def test_a_service_needs_a_path_only() -> None:
    entry = parse("services: {orders: {path: deploy}}").services["orders"]

    assert (entry.render, entry.values, entry.depends_on, entry.drift) == (None, (), (), None)
    assert (entry.timeout_seconds, entry.rollback) == (300, Rollback(enabled=True))


def test_an_empty_file_is_an_empty_configuration() -> None:
    assert parse("# nothing yet\n") == TeamConfig(services={}, discover=(), groups={}, config=None)


def test_services_may_be_discovered_and_named() -> None:
    team = parse('services: {discover: ["services/*"], orders: {path: deploy}}')

    assert (team.discover, list(team.services)) == (("services/*",), ["orders"])


def test_an_entry_can_be_written_as_json_for_its_digest() -> None:
    entry = parse("services: {orders: {path: deploy, rollback: {watch: 10m}}}").services["orders"]

    assert entry.model_dump(mode="json")["rollback"] == {"enabled": True, "watch_seconds": 600}


@pytest.mark.parametrize(("written", "enabled"), [("true", True), ("false", False)])
def test_rollback_may_be_switched(written: str, enabled: bool) -> None:
    entry = parse(f"services: {{a: {{path: a, rollback: {written}}}}}").services["a"]

    assert entry.rollback == Rollback(enabled=enabled)


@pytest.mark.parametrize(
    ("entry", "path", "message"),
    [
        ("{}", "services.a.path", "missing"),
        ("3", "services.a", "a mapping"),
        ("{path: ../x}", "services.a.path", "out of the repository"),
        ("{path: /x}", "services.a.path", "out of the repository"),
        ("{path: a/../../x}", "services.a.path", "out of the repository"),
        ('{path: "a\\nb"}', "services.a.path", "out of the repository"),
        ("{path: ''}", "services.a.path", "empty"),
        ("{pth: x, path: x}", "services.a.pth", "did you mean path?"),
        ("{path: x, render: kustomise}", "services.a.render", "did you mean kustomize?"),
        ("{path: x, values: values.yaml}", "services.a.values", "a list"),
        ("{path: x, values: [../v.yaml]}", "services.a.values.0", "out of the repository"),
        ("{path: x, overlays: {Prod: z}}", "services.a.overlays.Prod", "form"),
        ("{path: x, overlays: {prod: ../y}}", "services.a.overlays.prod", "out of the repository"),
        ("{path: x, substitute: {REPLICAS: 3}}", "services.a.substitute.REPLICAS", "in quotes"),
        ("{path: x, substitute: {A-B: '3'}}", "services.a.substitute.A-B", "form"),
        ("{path: x, depends_on: [b]}", "services.a.depends_on.0", "no service b"),
        ("{path: x, depends_on: [a]}", "services.a.depends_on", "a -> a"),
        ("{path: x, timeout: 5}", "services.a.timeout", "length of time"),
        ("{path: x, rollback: maybe}", "services.a.rollback", "not understood"),
        ("{path: x, rollback: {watch: often}}", "services.a.rollback", "not understood"),
        ("{path: x, drift: fix}", "services.a.drift", "not one of the names"),
        ("{path: x, ignore_drift: [spec]}", "services.a.ignore_drift.0", "form"),
        ("{path: x, health: {database: 'true'}}", "services.a.health.database", "form"),
        (
            "{path: x, health: {Database: self.x ==}}",
            "services.a.health.Database",
            "is no health rule: column",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path(entry: str, path: str, message: str) -> None:
    found = problems(f"services:\n  a: {entry}\n")

    assert [(p.path, p.line, message in p.message) for p in found] == [(path, 2, True)], found


def test_all_problems_come_in_one_answer() -> None:
    text = "services:\n  My_Shop: {path: ../x, timeuot: 5m}\n  b: {path: b, depends_on: [c]}\ngrups: {}\n"

    found = problems(text)

    assert [p.line for p in found] == [2, 2, 2, 3, 4]
    assert any(p.allowed and "my-shop" in p.allowed for p in found)


def test_a_circle_of_dependencies_is_named_with_its_way() -> None:
    text = "services:\n" + "".join(
        f"  {a}: {{path: x, depends_on: [{b}]}}\n"
        for a, b in (("a", "b"), ("b", "c"), ("c", "b"), ("d", "d"))
    )

    messages = [p.message for p in problems(text)]

    assert len(messages) == 2
    assert any("b -> c -> b" in m or "c -> b -> c" in m for m in messages)
    assert any("d -> d" in m for m in messages)


def test_the_way_of_a_circle_goes_from_who_waits_to_what_it_waits_for() -> None:
    (problem,) = problems(
        "services: {a: {path: x, depends_on: [b]}, b: {path: x, depends_on: [c]}, c: {path: x, depends_on: [a]}}"
    )

    assert any(way in problem.message for way in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"))


def test_a_long_chain_without_a_circle_is_fine() -> None:
    text = "services:\n" + "".join(f"  s{n}: {{path: x, depends_on: [s{n + 1}]}}\n" for n in range(3000))

    assert len(parse(text + "  s3000: {path: x}\n").services) == 3001


def test_members_of_groups_are_services() -> None:
    (problem,) = problems("services: {orders: {path: x}}\ngroups: {checkout: [order]}\n")

    assert (problem.path, "did you mean orders?" in problem.message) == ("groups.checkout.0", True)


def test_only_the_tree_knows_which_services_are_discovered() -> None:
    team = parse('services: {discover: ["s/*"], a: {path: x, depends_on: [b]}}\ngroups: {g: [c]}\n')

    assert team.services["a"].depends_on == ("b",)


@pytest.mark.parametrize(
    "text", ["[]", "services: []", "services: {discover: x}", "groups: {g: []}", "config: ../x"]
)
def test_a_file_of_another_form_is_refused(text: str) -> None:
    assert problems(text)
