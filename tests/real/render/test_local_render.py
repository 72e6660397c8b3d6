"""`towline render` as a person runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from towline.cli.local_render import render
from towline.shared.documents import load_documents
from towline.shared.errors import ConfigError, NotFound, RenderError

CONFIG = """
clusters: {local: {}}
environments: {staging: {cluster: local, namespace: shop}}
repositories:
- name: shop
  url: https://example.com/acme/shop.git
  webhook: {forge: github, secrets: [{env: SECRET}]}
  branches: {main: staging}
  services: ["services/*"]
"""
MAP = "# a comment\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  mode: 'on'\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in {
        "services/web/map.yaml": MAP,
        "services/empty/README.md": "",
        "towline.yaml": CONFIG,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(*arguments: str, **variables: str) -> str:
    result = CliRunner().invoke(
        render, [*arguments, "--environment", "staging"], standalone_mode=False, env=variables
    )
    if result.exception:
        raise result.exception
    assert result.return_value == 0
    return result.output


def test_the_objects_are_printed_as_yaml_with_their_places(checkout: Path) -> None:
    # when
    output = run("web", "--path", str(checkout), "--config", str(checkout / "towline.yaml"))
    # then
    assert "# services/web/map.yaml:2" in output
    assert [document.value for document in load_documents(output.encode(), file="output")] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"mode": "on"}}
    ]


def test_the_objects_are_printed_as_json(checkout: Path) -> None:
    [found] = json.loads(
        run("web", "--path", str(checkout), "-o", "json", TOWLINE_CONFIG=str(checkout / "towline.yaml"))
    )
    assert (found["file"], found["line"], found["object"]["kind"]) == (
        "services/web/map.yaml",
        2,
        "ConfigMap",
    )


def test_a_team_file_and_a_folder_need_no_configuration(checkout: Path) -> None:
    # given
    (checkout / "towline.yaml").unlink()
    by_folder = run("services/web/", "--path", str(checkout))
    (checkout / ".towline.yaml").write_text("services: {shop: {path: services/web}}")
    # then
    assert run("shop", "--path", str(checkout)) == by_folder


def test_kustomize_is_found_by_its_variable(checkout: Path, kustomize: Path) -> None:
    # given
    (checkout / "services/web/kustomization.yaml").write_text("resources: [map.yaml]\nnamePrefix: my-\n")
    # then
    assert "name: my-web" in run("services/web", "--path", str(checkout), TOWLINE_KUSTOMIZE=str(kustomize))


@pytest.mark.parametrize(
    ("service", "error", "said"),
    [
        ("wep", NotFound, "no service 'wep'"),
        ("../x", NotFound, "no service"),
        ("empty", RenderError, "renders no object"),
    ],
)
def test_what_cannot_be_rendered_is_an_error(
    service: str, error: type[Exception], said: str, checkout: Path
) -> None:
    with pytest.raises(error, match=said):
        run(service, "--path", str(checkout), "--config", str(checkout / "towline.yaml"))


def test_a_broken_team_file_is_an_error(checkout: Path) -> None:
    (checkout / ".towline.yaml").write_text("service: {}")
    with pytest.raises(ConfigError, match=r"towline\.yaml"):
        run("web", "--path", str(checkout))


@pytest.mark.parametrize("environment", ["stagin", "preview"])
def test_an_environment_that_the_operator_does_not_have_is_an_error(checkout: Path, environment: str) -> None:
    arguments = ["web", "--environment", environment, "--path", str(checkout)]
    variables = {"TOWLINE_CONFIG": str(checkout / "towline.yaml")}

    result = CliRunner().invoke(render, arguments, standalone_mode=False, env=variables)

    assert isinstance(result.exception, NotFound)
    assert environment in result.exception.message


def test_an_environment_made_of_a_template_is_known(checkout: Path) -> None:
    text = CONFIG.replace("shop}}", 'shop}, preview: {cluster: local, namespace: "p-{branch}"}}')
    (checkout / "towline.yaml").write_text(text)
    arguments = ["web", "--environment", "preview-login", "--path", str(checkout)]
    variables = {"TOWLINE_CONFIG": str(checkout / "towline.yaml")}

    result = CliRunner().invoke(render, arguments, standalone_mode=False, env=variables)

    assert result.exception is None
