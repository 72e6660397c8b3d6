"""Two hosts with workers and a watcher each: the active watcher is lost at each moment, and every release is concluded once.

One installation for all; each test has a branch with two services that become healthy and two that fail. Their pods wait
until a node has a label, so that a test says when they begin to run or to fail.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import yaml
from parts.control_plane import ControlPlane
from parts.eventually import eventually
from parts.failing import FAILS, Fails
from parts.manifests import config_map, deployment
from parts.processes import Process
from parts.towline import Towline

from towline.shared.model import Phase, Result
from towline.shared.queue import OUTBOX
from towline.worker.election import LEASE, LEASE_NAME

ROOM = "tests.towline.dev/two-of-each"
SOON_SECONDS = 20
AGAIN_SECONDS = 45  # 15 s until another watcher has the Lease, and what it lists then


@dataclass
class Hosts:
    """Two of each, and who of the watchers is active."""

    towline: Towline
    watchers: dict[int, Process] = field(default_factory=dict)
    number: int = 0

    def start_watcher(self) -> None:
        self.number += 1
        process = self.towline.start("watcher", name=f"watcher-{self.number}")
        self.watchers[process.pid] = process

    @property
    def active(self) -> Process:
        """The watcher that has the Lease."""
        place = self.towline.config.environment("staging")
        lease = self.towline.tools.cluster(place).get(LEASE, LEASE_NAME, place.namespace)
        assert lease is not None
        return self.watchers[int(str(lease["spec"]["holderIdentity"]).split("-")[-2])]

    def kill_active(self) -> None:
        """It is gone, and a new one is a candidate."""
        active = eventually(lambda: self.active, within=SOON_SECONDS)
        del self.watchers[active.pid]
        active.kill()
        self.start_watcher()


@pytest.fixture(scope="module")
def hosts(shared_installation: Towline) -> Hosts:
    """All running."""
    hosts = Hosts(shared_installation)
    for host in ("worker-1", "worker-2"):
        shared_installation.start("worker", name=host)
    shared_installation.start("clock")
    for _ in range(2):
        hosts.start_watcher()
    return hosts


@dataclass(frozen=True)
class Pushed:
    """Four releases on a branch."""

    hosts: Hosts
    plane: ControlPlane
    branch: str

    @property
    def well(self) -> list[str]:
        return [f"{self.branch}-{name}" for name in ("a", "b")]

    @property
    def bad(self) -> list[str]:
        return [f"{self.branch}-{name}" for name in ("x", "y")]

    def push(self, texts: dict[str, str]) -> str:
        """Commit and deliver these services."""
        towline = self.hosts.towline
        files = {f"services/{name}/app.yaml": text for name, text in texts.items()}
        revision = towline.origin.commit(files, branch=self.branch)
        towline.deliver(revision, branch=self.branch)
        return revision

    def install(self) -> str:
        """A first revision that is stable."""
        revision = self.push({name: config_map(name) for name in (*self.well, *self.bad)})
        self.come_to({name: (Phase.HEALTHY, revision) for name in (*self.well, *self.bad)})
        return revision

    def change(self) -> str:
        """A second one that waits to be let go."""
        texts = {name: waiting(name) for name in self.well}
        texts |= {name: waiting(name, fails=Fails.IMAGE) for name in self.bad}
        revision = self.push(texts)
        self.come_to({name: (Phase.VERIFYING, revision) for name in texts})
        return revision

    def let_go(self) -> None:
        """Pods begin to run, and to fail."""
        self.plane.kubectl("label", "node", "--all", f"{ROOM}=yes")

    def come_to(self, wanted: dict[str, tuple[Phase, str]], *, within: float = SOON_SECONDS) -> None:
        """Wait until all of them are there."""

        def found() -> dict[str, object]:
            releases = {name: self.hosts.towline.release(name) for name in wanted}
            return {name: one and (one.status.phase, one.status.revision) for name, one in releases.items()}

        eventually(lambda: found() == wanted, within=within, explain=found)

    def are_concluded(self, first: str, second: str) -> None:
        """Each is where it belongs, and was judged once."""
        ends = {name: (Phase.HEALTHY, second) for name in self.well}
        ends |= {name: (Phase.ROLLED_BACK, first) for name in self.bad}
        self.come_to(ends, within=AGAIN_SECONDS)
        redis = self.hosts.towline.tools.broker.redis
        eventually(lambda: redis.hlen(OUTBOX) == 0, within=SOON_SECONDS)
        for name in ends:
            release = self.hosts.towline.release(name)
            assert release is not None
            results = [one.result for one in release.status.history if one.revision == second]
            assert results == [Result.HEALTHY if name in self.well else Result.ROLLED_BACK]
        assert not list(redis.scan_iter("rq:failed:*"))


def waiting(name: str, *, fails: Fails | None = None) -> str:
    """A Deployment whose pod waits for a node with the label, and then runs or fails."""
    workload = yaml.safe_load(deployment(name, replicas=1))
    template = workload["spec"]["template"]
    template["spec"]["nodeSelector"] = {ROOM: "yes"}
    template["metadata"]["annotations"] = {FAILS: fails.value} if fails else {}
    return yaml.safe_dump(workload)


@pytest.fixture
def pushed(hosts: Hosts, control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Pushed]:
    """Nothing of it is pushed yet, and two watchers are there."""
    name = request.node.originalname.removeprefix("test_the_active_watcher_is_")
    yield Pushed(hosts, control_plane, name[:30].strip("_").replace("_", "-"))
    control_plane.kubectl("label", "node", "--all", f"{ROOM}-")


def test_the_active_watcher_is_killed_before(pushed: Pushed):
    first = pushed.install()
    pushed.hosts.kill_active()

    second = pushed.change()
    pushed.let_go()

    pushed.are_concluded(first, second)


def test_the_active_watcher_is_killed_as_pods_fail(pushed: Pushed):
    first = pushed.install()
    second = pushed.change()

    pushed.let_go()
    pushed.hosts.kill_active()

    pushed.are_concluded(first, second)


def test_the_active_watcher_is_killed_after_it_asked(pushed: Pushed):
    towline = pushed.hosts.towline
    first = pushed.install()
    second = pushed.change()
    stopped = towline.signal_workers(signal.SIGSTOP)

    pushed.let_go()
    asked = {f"conclude_staging_{name}".encode() for name in (*pushed.well, *pushed.bad)}
    eventually(lambda: asked <= {key.rpartition(b"_")[0].rpartition(b"_")[0] for key in keys(towline)})
    pushed.hosts.kill_active()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)

    pushed.are_concluded(first, second)


def keys(towline: Towline) -> list[bytes]:
    """The jobs that have not ended."""
    return list(towline.tools.broker.redis.hkeys(OUTBOX))


def test_the_active_watcher_is_paused_past_its_lease_and_does_no_harm_when_it_goes_on(pushed: Pushed):
    first = pushed.install()
    second = pushed.change()
    paused = eventually(lambda: pushed.hosts.active, within=SOON_SECONDS)
    paused.pause()

    pushed.let_go()
    eventually(lambda: pushed.hosts.active is not paused, within=AGAIN_SECONDS)
    pushed.are_concluded(first, second)
    before = [pushed.hosts.towline.release(name) for name in (*pushed.well, *pushed.bad)]
    paused.resume()

    eventually(lambda: "watcher.lost_the_lead" in paused.log.read_text(), within=SOON_SECONDS)
    pushed.are_concluded(first, second)
    assert [pushed.hosts.towline.release(name) for name in (*pushed.well, *pushed.bad)] == before
    assert pushed.hosts.active is not paused
