"""A receiver as operators run it, gunicorn in a process of its own, on a Redis of its own, and a client for it.

    def test_something(intake):
        answer = intake.deliver("github", sent(Forge.GITHUB, payload(Forge.GITHUB)))
        assert answer.status == 202

It knows one repository a forge, under the forge's name, and a few with settings of their own; see REPOSITORIES.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from parts.deliveries import SECRET, SHOP, Sent
from parts.processes import Process, free_port
from parts.redis import RedisServer

from towline.shared.broker import Broker
from towline.shared.config import load_config
from towline.shared.ledger import Delivery, Ledger
from towline.shared.model import Forge
from towline.shared.queue import Queue
from towline.shared.secret_key import secret_key

LIMIT_BYTES = 300_000

# The repositories that the corpus' deliveries are about, each an alias here.
CORPUS_URLS = (
    "https://bitbucket.org/team_name/repo_name",
    "https://bitbucket.org/brydzewski/foo",
    "https://bitbucket.org/nfalco79/test-repos",
    "https://stash.example.com/scm/prj/my-repo.git",
    "https://server.bitbucket.local/scm/~gopher/webhook-test.git",
    "https://stash.example.com/scm/iscloud/transamerica.cloud.individual.tftest.git",
    "http://localhost:3000/example/example.git",
    "http://try.gitea.io/gogits/hello-world.git",
    "https://github.com/Codertocat/Hello-World.git",
    "https://github.com/binkkatal/sample_app.git",
    "https://github.com/bradrydzewski/drone-test-go.git",
    "https://github.com/jessesuen/test-repo.git",
    "https://octocoders.github.io/Codertocat/Hello-World.git",
    "http://example.com/mike/diaspora.git",
    "http://example.com/jsmith/example.git",
    "https://gitlab.com/gitlab-org/hello-world.git",
    "https://gitlab.com/group1/group2/group3/grp2repo.git",
    "http://localhost:3000/unknwon/webhooks.git",
)

# name: (forge, settings of the webhook, branches)
REPOSITORIES: dict[str, tuple[Forge, dict[str, Any], dict[str, str]]] = {
    **{forge.value: (forge, {}, {"**": "staging"}) for forge in Forge},
    "narrow": (Forge.GITHUB, {}, {"main": "staging"}),
    "limited": (Forge.GITHUB, {"rate_limit": "3/hour"}, {"main": "staging"}),
    "older": (Forge.GITHUB, {"sha1": True}, {"main": "staging"}),
    "locked": (Forge.GITHUB, {"secrets": [{"file": "missing"}]}, {"main": "staging"}),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Intake:
    """The running receiver."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder = folder
        self.redis = redis
        self.port = free_port()
        (folder / "secret").write_text(SECRET)
        file = folder / "towline.yaml"
        file.write_text(json.dumps(self._settings()))
        command = [sys.executable, "-m", "towline.receiver", "--config", file]
        self.process = Process("receiver", command, folder=folder)
        config = load_config(file)
        self.queue = Queue(Broker(config.redis_url()), secret_key(config))
        self.ledger = Ledger(self.queue)

    def _settings(self) -> dict[str, Any]:
        return {
            "redis": {"url": self.redis.url()},
            "data_dir": str(self.folder / "data"),
            "server": {"listen": f"127.0.0.1:{self.port}", "max_body_bytes": LIMIT_BYTES},
            "clusters": {"local": {"kubeconfig": "there-is-none"}},
            "environments": {"staging": {"cluster": "local", "namespace": "staging"}},
            "repositories": [
                {
                    "name": name,
                    "url": f"https://git.example.com/each/{name}.git",
                    "aliases": [SHOP, *CORPUS_URLS],
                    "webhook": {"forge": forge.value, "secrets": [{"file": "secret"}], **webhook},
                    "branches": branches,
                    "services": ["services/*"],
                }
                for name, (forge, webhook, branches) in REPOSITORIES.items()
            ],
        }

    def start(self) -> None:
        """Start it and wait until it answers, which it does without Redis too."""
        self.process.start()
        self.process.wait_ready(self._answers)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def deliver(self, repository: str, delivery: Sent) -> Answer:
        """POST one delivery."""
        return self.call("POST", f"/webhooks/{repository}", delivery.headers, delivery.body)

    def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> Answer:
        """One request on a connection of its own; a body that is no bytes is sent in chunks."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = answer.read()
            seconds = time.monotonic() - started
            return Answer(
                status=answer.status, headers=dict(answer.getheaders()), body=found, seconds=seconds
            )
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A plain connection, for requests that no library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, identifier: str) -> Delivery:
        """The ledger's entry of a delivery."""
        return self.ledger.get(identifier, repositories=list(REPOSITORIES))


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    """A receiver and its Redis, for all tests of a module: let each delivery have an id of its own."""
    folder = tmp_path_factory.mktemp("intake")
    redis = RedisServer(folder)
    redis.start()
    receiver = Intake(folder, redis)
    receiver.start()
    yield receiver
    receiver.process.stop()
    receiver.queue.broker.redis.close()
    redis.stop()
