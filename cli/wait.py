"""`towline wait`: whether a commit is live, waited for; for people, and for the job of a CI that pushed it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from towline.cli.client import Client, Json
from towline.cli.length import LENGTH
from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import plain, print_json
from towline.cli.remote import asks_receiver
from towline.shared.errors import InvalidInput, Unavailable
from towline.shared.model import is_revision, short

ONE_WAIT_SECONDS = 5  # of a call: how long a change that is not final may stay unsaid
PAUSE_SECONDS = 1.0  # before the next call, where too many wait already or the receiver is away


@click.command(short_help="Wait until a commit is live.")
@click.argument("revision")
@click.option("--repository", "-r", help="Its name in towline.yaml; may be left out where there is only one.")
@click.option("--timeout", type=LENGTH, default="5m", show_default=True)
@asks_receiver
def wait(receiver: Client, revision: str, repository: str | None, timeout: int, output: str) -> int:
    """Wait until REVISION (a whole commit id) is live and healthy at every release that it changes.

    Exits 0 then; 1 as soon as one of them failed, was refused, rolled back, or when its branch is not deployed; 2 when that
    is not known in time. A commit of several that were pushed at once is live when the newest of them is, which contains it.
    """
    if not is_revision(revision.lower()):
        raise InvalidInput(f"{revision!r} is not a whole commit id", hint="`git rev-parse HEAD` prints it")
    watched = Watched(receiver, revision.lower(), quiet=output == "json")
    answer = watched.until_final(repository, seconds=timeout)
    if output == "json":
        print_json(answer)
    else:
        click.echo(_summary(answer))
    return EXIT_OK if answer["verdict"] == "live" else EXIT_NEGATIVE


class Watched:
    """A revision that is waited for; says what changes meanwhile."""

    def __init__(self, receiver: Client, revision: str, *, quiet: bool) -> None:
        self._receiver = receiver
        self._revision = revision
        self._quiet = quiet
        self._said: dict[str, str] = {}
        self._is_first = True

    def until_final(self, repository: str | None, *, seconds: int) -> Json:
        """The final answer; raises Unavailable when there is none in time."""
        ends, last = time.monotonic() + seconds, "nothing is known of it"
        while (left := ends - time.monotonic()) > 0:
            is_first, started = self._is_first, time.monotonic()
            try:
                repository = repository or self._only_repository()
                if repository is not None:
                    answer = self._ask(repository, left)
                    if answer["final"]:
                        return answer
                    last = _summary(answer)
            except Unavailable as error:
                self._say("receiver", str(error))
            if time.monotonic() - started < PAUSE_SECONDS and is_first == self._is_first:
                time.sleep(min(PAUSE_SECONDS, max(0.0, ends - time.monotonic())))
        raise Unavailable(
            f"not decided after {seconds} s: {last}", hint="`towline status` shows every release"
        )

    def _ask(self, repository: str, left: float) -> Json:
        seconds = max(1, min(ONE_WAIT_SECONDS, int(left)))
        answer = self._receiver.get(
            "repositories",
            repository,
            "revisions",
            self._revision,
            wait=None if self._is_first else f"{seconds}s",  # first of all say where it stands
        )
        self._is_first = False
        for each in answer["releases"]:
            self._say(f"{each['environment']}/{each['service']}", _line(each))
        if not answer["releases"] and answer["message"]:
            self._say(short(self._revision), answer["message"])
        return answer

    def _only_repository(self) -> str | None:
        """The repository of all releases; None while there are none."""
        releases = self._receiver.get("releases")["releases"]
        names = sorted({each["repository"] for each in releases if each["repository"]})
        if len(names) > 1:
            raise InvalidInput(
                f"there are several repositories: {', '.join(names)}", hint="name one with --repository"
            )
        return names[0] if names else None

    def _say(self, about: str, text: str) -> None:
        is_news, self._said[about] = self._said.get(about) != text, text
        if is_news and not self._quiet:
            click.echo(f"{about}: {plain(text)}")


def _line(each: Mapping[str, str]) -> str:
    verdict = each["verdict"]
    if each["supersededBy"]:
        verdict += f" by {short(each['supersededBy'])}, {each['supersededByVerdict'] or 'not known yet'}"
    return f"{verdict} ({each['message']})" if each["message"] else verdict


def _summary(answer: Json) -> str:
    revision, releases = short(answer["revision"]), answer["releases"]
    if not releases:
        is_live = answer["verdict"] == "live"
        return f"{revision}: {'live: it changes no release' if is_live else plain(answer['message'])}"
    live = sum(each["live"] for each in releases)
    return f"{revision}: {answer['verdict']}, {live} of {len(releases)} releases live"
