"""`towline health`: how the engine judges the objects in a file, one verdict each; needs no server and no cluster.

In: what `kubectl get -o yaml|json` prints, or several of them in one stream; lists are expanded. Out: a table, or JSON.
The verdicts are those of the objects alone: a workload's pods, which say why it is not ready, are not in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import OUTPUT, print_json, print_table
from towline.shared.config import CONFIG_VARIABLE, load_config
from towline.shared.documents import Limits, load_documents
from towline.shared.errors import InvalidInput
from towline.shared.model import WELL, Object
from towline.worker.health.verdict import Verdict, judge

LIMITS = Limits(size_bytes=100 * 1024 * 1024, nodes=5_000_000)  # a dump of a whole namespace


@click.command(short_help="Judge the objects in a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help=f"The operator's file, for its health rules. {CONFIG_VARIABLE} is not looked at.",
)
@OUTPUT
def health(file: str, config: Path | None, output: str) -> int:
    """Show the health of each object in FILE (standard input when it is left out), and why, as the engine judges it.

    FILE is what `kubectl get -o yaml` or `-o json` prints. Exits 0 when all are healthy or suspended, 1 when one is
    not, 2 when FILE cannot be read.
    """
    rules = load_config(config).health if config is not None else {}
    with click.open_file(file, "rb") as stream:
        objects = objects_in(
            stream.read(LIMITS.size_bytes + 1), file="standard input" if file == "-" else file
        )
    verdicts = [(each, judge(each, rules=rules)) for each in objects]
    if output == "json":
        print_json([_row(object, verdict) for object, verdict in verdicts])
    else:
        rows = (_row(object, verdict) for object, verdict in verdicts)
        print_table(("KIND", "NAME", "HEALTH", "REASON"), (tuple(row.values()) for row in rows))
    return EXIT_OK if all(verdict.health in WELL for _, verdict in verdicts) else EXIT_NEGATIVE


def objects_in(data: bytes, *, file: str) -> list[Object]:
    """The objects of a stream, those of lists one by one; raises ConfigError or InvalidInput when there are none."""
    found = [
        each
        for document in load_documents(data, file=file, limits=LIMITS)
        for each in _expanded(document.value)
    ]
    if not found:
        raise InvalidInput(
            f"{file}: there is no object in it", hint="give it what `kubectl get -o yaml` prints"
        )
    return found


def _expanded(value: Any) -> Iterator[Object]:  # noqa: ANN401 - whatever a file holds
    if isinstance(value, list):
        for each in value:
            yield from _expanded(each)
    elif not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise InvalidInput(
            "a document is no Kubernetes object", hint="an object has an apiVersion and a kind"
        )
    elif value["kind"].endswith("List") and isinstance(value.get("items"), list):
        # Items of a typed list, as the API itself gives it, do not repeat their kind.
        own = {"apiVersion": value.get("apiVersion"), "kind": value["kind"].removesuffix("List")}
        for item in value["items"]:
            yield from _expanded({**own, **item} if isinstance(item, dict) and own["kind"] else item)
    else:
        yield value


def _row(object: Object, verdict: Verdict) -> Mapping[str, str]:
    metadata = object.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return {
        "kind": object["kind"],
        "name": name if isinstance(name, str) else "",
        "health": verdict.health.value,
        "reason": verdict.reason,
    }
