"""How the demo tells its story: a line for what is done, one for what came of it, a table of how long it took.

In: what a step says, waits for and checks. Out: lines on a console, or DemoFailed with the state of all releases. State: the
time of the last push, and the timings so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from towline.demo.running import DemoFailed, Running

STEP_SECONDS = 30.0
POLL_SECONDS = 0.02

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a step took, from the push to what it waited for."""

    what: str
    seconds: float


class Telling:
    """See the head of the module."""

    def __init__(self, towline: Running, console: Console) -> None:
        self._towline = towline
        self._console = console
        self._timings: list[Timing] = []
        self._started = time.perf_counter()

    def say(self, text: str) -> None:
        """What the next step is about."""
        self._console.print(f"\n[bold]{text}[/bold]", soft_wrap=True)

    def show(self, text: str) -> None:
        """What Towline says of it, in its own words."""
        self._console.print(f"  [yellow]{escape(text)}[/yellow]", soft_wrap=True)

    def start(self, what: str) -> None:
        """Something happens now: the time until its result counts from here."""
        self._console.print(f"  {escape(what)}")
        self._started = time.perf_counter()

    def push(self, branch: str, message: str, changes: Mapping[str, str | None]) -> str:
        """Commit, push and call the webhook; returns the revision."""
        before, after = self._towline.repository.push(branch, message, changes)
        self._console.print(f"  git push origin {branch}   [dim]{after[:10]} {escape(message)}[/dim]")
        self.deliver(branch, before, after)
        return after

    def deliver(self, branch: str, before: str | None, after: str) -> str:
        """Call the webhook; returns the id of the delivery."""
        self._started = time.perf_counter()
        answer = self._towline.webhook(branch, before, after)
        if answer.code != 202:
            raise DemoFailed(f"the receiver answered {answer.code}: {answer.body}")
        jobs = ", ".join(answer.body["jobs"])
        self._console.print(f"  webhook: 202 in {answer.seconds * 1000:.1f} ms, job {jobs}")
        return str(answer.body["delivery"])

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until it is so, and note how long that took since the push."""
        deadline = time.monotonic() + STEP_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise DemoFailed(f"not within {STEP_SECONDS:.0f} s: {what}", hint=self._state())
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - self._started
        self._timings.append(Timing(what=what, seconds=seconds))
        self._console.print(f"  [green]✓[/green] {what} after {seconds:.2f} s")

    def check(self, holds: bool, what: str) -> None:
        """This must be so now."""
        if not holds:
            raise DemoFailed(f"this should hold and does not: {what}", hint=self._state())
        self._console.print(f"  [green]✓[/green] {what}", soft_wrap=True)

    def release(self, name: str) -> Json:
        """One release."""
        return self._towline.get(f"releases/{name}")

    def releases(self, environment: str) -> dict[str, Json]:
        """The releases of an environment by service."""
        found: Sequence[Json] = self._towline.get(f"releases?environment={environment}")["releases"]
        return {release["service"]: release for release in found}

    def table(self, environment: str) -> None:
        """Show them."""
        table = Table(box=None, padding=(0, 2))
        for column in ("release", "revision", "stable", "phase"):
            table.add_column(column)
        for service, release in sorted(self.releases(environment).items()):
            revisions = (release["revision"][:10], release["stableRevision"][:10])
            table.add_row(f"{environment}/{service}", *revisions, release["phase"])
        self._console.print(table)

    def summary(self) -> None:
        """What was measured."""
        table = Table(title="From the push to the result, on this machine", title_justify="left")
        table.add_column("step")
        table.add_column("seconds", justify="right")
        for timing in self._timings:
            table.add_row(timing.what, f"{timing.seconds:.3f}")
        self._console.print(table)

    def stay(self) -> None:
        """Leave it running for a look around."""
        self._console.print(
            f"\nLook around: [bold]{self._towline.url}/[/bold]  (RQ dashboard: {self._towline.url}/rq/)\n"
            f"Sign in with this token:\n\n{self._towline.token}\n\nCtrl-C ends it.",
            soft_wrap=True,
        )
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            self._console.print("Bye.")

    def _state(self) -> str:
        lines = [
            f"{name}: {one['phase']} at {one['revision'][:10]}: {one['error'] or one['message']}"
            for name, one in self.releases("staging").items()
        ]
        return "\n".join([*lines, *self._towline.log.read_text(errors="replace").splitlines()[-15:]])
