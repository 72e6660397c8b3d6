"""`towline diff`: what a sync of a local checkout would change in the cluster; writes nothing, needs no server.

In: a folder, the operator's configuration, the cluster of the environment. Out: a masked diff. The record of the release
says what it holds now; every object is compared, so that drift shows too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from towline.cli.local_render import find
from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import OUTPUT, plain, print_json
from towline.shared.cluster import connect
from towline.shared.config import Config, Environment, load_config
from towline.shared.model import ReleaseName
from towline.shared.records import Records
from towline.shared.release import Release
from towline.worker.diff import Difference, differences
from towline.worker.dry_run import dry_run
from towline.worker.hooks import divided, named
from towline.worker.inputs import inputs_of
from towline.worker.live import listing_of, prepare
from towline.worker.local_tree import LocalTree
from towline.worker.plan import Intent, Plan, make_plan
from towline.worker.policy import check
from towline.worker.render.programs import Programs
from towline.worker.render.render import render
from towline.worker.render.rendered import Rendered
from towline.worker.services import Service
from towline.worker.target import Target, target_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a sync would do."""

    release: ReleaseName
    plan: Plan
    differences: tuple[Difference, ...]


@click.command(short_help="Show what a sync of a local checkout would change.")
@click.argument("service")
@click.option("--environment", "-e", required=True, help="One of towline.yaml.")
@click.option(
    "--path",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The root of the checkout; else the current folder.",
)
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="The operator's file; else TOWLINE_CONFIG."
)
@click.option("--allow-prune", is_flag=True, help="Show also what deletes more than the limit allows.")
@OUTPUT
def diff(
    service: str, environment: str, path: Path, config: Path | None, allow_prune: bool, output: str
) -> int:
    """Compare SERVICE (its name, or a folder) of a local checkout with the cluster, by a dry run; Secrets are masked.

    Exits 0 when nothing would change, 1 when something would, 2 when that cannot be said or the sync would be refused.
    """
    configuration = load_config(config)
    where = configuration.environment(environment)
    found, rendered = _rendered(configuration, where, path, service)
    answer = _compare(configuration, where, found.name, rendered, allow_prune=allow_prune)
    if output == "json":
        print_json(_as_json(answer))
    else:
        _print(answer)
    return EXIT_NEGATIVE if answer.differences else EXIT_OK


def _rendered(
    config: Config, environment: Environment, path: Path, name: str
) -> tuple[Service, tuple[Rendered, ...]]:
    tree, programs = LocalTree(path), Programs.find()
    patterns = [pattern for repository in config.repositories for pattern in repository.services]
    service = find(tree, name, environment.name, patterns=patterns, template=environment.template)
    inputs = inputs_of(tree, service, environment=environment.name, programs=programs)
    return service, render(tree, service, inputs, environment=environment.name, programs=programs)


def _compare(
    config: Config,
    environment: Environment,
    service: str,
    rendered: tuple[Rendered, ...],
    *,
    allow_prune: bool,
) -> Answer:
    cluster = connect(config.clusters[environment.cluster], parallel=config.sync.requests_parallel)
    target = target_of(cluster, environment, service)
    name = ReleaseName(environment.name, service)
    release = Records(cluster).read(name, environment.namespace)
    plan = _plan(target, release, rendered, intent=Intent(full=True, allow_prune=allow_prune))
    return Answer(release=name, plan=plan, differences=differences(target, plan))


def _plan(target: Target, release: Release | None, rendered: tuple[Rendered, ...], *, intent: Intent) -> Plan:
    placed, _ = divided(check(named(rendered, ""), target.environment, target.cluster.resource))
    recorded = release.status.objects if release else ()
    survey = prepare(target, placed, recorded, intent=intent, listing=listing_of(release))
    plan = make_plan(
        placed, recorded, survey, environment=target.environment, set_id=target.set_id, intent=intent
    )
    return dry_run(target, plan, is_for_show=True)


def _as_json(answer: Answer) -> object:
    return {
        "release": str(answer.release),
        "changes": [
            {
                "object": str(one.key),
                "action": one.action,
                "diff": one.text,
                "taken_over": list(map(str, one.taken_over)),
            }
            for one in answer.differences
        ],
        "kept": [str(kept) for kept in answer.plan.keep],
    }


def _print(answer: Answer) -> None:
    for one in answer.differences:
        click.echo(plain(f"# {one.action} {one.key}"))
        click.echo(plain(one.text))
        for taken in one.taken_over:
            click.echo(plain(f"# {taken}"))
    for kept in answer.plan.keep:
        click.echo(plain(f"# kept: {kept}"))
    if not answer.differences:
        click.echo(f"{answer.release}: nothing to change")
