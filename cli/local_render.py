"""`towline render`: the objects of one service of a local checkout, as a sync would have them; needs no server.

In: a folder, and the operator's configuration where there is one. Out: YAML or JSON. Nothing is written, and no cluster
is asked: namespaces that the environment would fill in are not in it.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from towline.cli.main import EXIT_OK
from towline.shared.config import CONFIG_VARIABLE, FILE_NAME, Config, load_config
from towline.shared.documents import dump
from towline.shared.errors import NotFound
from towline.worker.inputs import inputs_of
from towline.worker.local_tree import LocalTree
from towline.worker.render.programs import Programs
from towline.worker.render.render import Rendered
from towline.worker.render.render import render as rendered_objects
from towline.worker.services import Service, services_of, team_config_of
from towline.worker.tree import Tree


@click.command(short_help="Render a service of a local checkout.")
@click.argument("service")
@click.option("--environment", "-e", required=True, help="Its overlay and values are taken.")
@click.option(
    "--path",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The root of the checkout; else the current folder.",
)
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help=f"The operator's file; else {CONFIG_VARIABLE}."
)
@click.option("--output", "-o", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def render(service: str, environment: str, path: Path, config: Path | None, output: str) -> int:
    """Print the objects that SERVICE of a local checkout renders into for one environment.

    SERVICE is a name of .towline.yaml, one that its patterns or the operator's find, or a folder.
    Exits 0 when it renders, 2 with every problem when it does not.
    """
    tree = LocalTree(path)
    operator = _operators(config)
    if operator is not None and not any(environment.startswith(f"{name}-") for name in operator.templates):
        operator.environment(environment)  # a typo would render without its overlay
    found = find(tree, service, environment, patterns=_patterns(operator))
    programs = Programs.find()
    inputs = inputs_of(tree, found, environment=environment, programs=programs)
    objects = rendered_objects(tree, found, inputs, environment=environment, programs=programs)
    click.echo(_as_json(objects) if output == "json" else _as_yaml(objects), nl=False)
    return EXIT_OK


def find(
    tree: Tree, name: str, environment: str, *, patterns: Sequence[str], template: str | None = None
) -> Service:
    """The service of this name, or the one that a folder of this name would be; raises NotFound."""
    team = team_config_of(tree)
    services: dict[str, Service] = {}
    if patterns or (team and (team.services or team.discover)):
        services = services_of(tree, team=team, patterns=patterns, environment=environment, template=template)
    if name in services:
        return services[name]
    folder = name.strip("/")
    entry = tree.entry(folder) if folder and ".." not in folder.split("/") else None
    if entry is not None:
        found = services_of(tree, team=None, patterns=[folder], environment=environment, template=template)
        [service] = found.values()
        return service
    near = difflib.get_close_matches(name, services, n=1)
    known = (
        f"there are: {', '.join(sorted(services))}"
        if services
        else "name it in .towline.yaml, or name its folder"
    )
    raise NotFound(f"there is no service {name!r}", hint=f"did you mean {near[0]}?" if near else known)


def _operators(config: Path | None) -> Config | None:
    """The operator's file, where there is one."""
    if config is None and CONFIG_VARIABLE not in os.environ and not Path(FILE_NAME).is_file():
        return None
    return load_config(config)


def _patterns(operator: Config | None) -> list[str]:
    """Those of all repositories in the operator's file: a checkout does not tell which it is."""
    if operator is None:
        return []
    return [pattern for repository in operator.repositories for pattern in repository.services]


def _as_yaml(objects: Sequence[Rendered]) -> str:
    return "".join(f"---\n# {rendered.place}\n{dump(rendered.object)}" for rendered in objects)


def _as_json(objects: Sequence[Rendered]) -> str:
    answer = [{"file": each.file, "line": each.line, "object": each.object} for each in objects]
    return json.dumps(answer, indent=2, ensure_ascii=True) + "\n"
