"""The commands that ask a running receiver: status, history, deliveries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from towline.cli.client import Client, Json, client
from towline.cli.output import OUTPUT, ago, plain, print_facts, print_json, print_table
from towline.shared.model import ReleaseName, short

Command = Callable[..., int | None]


def asks_receiver(command: Command) -> Command:
    """Adds the options that say where the receiver is, and hands the command a client for it."""

    @click.option("--url", help="The receiver's address; TOWLINE_URL, or this machine's own.")
    @click.option("--config", "-c", type=click.Path(path_type=Path), help="towline.yaml of this machine.")
    @OUTPUT
    @functools.wraps(command)
    def with_client(*, url: str | None, config: Path | None, **given: object) -> int | None:
        return command(client(url, config), **given)

    return with_client


@click.command()
@click.argument("release", required=False)
@click.option("--environment", "-e", help="Only this environment.")
@click.option("--service", "-s", help="Only this service.")
@click.option("--phase", help="Only this phase, like Healthy or Failed.")
@asks_receiver
def status(
    receiver: Client,
    release: str | None,
    environment: str | None,
    service: str | None,
    phase: str | None,
    output: str,
) -> None:
    """Show releases, or one RELEASE (environment/service) with its history."""
    if release:
        name = ReleaseName.parse(release)
        _print(receiver.get("releases", name.environment, name.service), _show_release, output)
    else:
        answer = receiver.get("releases", environment=environment, service=service, phase=phase)
        _print(answer, _show_releases, output)


@click.command()
@click.argument("release")
@asks_receiver
def history(receiver: Client, release: str, output: str) -> None:
    """Show every attempt at a RELEASE (environment/service) that is kept, the newest first, with all that is known of it."""
    name = ReleaseName.parse(release)
    found = receiver.get("releases", name.environment, name.service)["history"]
    _print({"release": str(name), "history": found}, _show_history, output)


@click.command()
@click.option("--repository", "-r", help="Only this repository.")
@click.option("--verdict", help="Only these: accepted, succeeded, failed, ignored or refused.")
@click.option("--limit", default=50, show_default=True, help="The newest ones.")
@click.option("--before", help="Older ones: what an earlier answer gave as next.")
@click.option("--redeliver", metavar="ID", help="Enqueue the pushes of this delivery again instead.")
@asks_receiver
def deliveries(
    receiver: Client, redeliver: str | None, limit: int, output: str, **narrowed: str | None
) -> None:
    """Show webhook deliveries and what came of them."""
    if redeliver:
        _print(receiver.post("deliveries", redeliver, "redeliver"), _show_redelivery, output)
    else:
        answer = receiver.get("deliveries", limit=str(limit), **narrowed)
        _print(answer, _show_deliveries, output)


def _print(answer: Json, show: Callable[[Json], None], output: str) -> None:
    if output == "json":
        print_json(answer)
    else:
        show(answer)


def _show_releases(answer: Json) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            f"{each['environment']}/{each['service']}",
            each["phase"],
            each["health"],
            short(each["revision"]),
            short(each["stableRevision"]),
            ago(each["syncedAt"], now=now),
            (f"pinned to {short(each['pinned'])}; " if each["pinned"] else "")
            + (each["error"] or "; ".join([each["message"], *_drift(each)])),
        )
        for each in answer["releases"]
    ]
    if rows:
        print_table(("RELEASE", "PHASE", "HEALTH", "REVISION", "STABLE", "SYNCED", "MESSAGE"), rows)
    else:
        click.echo("no releases")


def _drift(release: Json) -> list[str]:
    """That objects differ from what was applied, for one line of a table."""
    count = len(release["drift"])
    return [f"{count} {'object differs' if count == 1 else 'objects differ'}"] if count else []


def _show_release(release: Json) -> None:
    now = datetime.now(UTC)
    print_facts(
        [
            ("release", f"{release['environment']}/{release['service']}"),
            ("phase", release["phase"]),
            ("health", release["health"]),
            ("message", release["message"]),
            ("error", release["error"]),
            *(("drift", line) for line in release["drift"]),
            ("revision", release["revision"]),
            ("stable", release["stableRevision"]),
            ("pinned", release["pinned"]),
            ("quarantined", (release["quarantined"] or {}).get("revision", "")),
            ("repository", f"{release['repository']} {release['ref']}"),
            ("namespace", f"{release['namespace']} on {release['cluster']}"),
            ("synced", ago(release["syncedAt"], now=now)),
        ]
    )
    if release["history"]:
        rows = [
            (
                ago(each["startedAt"], now=now),
                short(each["revision"]),
                each["result"],
                each["triggeredBy"] or each["trigger"] or "",
                f"{sum(each['stages'].values()):.3f}",
                each["cause"],
            )
            for each in release["history"]
        ]
        click.echo()
        print_table(("STARTED", "REVISION", "RESULT", "TRIGGER", "SECONDS", "CAUSE"), rows)


def _show_history(answer: Json) -> None:
    now = datetime.now(UTC)
    for number, each in enumerate(answer["history"]):
        if number:
            click.echo()
        click.echo(plain("\n".join(_attempt(each, now=now))))
    if not answer["history"]:
        click.echo("nothing is recorded yet")


def _attempt(each: Json, *, now: datetime) -> list[str]:
    """One attempt in lines; those with nothing to say are left out."""
    who = " ".join(word for word in (each["trigger"], each["triggeredBy"]) if word)
    facts = [
        ("commit", f"{each['subject']} ({each['author']})" if each["subject"] or each["author"] else ""),
        ("ref", each["ref"]),
        ("by", who),
        ("cause", each["cause"]),
        ("received", each["receivedAt"] or ""),
        ("stages", ", ".join(f"{name} {seconds:.3f} s" for name, seconds in each["stages"].items())),
        ("objects", ", ".join(f"{each[kind]} {kind}" for kind in ("created", "changed", "left", "pruned"))),
        *_failure(each["failure"] or {}),
        *(("note", note) for note in each["notes"]),
        *(("log", line) for line in each["logs"]),
    ]
    head = f"{short(each['revision'])}  {each['result']}  {ago(each['startedAt'], now=now)}"
    return [head, *(f"    {name:<8}  {text}" for name, text in facts if text)]


def _failure(failure: Json) -> list[tuple[str, str]]:
    """What was seen of a revision that failed; nothing where its cause says it all."""
    if not failure:
        return []
    code = failure["exitCode"]
    where = f"{failure['object']} {failure['container']}".strip()
    what = failure["reason"] + (f", exit code {code}" if code is not None else "")
    events = [("event", event) for event in failure["events"]]
    return [("failed", ": ".join(word for word in (where, what) if word)), *events]


def _show_redelivery(answer: Json) -> None:
    click.echo(f"enqueued as {', '.join(answer['jobs'])}")


def _show_deliveries(answer: Json) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            ago(each["receivedAt"], now=now),
            each["id"],
            each["repository"],
            each["event"],
            ", ".join(push["ref"].removeprefix("refs/heads/") for push in each["pushes"]),
            each["verdict"],
            "; ".join([each["reason"], *(result["text"] for result in each["results"])]).strip("; "),
        )
        for each in answer["deliveries"]
    ]
    if rows:
        print_table(("RECEIVED", "ID", "REPOSITORY", "EVENT", "REF", "VERDICT", "WHY"), rows)
    else:
        click.echo("no deliveries")
    if answer["next"]:
        click.echo(f"older ones: --before {answer['next']}", err=True)
