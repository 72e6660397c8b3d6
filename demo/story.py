"""The demo, told in steps: each says what it does, does it for real, and checks what came of it."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from towline.demo.repository import shop_files
from towline.demo.running import DemoFailed, Running, running
from towline.shared.errors import TowlineError

STEP_SECONDS = 30.0
POLL_SECONDS = 0.02
REAL_KUBECONFIG = Path(".cluster/kubeconfig")

PAYMENTS = "services/payments/payments.yaml"
CART = "services/cart/base/kustomization.yaml"
BASE = "base/deployment.yaml"

Json = dict[str, Any]


def tell(*, check: bool, cluster: str) -> int:
    """Go through the story; returns 0 when every step did what it should. Without `check` it stays up until Ctrl-C."""
    console = Console(highlight=False)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # so that everything is ended and removed
    kubeconfig = REAL_KUBECONFIG.absolute() if cluster == "real" else None
    with tempfile.TemporaryDirectory(prefix="towline-demo-") as folder:
        try:
            with running(Path(folder), kubeconfig=kubeconfig) as towline:
                story = Story(towline, console)
                story.run()
                story.summary()
                if not check:
                    story.stay()
        except TowlineError as error:
            console.print(f"\n[red]The demo failed:[/red] {error.message}\n{error.hint}")
            return 1
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a step took, from the webhook to what it waited for."""

    what: str
    seconds: float


