from collections.abc import Sequence

import pytest
from parts.trees import Content, Link, MemoryTree

from towline.shared.errors import ConfigError
from towline.worker.services import Renderer, Service, services_of, team_config_of

FILES: dict[str, Content] = {
    "services/orders/app.yaml": "kind: A",
    "services/web/kustomization.yaml": "resources: []",
    "services/chart/Chart.yaml": "name: chart",
    "services/_shared/base.yaml": "kind: A",
    "services/.hidden/app.yaml": "kind: A",
    "services/README.md": "text",
}


def services(
    files: dict[str, Content] | None = None,
    *,
    patterns: Sequence[str] = ("services/*",),
    team: str | None = None,
    environment: str = "staging",
    template: str | None = None,
) -> dict[str, Service]:
    content = {**(FILES if files is None else files), **({".towline.yaml": team} if team is not None else {})}
    tree = MemoryTree(content)
    return services_of(
        tree, team=team_config_of(tree), patterns=patterns, environment=environment, template=template
    )


def problem(service: Service) -> str:
    assert service.problem is not None
    return f"{service.problem.message} | {service.problem.hint}"


def test_services_are_found_by_pattern_with_their_renderers() -> None:
    found = services()
    assert {name: (s.path, s.renderer) for name, s in found.items()} == {
        "orders": ("services/orders", Renderer.PLAIN),
        "web": ("services/web", Renderer.KUSTOMIZE),
        "chart": ("services/chart", Renderer.HELM),
    }
    assert all(service.problem is None for service in found.values())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*", {"x": "a/x", "y": "a/y"}),
        ("a/*/deploy", {"x": "a/x/deploy", "y": "a/y/deploy"}),
        ("*/x", {"a": "a/x", "b": "b/x"}),
        ("a/x", {"x": "a/x"}),
        ("./a//x/", {"x": "a/x"}),
        ("a/[xz]", {"x": "a/x"}),
        ("a/?", {"x": "a/x", "y": "a/y"}),
        ("**/deploy", {"deploy": "a/x/deploy"}),
        ("b/**", {"x": "b/x"}),
        ("_c/*", {"z": "_c/z"}),
    ],
)
def test_what_patterns_match_and_how_services_are_called(pattern: str, expected: dict[str, str]) -> None:
    files: dict[str, Content] = {
        "a/x/deploy/1.yaml": "kind: A", "a/y/deploy/1.yaml": "kind: A", "b/x/1.yaml": "kind: A", "_c/z/1.yaml": "kind: A"
    }  # fmt: skip
    found = services(files, patterns=[pattern])
    assert {name: service.path for name, service in found.items()} == expected


def test_a_link_to_a_folder_matches_and_one_to_nowhere_does_not() -> None:
    found = services(
        {
            "services/a": Link("../x"),
            "x/a.yaml": "kind: A",
            "services/b": Link("/etc"),
            "services/c": Link("c"),
        }
    )
    assert list(found) == ["a"]


@pytest.mark.parametrize(
    "below", ["shared/orders", "shared/orders/overlays/staging"], ids=["kustomization", "overlay"]
)
def test_a_link_to_a_folder_renders_as_the_folder_does_and_both_are_found_out(below: str) -> None:
    tree = MemoryTree(
        {
            "services/orders": Link("../shared/orders"),
            f"{below}/kustomization.yaml": "resources: [app.yaml]",
            f"{below}/app.yaml": f"# so that no other test has this folder: {below}",
        }
    )

    for pattern in ("services/*", "shared/*"):
        (found,) = services_of(tree, team=None, patterns=[pattern], environment="staging").values()
        assert found.renderer is Renderer.KUSTOMIZE
        assert found.path.endswith(below.removeprefix("shared"))


def test_two_folders_of_one_name_make_a_service_that_fails_alone() -> None:
    # when
    files: dict[str, Content] = {"a/x/1.yaml": "kind: A", "b/x/1.yaml": "kind: A", "b/y/1.yaml": "kind: A"}
    found = services(files, patterns=["a/*", "b/*"])
    # then
    assert "a/x, b/x" in problem(found["x"])
    assert found["y"].problem is None


@pytest.mark.parametrize(
    ("folder", "label"), [("Orders_API", "orders-api"), ("..x", "x"), ("ä", "service"), ("A" * 80, "a" * 63)]
)
def test_a_folder_whose_name_no_release_can_have_gets_a_suggestion(folder: str, label: str) -> None:
    found = services({f"services/{folder}/a.yaml": "kind: A"}, patterns=["services/*", "services/.*"])
    assert list(found) == [label]
    assert f"rename the folder to {label}" in problem(found[label])


def test_a_suggested_name_never_takes_that_of_another_service() -> None:
    found = services({"services/Web/a.yaml": "kind: A", "services/web/a.yaml": "kind: A"})
    assert found["web"].problem is None
    assert len(found) == 2


def test_a_folder_with_two_renderers_asks_which() -> None:
    found = services({"services/a/Chart.yaml": "", "services/a/kustomization.yaml": ""})
    assert "say `render`" in problem(found["a"])


OVERLAYS: dict[str, Content] = {
    "services/a/base/kustomization.yaml": "resources: []",
    "services/a/overlays/staging/kustomization.yaml": "resources: [../../base]",
    "services/a/overlays/preview/kustomization.yml": "resources: [../../base]",
}


def test_an_overlay_in_the_folder_is_taken_by_the_environments_name() -> None:
    found = services(OVERLAYS)
    assert (found["a"].path, found["a"].renderer) == ("services/a/overlays/staging", Renderer.KUSTOMIZE)


