"""Towline as processes on real parts: one control plane and one Redis a run, one installation for each number of services.

`main` is deployed to the environment that is pushed to; each branch `install-<n>` to one of its own, so that an install can
be measured several times without taking anything away in between.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parts.control_plane import ControlPlane
from parts.engine import configuration
from parts.eventually import eventually
from parts.git import GitServer, Origin
from parts.redis import RedisServer
from parts.towline import Towline
from programs.build import find
from prometheus_client.core import Metric

from towline.shared.metrics import KUBERNETES_SECONDS, STAGE_SECONDS
from towline.shared.queue import OUTBOX

FLUSH_SECONDS = 1.3  # a worker adds its sums to Redis each second


class Installation:
    """`towline up`, a repository on a Git server on loopback, and what the bench does to them."""

    def __init__(
        self, folder: Path, plane: ControlPlane, redis: RedisServer, *, database: int, environments: list[str]
    ) -> None:
        folder.mkdir()
        (folder / "git").mkdir()
        self.git = GitServer(folder / "git")
        self.git.start()
        self.origin: Origin = self.git.origin("shop")
        self.namespaces = {name: f"{name}-{uuid.uuid4().hex[:6]}" for name in environments}
        document = configuration(
            folder,
            redis_url=redis.url(database),
            kubeconfig=plane.kubeconfig,
            url=self.origin.url,
            namespaces=self.namespaces,
        )
        first, *others = environments
        document["repositories"][0]["branches"] = {"main": first} | {name: name for name in others}
        kustomize = find("kustomize")
        self.towline = Towline(folder, document, origin=self.origin, kustomize=kustomize, has_faults=False)
        environment = self.towline.config.environment(first)
        self.towline.tools.records(
            environment
        ).ensure_crd()  # so that Releases can be watched before the first
        self.process = self.towline.start("up")
        made = self.towline.run("token", "create", "--scope", "admin").stdout
        self.token = next(word for word in made.split() if word.startswith("tow_"))
        self._secret = self.towline.config.repositories[0].webhook.secrets[0].value().encode()

    def close(self) -> None:
        """End its processes."""
        self.towline.stop()
        self.git.stop()

    def webhook(self, revision: str, *, branch: str = "main") -> tuple[float, float]:
        """Send a signed push on a new connection, as a forge does: when it was sent, and seconds until the 202."""
        body, headers = self._delivery(revision, branch)
        connection = http.client.HTTPConnection("127.0.0.1", self.towline.port, timeout=10)
        started = time.perf_counter()
        connection.request("POST", "/webhooks/shop", body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - started
        connection.close()
        if answer.status != 202:
            raise RuntimeError(f"the webhook was answered {answer.status}: {text[:300]!r}")
        return started, seconds

    def _delivery(self, revision: str, branch: str) -> tuple[bytes, Mapping[str, str]]:
        payload = {
            "ref": f"refs/heads/{branch}",
            "before": "0" * 40,
            "after": revision,
            "repository": {"full_name": "acme/shop", "clone_url": self.origin.url},
        }
        body = json.dumps(payload).encode()
        return body, {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest(),
        }

    def settle(self, *, within: float = 30) -> None:
        """Wait until no job is waiting or running."""
        redis = self.towline.tools.broker.redis
        eventually(lambda: redis.hlen(OUTBOX) == 0, within=within, every=0.005)

    def settle_health(self, *, within: float = 60) -> None:
        """Wait until every release was judged too, so that it does not run beside what is measured next."""
        views = self.towline.tools.views
        eventually(lambda: not views.verifying(), within=within, every=0.05)
        self.settle(within=within)

    def counts(self) -> dict[str, Any]:
        """What has been counted so far: seconds and times of each stage, requests to the API server, Redis commands."""
        time.sleep(FLUSH_SECONDS)
        families = {family.name: family for family in self.towline.tools.metrics.families()}
        commands = self.towline.tools.broker.redis.info("commandstats")
        return {
            "stages": _by_label(families[STAGE_SECONDS.name], "stage"),
            "requests": _by_label(families[KUBERNETES_SECONDS.name], "verb"),
            "redis": {name.removeprefix("cmdstat_"): float(one["calls"]) for name, one in commands.items()},
            "fetches": float(self.git.fetches),
        }


def _by_label(family: Metric, label: str) -> dict[str, tuple[float, float]]:
    """Times and seconds for each value of a label."""
    found: dict[str, tuple[float, float]] = {}
    for sample in family.samples:
        times, seconds = found.get(sample.labels[label], (0.0, 0.0))
        if sample.name.endswith("_count"):
            times += sample.value
        elif sample.name.endswith("_sum"):
            seconds += sample.value
        found[sample.labels[label]] = (times, seconds)
    return found
