"""What follows a push: how fast a revision is found stable, a failing one is replaced, an operator is obeyed, drift healed.

    python bench/health.py [--repeat 20] [--verifying 1000]

Every time is taken from outside, between two events of watches on the cluster. Pods are kwok's: they become ready, or fail,
as tests/data/kwok says. With `--verifying` it also measures pushes while so many releases wait for pods that never get
ready. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import yaml
from events import Events, Seen
from figures import Figure, Report, Unit
from goals import BACK, HEALED, HELD, LOADED, OPERATOR, STABLE
from installation import Installation
from machine import machine
from parts.control_plane import ControlPlane
from parts.failing import FAILS, Fails, workload
from parts_of_a_run import parts_of_a_run

from towline.shared.model import Object

NAME = "cart"
PATH = f"services/{NAME}/app.yaml"
MAIN = "main"
WITHIN_SECONDS = 400.0


class Life:
    """One service that is pushed again and again, and the watches that tell what becomes of it."""

    def __init__(self, installation: Installation, plane: ControlPlane) -> None:
        self.installation, self.plane = installation, plane
        self.namespace = installation.namespaces[MAIN]
        self.version = 0
        self.push()
        installation.settle_health()
        self.pods = Events(plane, f"/api/v1/namespaces/{self.namespace}/pods")
        self.deployments = Events(plane, f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        self.releases = Events(plane, f"/apis/towline.dev/v1alpha1/namespaces/{self.namespace}/releases")

    def push(self, fails: Fails | None = None) -> tuple[float, str]:
        """Commit and push the next version; when it was sent, and the revision."""
        self.version += 1
        files = {PATH: yaml.safe_dump(deployment(NAME, self.version, fails))}
        revision = self.installation.origin.commit(files)
        sent, _ = self.installation.webhook(revision)
        return sent, revision

    def settle(self) -> None:
        """Wait until nothing is under way: first the jobs, which have releases judged, then those."""
        self.installation.settle(within=WITHIN_SECONDS)
        self.installation.settle_health(within=WITHIN_SECONDS)

    def ready_to_stable(self) -> float:
        """From the pod of a new revision ready to its Release saying that it is the stable one."""
        sent, revision = self.push()
        image = image_of(self.version)
        ready = self.pods.first("a ready pod", lambda seen: is_ready(seen, image), after=sent)
        stable = self.releases.first("stable", lambda seen: is_stable(seen, revision), after=sent)
        self.settle()
        return max(0.0, stable - ready)

    def failing_to_back(self) -> float:
        """From the first pod of a revision seen failing to the objects of the one before applied."""
        before = image_of(self.version)
        sent, _ = self.push(Fails.IMAGE)  # each another one: the same would be quarantined
        failing = self.pods.first("a failing pod", is_failing, after=sent)
        back = self.deployments.first("rolled back", lambda seen: has_image(seen, before), after=failing)
        self.settle()
        self.push()
        self.settle()
        return back - failing

    def manual(self) -> float:
        """From the call of an operator's rollback to the objects of the revision before applied."""
        self.push()
        self.settle()
        before = image_of(self.version - 1)
        called = time.perf_counter()
        code, answer = self._post(f"releases/{MAIN}/{NAME}/rollback", {"pin": False})
        if code != 202:
            raise RuntimeError(f"the rollback was answered {code}: {answer}")
        back = self.deployments.first("gone back", lambda seen: has_image(seen, before), after=called)
        self.settle()
        self.push()
        self.settle()
        return back - called

    def drift(self) -> float:
        """From a field changed by kubectl to the same field as it was."""
        # Or the fourth one in five minutes would be left alone.
        self.installation.towline.tools.broker.redis.delete(f"towline:repairs:{MAIN}/{NAME}")
        image = image_of(self.version)
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "elsewhere"}]}}}}
        began = time.perf_counter()
        self.plane.kubectl(
            *("-n", self.namespace, "patch", "deployment", NAME, "--field-manager", f"m{self.version}"),
            *("--patch", json.dumps(patch)),
        )
        changed = self.deployments.first("changed", lambda seen: not has_image(seen, image), after=began)
        healed = self.deployments.first("healed", lambda seen: has_image(seen, image), after=changed)
        self.installation.settle()
        return healed - changed

    def _post(self, path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        headers = {
            "Authorization": f"Bearer {self.installation.token}",
            "Content-Type": "application/json",
        }
        raw = json.dumps(body).encode()
        return self.installation.towline.get(f"/api/v1/{path}", body=raw, headers=headers)


def deployment(name: str, version: int, fails: Fails | None = None) -> Object:
    """A Deployment of one pod, which becomes ready unless it fails; its namespace is the environment's."""
    made = workload("", name, fails=fails)
    template = made["spec"]["template"]
    container = {**template["spec"]["containers"][0], "image": image_of(version)}
    template = {**template, "spec": {**template["spec"], "containers": [container]}}
    return {**made, "metadata": {"name": name}, "spec": {**made["spec"], "template": template}}


def image_of(version: int) -> str:
    """The image of a version."""
    return f"example.com/app:{version}"


def has_image(seen: Seen, image: str) -> bool:
    """Whether a Deployment's, or a pod's, container is of this image."""
    spec = seen.object["spec"]
    pod = spec.get("template", {}).get("spec") or spec
    return seen.object["metadata"]["name"].startswith(NAME) and pod["containers"][0]["image"] == image


def is_ready(seen: Seen, image: str) -> bool:
    """Whether this is a pod of the image that is ready."""
    conditions = seen.object["status"].get("conditions", [])
    return has_image(seen, image) and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def is_failing(seen: Seen) -> bool:
    """Whether the second try to pull the image of this pod has failed."""
    states = [one["state"].get("waiting", {}) for one in seen.object["status"].get("containerStatuses", [])]
    annotated = FAILS in seen.object["metadata"].get("annotations", {})
    return annotated and any(one.get("reason") == "ImagePullBackOff" for one in states)


def is_stable(seen: Seen, revision: str) -> bool:
    """Whether the Release says so."""
    return bool(seen.object.get("status", {}).get("stableRevision") == revision)


def under_load(installation: Installation, life: Life, count: int, repeat: int, report: Report) -> None:
    """Pushes of one service among `count` others: while those are healthy, and while they wait to become so."""
    installation.webhook(installation.origin.commit(others(count, replicas=0)))
    life.settle()
    idle = [applied(life) for _ in range(repeat)]
    installation.webhook(installation.origin.commit(others(count, replicas=1)))
    installation.settle(within=WITHIN_SECONDS)
    held: list[int] = []
    loaded = []
    for _ in range(repeat):
        time.sleep(1.0)  # not right behind the push before: what is sampled is the waiting
        held.append(len(installation.towline.busy()))
        loaded.append(applied(life))
    ratio = statistics.median(loaded) / statistics.median(idle)
    report.figures += [
        Figure(what="webhook to applied, others healthy", services=count, samples=tuple(idle)),
        Figure(what="webhook to applied, others verifying", services=count, samples=tuple(loaded)),
        Figure(what=LOADED, services=count, samples=(ratio,), unit=Unit.RATIO),
        Figure(what=HELD, services=count, samples=tuple(map(float, held)), unit=Unit.HELD),
    ]


def others(count: int, *, replicas: int) -> dict[str, str]:
    """Services whose pods never get ready, as long as they have one."""
    names = [f"never-{number:04d}" for number in range(count)]
    made = {name: deployment(name, 1, Fails.READY) for name in names}
    return {
        f"services/{name}/app.yaml": yaml.safe_dump({**one, "spec": {**one["spec"], "replicas": replicas}})
        for name, one in made.items()
    }


def applied(life: Life) -> float:
    """One push of the service, until its objects are applied."""
    sent, _ = life.push()
    image = image_of(life.version)
    at = life.deployments.first("applied", lambda seen: has_image(seen, image), after=sent)
    life.installation.settle()
    return at - sent


def measure(report: Report, *, repeat: int, verifying: int) -> None:
    """Every figure."""
    with parts_of_a_run() as (folder, plane, redis):
        installation = Installation(folder / "of", plane, redis, database=0, environments=[MAIN])
        try:
            life = Life(installation, plane)
            measures: list[tuple[str, Callable[[], float]]] = [
                (STABLE, life.ready_to_stable),
                (BACK, life.failing_to_back),
                (OPERATOR, life.manual),
                (HEALED, life.drift),
            ]
            for what, run in measures:
                samples = tuple(run() for _ in range(repeat))
                report.figures.append(Figure(what=what, services=1, samples=samples))
            if verifying:
                under_load(installation, life, verifying, repeat, report)
        finally:
            installation.close()


def main() -> int:
    """Run it; the parts end with this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=20, help="samples of each figure")
    parser.add_argument("--verifying", type=int, default=0, help="releases that wait meanwhile")
    asked = parser.parse_args()
    report = Report(machine=machine())
    measure(report, repeat=asked.repeat, verifying=asked.verifying)
    print(report.text())
    print(f"\nwritten to {report.write().relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