def test_an_environment_made_from_a_template_takes_the_templates_overlay() -> None:
    found = services(OVERLAYS, environment="preview-fix-1", template="preview")
    assert found["a"].path == "services/a/overlays/preview"


def test_an_environment_without_an_overlay_is_told_what_there_is() -> None:
    found = services(OVERLAYS, environment="production")
    assert "overlays for preview, staging, and none for production" in problem(found["a"])


def test_a_folder_called_overlays_without_kustomizations_is_plain() -> None:
    assert services({"services/a/overlays/x.yaml": "kind: A"})["a"].renderer is Renderer.PLAIN


TEAM = """
services:
  discover: ["services/*"]
  orders:
    path: deploy/orders
    render: kustomize
    overlays: {production: deploy/orders-prod}
    values: [values.yaml, "values-{environment}.yaml"]
    substitute: {REPLICAS: "3"}
    depends_on: [web]
    timeout: 1m
"""
DEPLOY: dict[str, Content] = {
    **FILES, "deploy/orders/kustomization.yaml": "", "deploy/orders-prod/kustomization.yaml": ""
}  # fmt: skip


def test_a_declared_service_is_taken_as_said_and_stands_before_a_discovered_one() -> None:
    # when
    found = services(DEPLOY, team=TEAM)
    # then
    orders = found["orders"]
    assert list(found) == ["orders", "chart", "web"]
    assert (orders.path, orders.renderer, orders.entry.timeout_seconds) == (
        "deploy/orders",
        Renderer.KUSTOMIZE,
        60,
    )
    assert (orders.substitute, orders.depends_on) == ({"REPLICAS": "3"}, ("web",))
    assert orders.values == ("values.yaml", "values-staging.yaml")


def test_overlays_and_values_follow_the_environment_and_its_template() -> None:
    assert services(DEPLOY, team=TEAM, environment="production")["orders"].path == "deploy/orders-prod"
    made = services(DEPLOY, team=TEAM, environment="production-x", template="production")["orders"]
    assert made.path == "deploy/orders-prod"
    assert made.values[1] == "values-production.yaml"


def test_a_folder_that_is_declared_under_another_name_is_not_discovered_again() -> None:
    team = "services: {discover: ['services/*'], api: {path: services/orders}}"
    assert "orders" not in services(team=team)


@pytest.mark.parametrize(
    ("team", "name", "said"),
    [
        ("services: {a: {path: gone}}", "a", "gone does not exist"),
        ("services: {a: {path: out}}", "a", "leads out of the repository"),
        (
            "services: {discover: ['services/*'], a: {path: services/web, depends_on: [orders, b]}}",
            "a",
            "depends on b",
        ),
    ],
)
def test_a_declared_service_that_cannot_be_used_fails_alone(team: str, name: str, said: str) -> None:
    # when
    found = services({**FILES, "out": Link("../../etc")}, team=team)
    # then
    assert said in problem(found[name])
    assert all(service.problem is None for other, service in found.items() if other != name)


def test_the_root_or_one_file_can_be_a_service() -> None:
    found = services({"a.yaml": "kind: A"}, team="services: {all: {path: .}, one: {path: a.yaml}}")
    assert {name: s.path for name, s in found.items()} == {"all": "", "one": "a.yaml"}
    assert all(s.renderer is Renderer.PLAIN and s.problem is None for s in found.values())


def test_the_operators_patterns_count_where_the_team_names_no_services() -> None:
    assert set(services(team="groups: {}")) == {"orders", "web", "chart"}
    assert set(services(team="services: {discover: [services/web]}")) == {"web"}


def test_the_entry_digest_changes_with_the_entry_and_the_environment_only() -> None:
    # given
    first = services(DEPLOY, team=TEAM)["orders"].entry_digest
    # then
    assert services({**DEPLOY, "services/new/a.yaml": ""}, team=TEAM)["orders"].entry_digest == first
    assert services(DEPLOY, team=TEAM.replace('"3"', '"4"'))["orders"].entry_digest != first
    assert services(DEPLOY, team=TEAM, environment="other")["orders"].entry_digest != first


@pytest.mark.parametrize(
    ("files", "patterns", "said"),
    [
        ({"README.md": ""}, ["services/*"], "no service is found by services/*"),
        (FILES, [], "no service is found by any pattern"),
        (FILES, ["service/*"], "no service is found"),
        (FILES, ["../*"], "leads out of the repository"),
    ],
)
def test_a_list_that_cannot_be_trusted_is_an_error(
    files: dict[str, Content], patterns: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("*", r"\*")):
        services(files, patterns=patterns)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("services: [", "towline.yaml"),
        (Link("../outside"), "out of the repository"),
        (b"#" * (1024 * 1024 + 1), "1048577"),
    ],
)
def test_a_team_file_that_cannot_be_read_is_an_error(content: Content, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        team_config_of(MemoryTree({".towline.yaml": content}))


def test_a_team_file_may_be_missing_or_a_link() -> None:
    assert team_config_of(MemoryTree({"a": ""})) is None
    linked = team_config_of(
        MemoryTree({".towline.yaml": Link("conf/t.yaml"), "conf/t.yaml": "services: {a: {path: x}}"})
    )
    assert linked is not None
    assert set(linked.services) == {"a"}


def test_a_folder_in_place_of_the_team_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        team_config_of(MemoryTree({".towline.yaml/x": ""}))


def test_what_a_folder_is_is_remembered_by_its_id() -> None:
    # given
    services_of(MemoryTree(FILES), team=None, patterns=["services/*"], environment="staging")
    tree = MemoryTree(FILES)
    # when
    services_of(tree, team=None, patterns=["services/*"], environment="staging")
    # then: only the folder of the pattern was listed
    assert tree.listings == 1
