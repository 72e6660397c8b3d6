"""The commands by which an operator moves or holds one release: sync, rollback, pin, unpin, suspend, resume.

Each asks the receiver for a job and says what follows from it. With `--wait` the outcome is waited for: exit code 0 when the
release is healthy there, 1 when the attempt ended otherwise, 2 when that is not known in time.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import datetime

import click

from towline.cli.client import Client, Json
from towline.cli.length import LENGTH
from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import plain, print_json
from towline.cli.remote import asks_receiver
from towline.shared.errors import Unavailable
from towline.shared.model import ReleaseName, Result, short

POLL_SECONDS = 0.3
SAME_SECONDS = 0.002  # the answer tells the time of a request in milliseconds, the history in microseconds
AGAIN = "to be tried again"  # how an error starts that is not the end of an attempt
GOOD = (Result.HEALTHY, Result.REMOVED)

Command = Callable[..., int | None]


def may_wait(command: Command) -> Command:
    """Adds `--wait` and `--timeout`, and hands the command the seconds to wait, None without `--wait`."""

    @click.option("--wait", is_flag=True, help="Wait until the release is healthy there, or is not.")
    @click.option("--timeout", type=LENGTH, default="5m", show_default=True, help="For --wait.")
    @functools.wraps(command)
    def with_seconds(*, wait: bool, timeout: int, **given: object) -> int | None:
        return command(seconds=timeout if wait else None, **given)

    return with_seconds


@click.command()
@click.argument("release")
@click.option("--revision", help="A commit id, or the first 7 digits or more of one that the release knows.")
@click.option("--allow-prune", is_flag=True, help="Allow a prune above the environment's limit, once.")
@may_wait
@asks_receiver
def sync(
    receiver: Client,
    release: str,
    revision: str | None,
    allow_prune: bool,
    output: str,
    seconds: int | None,
) -> int:
    """Sync a RELEASE (environment/service) now: to the tip of its branch, or to --revision."""
    body: Json = {"allowPrune": allow_prune}
    if revision is not None:
        body["revision"] = revision
    return _told(receiver, release, "sync", body, output, seconds)


@click.command()
@click.argument("release")
@click.option(
    "--to", "revision", help="Left out: the revision that was stable before. Else as sync --revision."
)
@click.option("--no-pin", is_flag=True, help="Let the next push move it on.")
@may_wait
@asks_receiver
def rollback(
    receiver: Client, release: str, revision: str | None, no_pin: bool, output: str, seconds: int | None
) -> int:
    """Bring a RELEASE (environment/service) back, and pin it there.

    A stored revision needs no Git; another one is rendered again.
    """
    body: Json = {"pin": not no_pin}
    if revision is not None:
        body["revision"] = revision
    return _told(receiver, release, "rollback", body, output, seconds)


@click.command()
@click.argument("release")
@click.option("--revision", help="Left out: where the release is now. Else as sync --revision.")
@asks_receiver
def pin(receiver: Client, release: str, revision: str | None, output: str) -> int:
    """Keep a RELEASE (environment/service) at a revision, whatever is pushed."""
    return _told(receiver, release, "pin", {"revision": revision} if revision else {}, output)


@click.command()
@click.argument("release")
@asks_receiver
def unpin(receiver: Client, release: str, output: str) -> int:
    """Have a RELEASE (environment/service) follow its branch again."""
    return _told(receiver, release, "unpin", {}, output)


@click.command()
@click.argument("release")
@asks_receiver
def suspend(receiver: Client, release: str, output: str) -> int:
    """Leave a RELEASE (environment/service) alone: no sync, no rollback, until it is resumed."""
    return _told(receiver, release, "suspend", {}, output)


@click.command()
@click.argument("release")
@asks_receiver
def resume(receiver: Client, release: str, output: str) -> int:
    """Look after a RELEASE (environment/service) again, and after what was pushed meanwhile."""
    return _told(receiver, release, "resume", {}, output)


def _told(
    receiver: Client, release: str, word: str, body: Json, output: str, seconds: int | None = None
) -> int:
    """Ask for the job, say what follows and, with `seconds`, wait for its outcome."""
    name = ReleaseName.parse(release)
    answer = receiver.post("releases", name.environment, name.service, word, body=body)
    if output == "table":
        click.echo(f"{name}: {plain(answer['message'])} (job {answer['job']})")
    if seconds is not None:
        end = _awaited(receiver, name, datetime.fromisoformat(answer["receivedAt"]), seconds=seconds)
        answer |= {"result": end["result"], "cause": end["cause"], "revision": end["revision"]}
        if output == "table":
            why = f": {plain(end['cause'])}" if end["cause"] else ""
            click.echo(f"{name}: {end['result']} at {short(end['revision'])}{why}")
    if output == "json":
        print_json(answer)
    return EXIT_OK if seconds is None or answer["result"] in GOOD else EXIT_NEGATIVE


def _awaited(receiver: Client, name: ReleaseName, asked: datetime, *, seconds: int) -> Json:
    """How the attempt that was asked for at this time ended; raises Unavailable when that is not known in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            found = end_of(receiver.get("releases", name.environment, name.service), asked)
        except Unavailable:
            found = None  # a receiver that is started again
        if found is not None:
            return found
        time.sleep(POLL_SECONDS)
    raise Unavailable(
        f"{name}: how it ended is not known after {seconds} s", hint="`towline status` shows where it stands"
    )


def end_of(release: Json, asked: datetime) -> Json | None:
    """The outcome of the attempt that was asked for then, None while it is not known. Pure."""
    later = None
    for entry in release["history"]:
        since = _seconds(entry["receivedAt"], asked)
        if since is not None and abs(since) < SAME_SECONDS:
            return None if entry["result"] == Result.SYNCED else entry
        if since is not None and since > 0:
            later = entry
    if later is not None:
        cause = f"{short(later['revision'])} was wanted before its turn came"
        return {"result": Result.SUPERSEDED, "cause": cause, "revision": later["revision"]}
    error, since = release["error"], _seconds(release["updatedAt"], asked)
    if error and not error.startswith(AGAIN) and since is not None and since > -SAME_SECONDS:
        return {"result": Result.FAILED, "cause": error, "revision": release["revision"]}
    return None


def _seconds(moment: str | None, asked: datetime) -> float | None:
    try:
        return (datetime.fromisoformat(moment or "") - asked).total_seconds()
    except ValueError:
        return None
