"""The worker's jobs in the test's own process: a real repository, a real Redis, a real API server, no worker process.

def test_something(engine):
    engine.origin.commit({...}); engine.push(); assert engine.release("orders").status.revision == ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.control_plane import ControlPlane
from parts.eventually import eventually
from parts.git import Content, Origin

from towline.shared.broker import Broker
from towline.shared.config import ClusterConfig, Config, parse_config
from towline.shared.errors import Unavailable
from towline.shared.jobs import ConcludeArguments, JobName, PushArguments, SyncArguments
from towline.shared.metrics import STAGE_SECONDS, Histogram, Metrics
from towline.shared.model import Phase, ReleaseName, Trigger
from towline.shared.queue import OUTBOX
from towline.shared.release import Release
from towline.shared.views import ReleaseView
from towline.shared.wanted import Lease, Wanted
from towline.worker.conclude import conclude
from towline.worker.push import push
from towline.worker.render.programs import Programs
from towline.worker.start import tools_of
from towline.worker.sync import sync
from towline.worker.tools import Tools

SECRET_KEY = "0123456789abcdef0123456789abcdef"


def configuration(
    folder: Path,
    *,
    redis_url: str,
    kubeconfig: Path,
    url: str,
    namespaces: Mapping[str, str],
    **changes: Any,
) -> dict[str, Any]:
    """A towline.yaml: repository `shop`, an environment for each of `namespaces`, branch `main` to all of them."""
    (folder / "secret-key").write_text(SECRET_KEY)
    (folder / "webhook-secret").write_text("webhook-secret-of-the-test")
    repository = {
        "name": "shop",
        "url": url,
        "allow_insecure": True,
        "webhook": {"forge": "github", "secrets": [{"file": str(folder / "webhook-secret")}]},
        "branches": {"main": list(namespaces)},
        "services": ["services/*"],
    }
    environments = {
        name: {"cluster": "test", "namespace": namespace, **changes.get("environment", {})}
        for name, namespace in namespaces.items()
    }
    return {
        "redis": {"url": redis_url},
        "data_dir": str(folder / "data"),
        "server": {"listen": "127.0.0.1:0", "secret_key": {"file": str(folder / "secret-key")}},
        "clusters": {"test": {"kubeconfig": str(kubeconfig)}},
        "environments": environments,
        "repositories": [{**repository, **changes.get("repository", {})}],
        "sync": changes.get("sync", {}),
    }


class InterruptingMetrics(Metrics):
    """Once, when the end of a stage is measured, something else happens first."""

    def __init__(self, broker: Broker, stage: str, happens: Callable[[], object]) -> None:
        super().__init__(broker)
        self._stage: str | None = stage
        self._happens = happens

    def observe(self, histogram: Histogram, seconds: float, /, **labels: str) -> None:
        """As usual, but for that stage."""
        if histogram is STAGE_SECONDS and labels["stage"] == self._stage:
            self._stage = None
            self._happens()
        super().observe(histogram, seconds, **labels)


@dataclass(slots=True)
class Engine:
    """One installation's jobs, run one after the other by the test."""

    tools: Tools
    origin: Origin
    namespace: str
    pushes: int = 0
    lines: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, Content | None], *, branch: str = "main") -> str:
        """Commit at the origin; nothing is told to Towline yet."""
        return self.origin.commit(files, branch=branch)

    def push(self, *, branch: str = "main", run: bool = True, **arguments: Any) -> str:
        """Run a push job for a branch and, unless told otherwise, every sync job that it makes."""
        self.pushes = self.tools.queue.wishes.next_sequence()
        given = {
            "repository": "shop",
            "ref": f"refs/heads/{branch}",
            "sequence": self.pushes,
            "trigger": "webhook",
            "delivery": f"d{self.pushes}",
            "received_at": time.time(),
            **arguments,
        }
        line = push(self.tools, PushArguments(**given))
        if run:
            self.run_syncs()
        return line

    def deploy(self, files: Mapping[str, Content | None], *, branch: str = "main", **arguments: Any) -> str:
        """Commit, push and sync; returns the revision."""
        revision = self.commit(files, branch=branch)
        self.push(branch=branch, **arguments)
        return revision

    def waiting(self) -> list[SyncArguments]:
        """The sync jobs that were enqueued and not run."""
        return sorted(self._sync_jobs().values(), key=lambda one: one.release)

    def _sync_jobs(self) -> dict[str, SyncArguments]:
        parked = self.tools.queue.outbox().parked
        jobs = {name: one for name, one in parked.items() if one.job is JobName.SYNC}
        return {name: SyncArguments(**one.arguments) for name, one in jobs.items()}

    def run_syncs(self) -> None:
        """Run every sync job that waits, and those that they make."""
        done: set[str] = set()
        while new := {name: one for name, one in self._sync_jobs().items() if name not in done}:
            for arguments in sorted(new.values(), key=lambda one: one.release):
                self.run(arguments)
            done |= new.keys()
        self.tools.broker.redis.delete(OUTBOX)

    def run(self, arguments: SyncArguments) -> None:
        """Run one sync job."""
        self.lines[arguments.release] = sync(self.tools, arguments)

    def run_pushes(self) -> None:
        """Run every push job that waits, and the syncs that they make."""
        parked = self.tools.queue.outbox().parked.values()
        for arguments in [PushArguments(**one.arguments) for one in parked if one.job is JobName.PUSH]:
            push(self.tools, arguments)
        self.run_syncs()

    def roll_back(self, service: str, revision: str, *, pin: bool = True) -> str:
        """Do what `towline rollback` asks for, as the operator `ada`."""
        wanted = Wanted(
            release=f"staging/{service}",
            repository="shop",
            ref="refs/heads/main",
            revision=revision,
            sequence=self.tools.queue.wishes.next_sequence(),
            trigger=Trigger.OPERATOR,
            operator="ada",
            received_at=1.0,
            rollback=True,
            pin=pin,
        )
        self.tools.queue.enqueue([], [wanted])
        return sync(self.tools, SyncArguments(release=wanted.release))

    def conclude(self, service: str, *, environment: str = "staging") -> str:
        """Judge a release now."""
        name = f"{environment}/{service}"
        revision = self.tools.views.verifying().get(name, "")
        return conclude(self.tools, ConcludeArguments(release=name, revision=revision))

    def eventually(self, service: str, phase: Phase, *, within: float = 10) -> Release:
        """Judge a release until it comes to this phase."""

        def is_there() -> Release:
            self.conclude(service)
            found = self.release(service)
            assert found is not None and found.status.phase is phase, found
            return found

        return eventually(is_there, within=within)

    def bring(self, service: str, phase: Phase, *, within: float = 20) -> Release:
        """Judge a release, and take the steps that are to be taken then, until it comes to this phase."""

        def is_there() -> Release:
            self.conclude(service)
            self.run_syncs()
            found = self.release(service)
            assert found is not None and found.status.phase is phase and not found.status.pending, found
            return found

        return eventually(is_there, within=within)

    def die_after(self, stage: str) -> None:
        """Have the next job that ends this stage fail there, as if its worker had been killed."""

        def die() -> None:
            raise Unavailable("the test has this stage fail", hint="")

        self.tools.metrics = InterruptingMetrics(self.tools.broker, stage, die)

    def overtake_after(self, stage: str, service: str) -> None:
        """Have a sync that finds nothing to do take the release over when the next job ends this stage."""
        lease = Lease(self.tools.broker, f"staging/{service}")

        def overtake() -> None:
            assert lease.acquire()
            lease.drop()

        self.tools.metrics = InterruptingMetrics(self.tools.broker, stage, overtake)

    def eventually_says(self, service: str, words: str, *, within: float = 10) -> str:
        """Judge a release until the job says this."""

        def says() -> str:
            line = self.conclude(service)
            assert words in line, line
            return line

        return eventually(says, within=within)

    def release(self, service: str, *, environment: str = "staging") -> Release | None:
        """The Release as it stands in the cluster."""
        place = self.tools.config.environment(environment)
        return self.tools.records(place).read(ReleaseName(environment, service), place.namespace)

    def view(self, service: str, *, environment: str = "staging") -> ReleaseView | None:
        """The release as API and page show it."""
        return self.tools.views.get(ReleaseName(environment, service))

    def use_token(self, token: str, plane: ControlPlane, folder: Path) -> None:
        """From now on, work with the rights of this token instead of the administrator's."""
        config = yaml.safe_load(plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        kubeconfig = folder / "kubeconfig-of-the-account"
        kubeconfig.write_text(yaml.safe_dump(config))
        access = ClusterConfig(kubeconfig=kubeconfig, context=None, in_cluster=False)
        self.tools.config = replace(self.tools.config, clusters={"test": access})

    def live(self, kind: str, name: str, *, api_version: str = "v1") -> dict[str, Any] | None:
        """An object of the environment's namespace, None when it is not there."""
        cluster = self.tools.cluster(self.tools.config.environment("staging"))
        return cluster.get(cluster.resource(api_version, kind), name, self.namespace)


def parsed(document: dict[str, Any], folder: Path) -> Config:
    """The configuration as a program would read it."""
    return parse_config(yaml.safe_dump(document).encode(), file="towline.yaml", folder=folder)


@pytest.fixture
def engine(
    tmp_path: Path,
    redis_url: str,
    control_plane: ControlPlane,
    namespace_name: str,
    origin: Origin,
    kustomize: Path,
    request: pytest.FixtureRequest,
) -> Engine:
    """An engine with one environment, `staging`, in a namespace that does not exist yet.

    `@pytest.mark.parametrize("engine", [{"environment": {...}}], indirect=True)` changes the configuration.
    """
    document = configuration(
        tmp_path,
        redis_url=redis_url,
        kubeconfig=control_plane.kubeconfig,
        url=origin.url,
        namespaces={"staging": namespace_name},
        **getattr(request, "param", {}),
    )
    tools = tools_of(parsed(document, tmp_path))
    tools.programs = Programs(kustomize=kustomize)
    return Engine(tools=tools, origin=origin, namespace=namespace_name)
