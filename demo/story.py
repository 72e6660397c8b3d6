"""The demo, told in steps: each says what it does, does it for real, and checks what came of it."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from towline.demo.repository import shop_files
from towline.demo.running import Running, running
from towline.demo.telling import Json, Telling
from towline.shared.errors import TowlineError
from towline.shared.model import short

REAL_KUBECONFIG = Path(".cluster/kubeconfig")

PAYMENTS = "services/payments/payments.yaml"
CART = "services/cart/base/kustomization.yaml"
BASE = "base/deployment.yaml"


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
                telling = Telling(towline, console)
                Story(towline, telling).run()
                telling.summary()
                if not check:
                    telling.stay()
        except TowlineError as error:
            console.print(f"\n[red]The demo failed:[/red] {error.message}\n{error.hint}")
            return 1
    return 0


class Story:
    """The steps, in order; each builds on the one before."""

    def __init__(self, towline: Running, telling: Telling) -> None:
        self._towline = towline
        self._tell = telling

    def run(self) -> None:
        """Tell it."""
        self._install()
        self._production()
        self._change_one()
        self._nothing_twice()
        self._change_base()
        self._refuse()
        self.roll_back()
        self._fix()
        self._heal()
        self._remove()

    def _install(self) -> None:
        self._tell.say("A team pushes its shop: seven microservices, plain YAML and Kustomize mixed.")
        revision = self._tell.push("main", "Open the shop", shop_files())
        self._tell.wait("7 services installed in staging", lambda: self._at("staging", revision, 7))
        self._tell.wait("all their pods ready", lambda: self._all_healthy("staging"))
        self._tell.table("staging")

    def _production(self) -> None:
        self._tell.say("The branch `release` is production: the same revision, with production's overlays.")
        repository = self._towline.repository
        revision = repository.branch("release", at=self._revision("cart"))
        self._tell.deliver("release", None, revision)
        self._tell.wait("7 services installed in production", lambda: self._at("production", revision, 7))

    def _change_one(self) -> None:
        self._tell.say("One service changes: only that one is rendered and applied.")
        text = self._towline.repository.read("main", CART).replace("1.9.2", "1.10.0")
        revision = self._tell.push("main", "Cart 1.10.0", {CART: text})
        self._tell.wait("1 of 7 services changed", lambda: self._at("staging", revision, 1))
        self._tell.check(self._count("staging", revision) == 1, "only cart has the new revision")

    def _nothing_twice(self) -> None:
        self._tell.say("The same delivery again, and the same push under another id: nothing changes.")
        tip = self._revision("cart")
        before = self._synced()
        answer = self._towline.webhook("main", None, tip, delivery="sent-twice")
        again = self._towline.webhook("main", None, tip, delivery="sent-twice")
        self._tell.check(
            again.body.get("reason") == "duplicate", f"the second answer is {again.code} duplicate"
        )
        self._tell.wait("a push that changes nothing", lambda: self._ended(answer.body["delivery"]))
        self._tell.check(before == self._synced(), "no release was touched")

    def _change_base(self) -> None:
        self._tell.say("The shared base changes: exactly the four services that use it are synced.")
        text = self._towline.repository.read("main", BASE).replace("memory: 128Mi", "memory: 192Mi")
        revision = self._tell.push("main", "More memory for everything on the base", {BASE: text})
        self._tell.wait("4 of 7 services changed", lambda: self._at("staging", revision, 4))
        self._tell.check(
            self._count("staging", revision) == 4, "frontend, payments and mailer were left alone"
        )

    def _refuse(self) -> None:
        self._tell.say("A bad commit: the selector of payments does not match its pods any more.")
        good = self._revision("payments")
        text = self._towline.repository.read("main", PAYMENTS)
        bad = text.replace(
            "      labels: {app.kubernetes.io/name: payments}",
            "      labels: {app.kubernetes.io/name: payment}",
        )
        revision = self._tell.push("main", "Rename a label, but only half of it", {PAYMENTS: bad})
        self._tell.wait("a bad commit refused", lambda: self._refused("payments", revision))
        release = self._tell.release("staging/payments")
        self._tell.show(release["message"].splitlines()[0])
        self._tell.check(release["revision"] == good, "nothing of it was written: payments runs as before")
        fix = text.replace("1.4.0", "1.4.1")
        revision = self._tell.push("main", "Put the label back", {PAYMENTS: fix})
        self._tell.wait("the fix healthy", lambda: self._is_healthy("payments", revision))

    def roll_back(self) -> None:
        """A revision that no check can refuse, and that its pods show to be bad."""
        self._tell.say("A bad image: its tag ends with the letter O for a zero, and no registry has it.")
        good = self._revision("payments")
        text = self._towline.repository.read("main", PAYMENTS).replace("1.4.1", "1.5.O")
        bad = self._tell.push("main", "Payments 1.5.O", {PAYMENTS: text})
        self._tell.wait("the failing pod seen", lambda: self._quarantined() == bad)
        self._tell.show(str(self._tell.release("staging/payments")["quarantined"]["cause"]))
        self._tell.wait("payments rolled back", lambda: self._is("payments", "RolledBack"))
        release = self._tell.release("staging/payments")
        self._tell.check(
            release["revision"] == good and release["health"] == "healthy",
            f"{short(bad)} failed: the whole service is at {short(good)} again, its stable revision",
        )
        self._tell.check(":1.4.1" in self._image("payments"), "the cluster runs payments:1.4.1")
        again = self._tell.deliver("main", None, bad)
        self._tell.wait("the same commit again", lambda: self._ended(again))
        self._tell.check(
            self._revision("payments") == good and self._quarantined() == bad,
            f"it is quarantined: {short(bad)} is not applied a second time",
        )
        told = self._towline.get(f"repositories/shop/revisions/{bad}")
        words = [one["verdict"] for one in told["releases"]]
        self._tell.check(words == ["rolled back"], f"is {short(bad)} live? {words[0]}")

    def _fix(self) -> None:
        self._tell.say("The next commit fixes it: that ends the quarantine.")
        text = self._towline.repository.read("main", PAYMENTS).replace("1.5.O", "1.5.0")
        revision = self._tell.push("main", "Payments 1.5.0", {PAYMENTS: text})
        self._tell.wait("payments 1.5.0 healthy", lambda: self._is_healthy("payments", revision))
        self._tell.check(self._quarantined() == "", "nothing of payments is quarantined any more")

    def _heal(self) -> None:
        self._tell.say("Somebody edits an object by hand: it is put back.")
        namespace = self._tell.release("staging/frontend")["namespace"]
        cluster = self._towline.cluster
        resource = cluster.resource("apps/v1", "Deployment")
        self._tell.start("kubectl edit deployment frontend: 5 replicas instead of 2")
        patch = {"spec": {"replicas": 5}}
        cluster.merge_patch(resource, "frontend", namespace, patch, manager="kubectl-edit")
        self._tell.wait("drift healed", lambda: self._deployment("frontend")["spec"]["replicas"] == 2)
        self._tell.wait("an Event tells of it", lambda: bool(self._told(namespace, "DriftHealed")))
        self._tell.show(self._told(namespace, "DriftHealed"))

    def _remove(self) -> None:
        self._tell.say("A service leaves the repository: its objects go, and so does its release.")
        gone = self._towline.repository.paths("main", "services/mailer/")
        self._tell.push("main", "Close the mailer", dict.fromkeys(gone))
        self._tell.wait("a service removed", lambda: "mailer" not in self._tell.releases("staging"))
        self._tell.check(
            len(self._tell.releases("staging")) == 6, "six services are left in staging, seven in production"
        )
        self._tell.wait(
            "everything healthy", lambda: self._all_healthy("staging") and self._all_healthy("production")
        )
        self._tell.table("staging")

    def _revision(self, service: str) -> str:
        return str(self._tell.release(f"staging/{service}")["revision"])

    def _quarantined(self) -> str:
        found: Json | None = self._tell.release("staging/payments")["quarantined"]
        return str(found["revision"]) if found else ""

    def _is(self, service: str, phase: str) -> bool:
        return bool(self._tell.release(f"staging/{service}")["phase"] == phase)

    def _is_healthy(self, service: str, revision: str) -> bool:
        release = self._tell.release(f"staging/{service}")
        return bool(release["phase"] == "Healthy" and release["stableRevision"] == revision)

    def _all_healthy(self, environment: str) -> bool:
        return all(one["phase"] == "Healthy" for one in self._tell.releases(environment).values())

    def _synced(self) -> dict[str, object]:
        return {name: release["syncedAt"] for name, release in self._tell.releases("staging").items()}

    def _count(self, environment: str, revision: str) -> int:
        return sum(release["revision"] == revision for release in self._tell.releases(environment).values())

    def _at(self, environment: str, revision: str, count: int) -> bool:
        return self._count(environment, revision) >= count

    def _refused(self, service: str, revision: str) -> bool:
        history = self._tell.release(f"staging/{service}")["history"]
        return bool(history) and history[0]["revision"] == revision and history[0]["result"] == "refused"

    def _ended(self, delivery: str) -> bool:
        found = self._towline.get("deliveries")["deliveries"]
        return any(one["id"] == delivery and one["verdict"] == "succeeded" for one in found)

    def _deployment(self, service: str) -> Json:
        namespace = self._tell.release(f"staging/{service}")["namespace"]
        cluster = self._towline.cluster
        return cluster.get(cluster.resource("apps/v1", "Deployment"), service, namespace) or {}

    def _image(self, service: str) -> str:
        return str(self._deployment(service)["spec"]["template"]["spec"]["containers"][0]["image"])

    def _told(self, namespace: str, reason: str) -> str:
        """What the newest Event with this reason says, "" when there is none."""
        cluster = self._towline.cluster
        found = cluster.list(cluster.resource("v1", "Event"), namespace)
        return next((str(one["message"]) for one in reversed(found) if one["reason"] == reason), "")
