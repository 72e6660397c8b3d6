"""A whole Towline for the demo: a cluster, a repository, a configuration, and `towline up` as a process of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

from towline.demo.cluster import DemoCluster
from towline.demo.repository import ShopRepository
from towline.shared.cluster import Cluster, connect
from towline.shared.config import ClusterConfig
from towline.shared.errors import TowlineError
from towline.shared.supervise import die_with_parent

ENVIRONMENTS = {"staging": "shop-staging", "production": "shop"}
READY_SECONDS = 30.0
CALL_SECONDS = 10.0


class DemoFailed(TowlineError):
    """The demo did not go as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver answered, and how long that took."""

    code: int
    body: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running Towline, its repository, and the cluster as somebody with kubectl reaches it."""

    url: str
    token: str
    secret: str
    repository: ShopRepository
    cluster: Cluster
    log: Path

    def webhook(self, branch: str, before: str | None, after: str, *, delivery: str | None = None) -> Answer:
        """Call the receiver as GitHub does after a push."""
        payload = {
            "ref": f"refs/heads/{branch}",
            "before": before or "0" * 40,
            "after": after,
            "repository": {"full_name": "orchard/shop", "clone_url": self.repository.path.as_uri()},
        }
        body = json.dumps(payload).encode()
        signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        return call(f"{self.url}/webhooks/shop", body=body, headers=headers)

    def get(self, path: str) -> dict[str, Any]:
        """A call of the API."""
        answer = call(f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"})
        if answer.code != 200:
            raise DemoFailed(f"{path} answered {answer.code}: {answer.body.get('detail')}")
        return answer.body


def call(url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request; an error answer is an answer."""
    started = time.perf_counter()
    request = Request(url, data=body, headers=dict(headers or {}))
    try:
        with urlopen(request, timeout=CALL_SECONDS) as response:
            code, raw = response.status, response.read()
    except HTTPError as error:
        code, raw = error.code, error.read()
    seconds = time.perf_counter() - started
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = {"detail": raw[:200].decode("utf-8", "replace")}
    return Answer(code=code, body=parsed, seconds=seconds)


@contextmanager
def running(folder: Path, *, kubeconfig: Path | None) -> Iterator[Running]:
    """Start everything below `folder`, on the embedded cluster unless a kubeconfig is given, and end it all."""
    if kubeconfig is not None:
        with _up(folder, kubeconfig) as towline:
            yield towline
        return
    cluster = DemoCluster()
    embedded = folder / "kubeconfig"
    cluster.write_kubeconfig(embedded)
    with _up(folder, embedded) as towline:
        cluster.start()  # after the fork: its threads must not be there then
        try:
            yield towline
        finally:
            cluster.stop()


@contextmanager
def _up(folder: Path, kubeconfig: Path) -> Iterator[Running]:
    repository = ShopRepository(folder / "shop.git")
    secret, key = secrets.token_hex(16), secrets.token_urlsafe(48)
    port = _free_port()
    config = folder / "towline.yaml"
    config.write_text(yaml.safe_dump(configuration(folder, repository, kubeconfig, port)))
    environment = {**os.environ, "SHOP_WEBHOOK_SECRET": secret, "TOWLINE_SECRET_KEY": key}
    environment.pop("TOWLINE_REDIS_URL", None)
    log = folder / "towline.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "towline.cli", "up", "--config", str(config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - no thread was started yet
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(url, process, log)
        token = _token(config, environment)
        cluster = connect(ClusterConfig(kubeconfig=kubeconfig, context=None, in_cluster=False))
        yield Running(url=url, token=token, secret=secret, repository=repository, cluster=cluster, log=log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(folder: Path, repository: ShopRepository, kubeconfig: Path, port: int) -> dict[str, Any]:
    run = f"-{secrets.token_hex(3)}"  # a cluster that outlives the demo may hold the releases of another run
    return {
        "data_dir": str(folder / "data"),
        "server": {"listen": f"127.0.0.1:{port}", "secret_key": {"env": "TOWLINE_SECRET_KEY"}},
        "clusters": {"demo": {"kubeconfig": str(kubeconfig)}},
        "environments": {
            name: {"cluster": "demo", "namespace": namespace + run}
            for name, namespace in ENVIRONMENTS.items()
        },
        "repositories": [
            {
                "name": "shop",
                "url": repository.path.as_uri(),
                "allow_insecure": True,
                "webhook": {"forge": "github", "secrets": [{"env": "SHOP_WEBHOOK_SECRET"}]},
                "branches": {"main": "staging", "release": "production"},
            }
        ],
    }


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoFailed(f"towline up ended with code {process.returncode}", hint=_tail(log))
        try:
            if call(f"{url}/readyz").code == 200:
                return
        except URLError:
            pass
        time.sleep(0.05)
    raise DemoFailed(f"towline up was not ready within {READY_SECONDS:.0f} s", hint=_tail(log))


def _token(config: Path, environment: Mapping[str, str]) -> str:
    command = [
        sys.executable,
        "-m",
        "towline.cli",
        "token",
        "create",
        "--config",
        str(config),
        "--scope",
        "admin",
    ]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    if made.returncode != 0:
        raise DemoFailed("no token could be made", hint=made.stderr)
    return next(word for word in made.stdout.split() if word.startswith("tow_"))


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