class Story:
    """The steps, in order; each builds on the one before."""

    def __init__(self, towline: Running, console: Console) -> None:
        self._towline = towline
        self._console = console
        self._timings: list[Timing] = []

    def run(self) -> None:
        """Tell it."""
        self._install()
        self._production()
        self._change_one()
        self._nothing_twice()
        self._change_base()
        self._refuse()
        self._remove()

    def _install(self) -> None:
        self._say("A team pushes its shop: seven microservices, plain YAML and Kustomize mixed.")
        revision = self._push("main", "Open the shop", shop_files())
        self._wait("7 services installed in staging", lambda: self._at("staging", revision, 7))
        self._show("staging")

    def _production(self) -> None:
        self._say("The branch `release` is production: the same revision, with the overlays of production.")
        repository = self._towline.repository
        revision = repository.branch("release", at=self._revision("staging", "cart"))
        self._deliver("release", None, revision)
        self._wait("7 services installed in production", lambda: self._at("production", revision, 7))

    def _change_one(self) -> None:
        self._say("One service changes: only that one is rendered and applied.")
        text = self._towline.repository.read("main", CART).replace("1.9.2", "1.10.0")
        revision = self._push("main", "Cart 1.10.0", {CART: text})
        self._wait("1 of 7 services changed", lambda: self._at("staging", revision, 1))
        self._check(self._count("staging", revision) == 1, "only cart has the new revision")

    def _nothing_twice(self) -> None:
        self._say("The same delivery again, and the same push under another id: nothing changes.")
        tip = self._revision("staging", "cart")
        before = self._synced("staging")
        answer = self._towline.webhook("main", None, tip, delivery="sent-twice")
        again = self._towline.webhook("main", None, tip, delivery="sent-twice")
        self._check(again.body.get("reason") == "duplicate", f"the second answer is {again.code} duplicate")
        self._wait("a push that changes nothing", lambda: self._ended(answer.body["delivery"]))
        self._check(before == self._synced("staging"), "no release was touched")

    def _change_base(self) -> None:
        self._say("The shared base changes: exactly the four services that use it are synced.")
        text = self._towline.repository.read("main", BASE).replace("memory: 128Mi", "memory: 192Mi")
        revision = self._push("main", "More memory for everything on the base", {BASE: text})
        self._wait("4 of 7 services changed", lambda: self._at("staging", revision, 4))
        self._check(self._count("staging", revision) == 4, "frontend, payments and mailer were left alone")

    def _refuse(self) -> None:
        self._say("A bad commit: the selector of payments does not match its pods any more.")
        good = self._revision("staging", "payments")
        text = self._towline.repository.read("main", PAYMENTS)
        bad = text.replace(
            "      labels: {app.kubernetes.io/name: payments}",
            "      labels: {app.kubernetes.io/name: payment}",
        )
        revision = self._push("main", "Rename a label, but only half of it", {PAYMENTS: bad})
        self._wait("a bad commit refused", lambda: self._refused("staging", "payments", revision))
        release = self._towline.get("releases/staging/payments")
        self._console.print(f"  [yellow]{release['message'].splitlines()[0]}[/yellow]")
        self._check(release["revision"] == good, "nothing of it was written: payments runs as before")
        revision = self._push("main", "Put the label back", {PAYMENTS: text.replace("1.4.0", "1.4.1")})
        self._wait("the fix applied", lambda: self._at("staging", revision, 1))

    def _remove(self) -> None:
        self._say("A service leaves the repository: its objects go, and so does its release.")
        gone = self._towline.repository.paths("main", "services/mailer/")
        self._push("main", "Close the mailer", dict.fromkeys(gone))
        self._wait("a service removed", lambda: "mailer" not in self._releases("staging"))
        self._check(
            len(self._releases("staging")) == 6, "six services are left in staging, seven in production"
        )
        self._show("staging")

    def summary(self) -> None:
        """What was measured."""
        table = Table(title="From the webhook to the result, on this machine", title_justify="left")
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

    def _push(self, branch: str, message: str, changes: dict[str, str] | dict[str, str | None]) -> str:
        before, after = self._towline.repository.push(branch, message, dict(changes))
        self._console.print(f"  git push origin {branch}   [dim]{after[:10]} {message}[/dim]")
        self._deliver(branch, before, after)
        return after

    def _deliver(self, branch: str, before: str | None, after: str) -> None:
        self._started = time.perf_counter()
        answer = self._towline.webhook(branch, before, after)
        if answer.code != 202:
            raise DemoFailed(f"the receiver answered {answer.code}: {answer.body}")
        jobs = ", ".join(answer.body["jobs"])
        self._console.print(f"  webhook: 202 in {answer.seconds * 1000:.1f} ms, job {jobs}")

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise DemoFailed(f"not within {STEP_SECONDS:.0f} s: {what}", hint=self._state())
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - self._started
        self._timings.append(Timing(what=what, seconds=seconds))
        self._console.print(f"  [green]✓[/green] {what} after {seconds:.2f} s")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            raise DemoFailed(f"this should hold and does not: {what}", hint=self._state())
        self._console.print(f"  [green]✓[/green] {what}")

    def _state(self) -> str:
        lines = [f"{name}: {one}" for name, one in self._releases("staging").items()]
        return "\n".join([*lines, *self._towline.log.read_text(errors="replace").splitlines()[-15:]])

    def _releases(self, environment: str) -> dict[str, Json]:
        found: Sequence[Json] = self._towline.get(f"releases?environment={environment}")["releases"]
        return {release["service"]: release for release in found}

    def _revision(self, environment: str, service: str) -> str:
        return str(self._towline.get(f"releases/{environment}/{service}")["revision"])

    def _synced(self, environment: str) -> dict[str, object]:
        return {name: release["syncedAt"] for name, release in self._releases(environment).items()}

    def _count(self, environment: str, revision: str) -> int:
        return sum(release["revision"] == revision for release in self._releases(environment).values())

    def _at(self, environment: str, revision: str, count: int) -> bool:
        return self._count(environment, revision) >= count

    def _refused(self, environment: str, service: str, revision: str) -> bool:
        history = self._towline.get(f"releases/{environment}/{service}")["history"]
        return bool(history) and history[0]["revision"] == revision and history[0]["result"] == "refused"

    def _ended(self, delivery: str) -> bool:
        found = self._towline.get("deliveries")["deliveries"]
        return any(one["id"] == delivery and one["verdict"] == "succeeded" for one in found)

    def _say(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _show(self, environment: str) -> None:
        table = Table(box=None, padding=(0, 2))
        for column in ("release", "revision", "phase"):
            table.add_column(column)
        for service, release in sorted(self._releases(environment).items()):
            table.add_row(f"{environment}/{service}", release["revision"][:10], release["phase"])
        self._console.print(table)
