"""Towline itself as processes, started by its command line as a user does.

def test_something(towline):
    towline.start("worker"); towline.deliver(towline.origin.commit({...}))
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.control_plane import ControlPlane, delete_namespace, new_namespace_name
from parts.engine import configuration, parsed
from parts.eventually import eventually
from parts.git import GitServer, Origin
from parts.processes import Process, free_port
from parts.redis import RedisServer

from towline.shared.config import Config
from towline.shared.faults import POINTS, VARIABLE, Action
from towline.shared.ledger import NewDelivery
from towline.shared.model import Object, Push, ReleaseName, Revision
from towline.shared.release import Release
from towline.worker.start import tools_of
from towline.worker.tools import Tools


class Towline:
    """One installation; each program is started when a test asks for it, and ended after the test."""

    def __init__(
        self,
        folder: Path,
        document: dict[str, Any],
        *,
        origin: Origin,
        kustomize: Path,
        has_faults: bool = True,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        document["server"]["listen"] = f"127.0.0.1:{self.port}"
        self.config_path = folder / "towline.yaml"
        self.config_path.write_text(yaml.safe_dump(document))
        self.config: Config = parsed(document, folder)
        self.origin = origin
        self.tools: Tools = tools_of(self.config)  # the test's own way to Redis and cluster
        self._kustomize = kustomize
        self.faults = folder / "faults"
        self.faults.mkdir()
        self._has_faults = has_faults
        self._processes: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """Where its receiver listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, command: str, *, name: str = "", disk_megabytes: int = 0) -> Process:
        """Start `towline <command>` and wait until it can be expected to work.

        With `disk_megabytes` its data_dir is a file system of that size, seen below `/proc/<pid>/root` only.
        """
        words = self._command(command)
        if disk_megabytes:
            self.config.data_dir.mkdir(parents=True, exist_ok=True)
            mount = f'mount -t tmpfs -o size={disk_megabytes}m towline "$0" && exec "$@"'
            unshare = shutil.which("unshare") or "unshare"
            words = [
                unshare,
                "--user",
                "--map-root-user",
                "--mount",
                "/bin/sh",
                "-c",
                mount,
                self.config.data_dir,
                *words,
            ]
        process = Process(name or command, words, folder=self.folder)
        process.start()
        self._processes[process.name] = process
        if command in ("up", "receiver"):
            process.wait_ready(lambda: self.get("/readyz")[0] == 200)
        if command in ("up", "worker"):
            process.wait_ready(lambda: len(self.workers()) >= 3)
        return process

    def pid_of(self, name: str) -> int:
        """The process id of something that was started."""
        return self._processes[name].pid

    def end(self, name: str) -> None:
        """End one that was started."""
        self._processes.pop(name).stop()

    def start_embedded(self) -> Process:
        """Start `towline up` where no Redis is configured, so that it brings its own."""
        process = Process("up", self._command("up"), folder=self.folder)
        process.start()
        self._processes["up"] = process
        process.wait_ready(lambda: self.get("/readyz")[0] == 200)
        return process

    def _command(self, *words: str) -> list[str | Path]:
        environment = [
            f"TOWLINE_KUSTOMIZE={self._kustomize}",
            f"{VARIABLE}={self.faults if self._has_faults else ''}",
            f"PATH={os.defpath}",
        ]
        program = [sys.executable, "-m", "towline.cli", *words, "--config", self.config_path]
        return ["/usr/bin/env", *environment, *program]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        command = [str(word) for word in self._command(*words)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )

    def stop(self) -> None:
        """End everything that still runs."""
        for process in reversed(self._processes.values()):
            process.stop()

    def arm(self, point: str, action: Action = Action.KILL) -> None:
        """Have the next process that passes this fault point (shared/faults.py) meet this, once."""
        assert point in POINTS, sorted(POINTS)
        self._met(point).unlink(missing_ok=True)
        draft = self.faults / "draft"
        draft.write_text(action)
        draft.rename(self.faults / point)

    def is_met(self, point: str) -> bool:
        """Whether somebody passed a point that was armed."""
        return self._met(point).exists()

    def _met(self, point: str) -> Path:
        return self.faults / f"{point}.met"

    def workers(self) -> dict[str, int]:
        """The RQ workers that are registered, and their pids."""
        redis = self.tools.broker.redis
        names = [key.decode() for key in redis.smembers("rq:workers")]
        pids = {name: redis.hget(name, "pid") for name in names}
        return {name: int(pid) for name, pid in pids.items() if pid}

    def busy(self) -> dict[str, int]:
        """Those that run a job now."""
        redis = self.tools.broker.redis
        return {name: pid for name, pid in self.workers().items() if redis.hget(name, "state") == b"busy"}

    def stopped(self) -> list[int]:
        """Workers that met a fault that stops them."""
        return [pid for pid in self.workers().values() if _state(pid) == "T"]

    def signal_workers(self, number: signal.Signals) -> list[int]:
        """Send a signal to every worker; returns their pids."""
        pids = list(self.workers().values())
        for pid in pids:
            os.kill(pid, number)
        return pids

    def deliver(self, revision: str, *, branch: str = "main") -> str:
        """Enqueue a push as the receiver does; returns the delivery's id."""
        identifier = f"t-{uuid.uuid4().hex[:12]}"
        push = Push(ref=f"refs/heads/{branch}", before=None, after=Revision(revision))
        new = NewDelivery(
            id=identifier,
            repository="shop",
            forge="github",
            event="push",
            pushes=(push,),
            received_at=time.time(),
        )
        self.tools.ledger.accept(new)
        return identifier

    def webhook(
        self, revision: str, *, branch: str = "main", delivery: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Call the receiver as GitHub does."""
        payload = {
            "ref": f"refs/heads/{branch}",
            "before": "0" * 40,
            "after": revision,
            "repository": {"full_name": "acme/shop", "clone_url": self.origin.url},
        }
        body = json.dumps(payload).encode()
        secret = self.config.repositories[0].webhook.secrets[0].value()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        return self.get("/webhooks/shop", body=body, headers=headers)

    def get(
        self, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One HTTP request; (0, {}) when nobody listens or answers."""
        request = urllib.request.Request(self.url + path, data=body, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, _json(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _json(error.read())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, {}

    def release(self, service: str, *, environment: str = "staging") -> Release | None:
        """The Release as it stands in the cluster."""
        place = self.tools.config.environment(environment)
        return self.tools.records(place).read(ReleaseName(environment, service), place.namespace)

    def live(self, kind: str, name: str, api_version: str = "v1") -> Object | None:
        """An object of `staging`, None when it is not there."""
        environment = self.tools.config.environment("staging")
        cluster = self.tools.cluster(environment)
        resource = cluster.resource(api_version, kind)
        return cluster.get(resource, name, environment.namespace if resource.namespaced else "")

    def eventually_at(self, service: str, revision: str, *, within: float = 10) -> Release:
        """Wait until a release is recorded at a revision."""

        def is_there() -> Release | None:
            found = self.release(service)
            assert found is not None and found.status.revision == revision, (found, self.state(service))
            return found

        return eventually(is_there, within=within)

    def state(self, service: str) -> object:
        """What people see of a release, for messages."""
        return self.tools.views.get(ReleaseName("staging", service))


def _state(pid: int) -> str:
    """The state of a process (proc(5)); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {"text": raw.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"value": found}


def installed(folder: Path, *, origin: Origin, kustomize: Path, **settings: Any) -> Towline:
    """An installation with this configuration; see `configuration`."""
    document = configuration(folder, url=origin.url, **settings)
    return Towline(folder, document, origin=origin, kustomize=kustomize)


@pytest.fixture
def install(
    tmp_path: Path,
    redis_url: str,
    control_plane: ControlPlane,
    namespace_name: str,
    origin: Origin,
    kustomize: Path,
) -> Iterator[Callable[..., Towline]]:
    """Makes an installation with one environment, `staging`, in a namespace that does not exist yet.

    Called again with a `host`, it is the same installation on another machine.
    """
    made: list[Towline] = []

    def make(*, host: str = "", **settings: Any) -> Towline:
        (tmp_path / host).mkdir(exist_ok=True)
        usual = {
            "redis_url": redis_url,
            "kubeconfig": control_plane.kubeconfig,
            "namespaces": {"staging": namespace_name},
        }
        made.append(installed(tmp_path / host, origin=origin, kustomize=kustomize, **(usual | settings)))
        return made[-1]

    yield make
    for installation in made:
        installation.stop()


@pytest.fixture
def towline(install: Callable[..., Towline], request: pytest.FixtureRequest) -> Towline:
    """The usual one; `@pytest.mark.parametrize("towline", [{...}], indirect=True)` changes its configuration."""
    return install(**getattr(request, "param", {}))


@pytest.fixture(scope="module")
def shared_installation(
    tmp_path_factory: pytest.TempPathFactory,
    _redis_of_the_run: RedisServer,
    _database_numbers: Iterator[int],
    control_plane: ControlPlane,
    kustomize: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Towline]:
    """An installation for all tests of a module, in which nothing runs yet: every branch is deployed to `staging`."""
    folder = tmp_path_factory.mktemp("shared-towline")
    (folder / "git").mkdir()
    git_server = GitServer(folder / "git")
    git_server.start()
    namespace = new_namespace_name(request.module.__name__.rpartition(".")[2])
    installation = installed(
        folder,
        origin=git_server.origin("shop"),
        kustomize=kustomize,
        redis_url=_redis_of_the_run.url(next(_database_numbers)),
        kubeconfig=control_plane.kubeconfig,
        namespaces={"staging": namespace},
        repository={"branches": {"**": ["staging"]}},
        sync={"workers": SHARED_WORKERS},
    )
    yield installation
    installation.stop()
    git_server.stop()
    delete_namespace(control_plane, namespace)


@pytest.fixture(scope="module")
def shared_towline(shared_installation: Towline) -> Towline:
    """The same, running (`towline up`)."""
    shared_installation.start("up")
    return shared_installation


SHARED_WORKERS = 6  # that many die at once, and others go on
