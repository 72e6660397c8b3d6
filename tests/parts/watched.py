"""Releases that are applied without a push, and a watcher in a thread of the test's own: real API server, real Redis.

def test_something(watched):
    watched.start(); watched.apply("orders", [...]); eventually(lambda: watched.asked("orders"))
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from parts.control_plane import ControlPlane
from parts.engine import configuration, parsed

from towline.shared.cluster import Cluster, connect
from towline.shared.config import Config
from towline.shared.jobs import QueueName
from towline.shared.model import Health, Object, Phase, ReleaseName
from towline.shared.objects import PART_OF, applyset_id, digest, group_kind, key_of, owned_hash
from towline.shared.records import Owner, Records
from towline.shared.release import AppliedObject, Release, ReleaseStatus
from towline.worker.start_watch import watcher_of
from towline.worker.watch import Watcher, watch

REVISION = "a1b2c3d4e5" * 4


@dataclass(slots=True)
class Running:
    """A watcher's thread."""

    watcher: Watcher
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        arguments = (self.watcher, self.stopped.is_set)
        self.thread = threading.Thread(target=watch, args=arguments, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self.stopped.set()
        self.thread.join(10)


@dataclass(slots=True)
class Watched:
    """One environment, `staging`; its releases are made by hand."""

    config: Config
    cluster: Cluster
    namespace: str
    running: list[Running] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> Records:
        """Of its Releases."""
        return Records(self.cluster)

    def start(self) -> Watcher:
        """A watcher that competes for the lead; requests are counted by verb."""
        watcher = watcher_of(self.config, "test", observe=self._count)
        self.running.append(Running(watcher))
        return watcher

    def _count(self, verb: str, code: str, seconds: float) -> None:
        self.requests[verb] += 1

    def stop(self) -> None:
        """End all watchers."""
        for one in self.running:
            one.stop()

    def apply(self, service: str, objects: list[Object], **status: Any) -> Release:
        """What a sync does: claim, apply, record as Verifying."""
        release = self.claim(service, objects)
        recorded = [self.member(service, one) for one in objects]
        return self.record(release, recorded, **status)

    def claim(self, service: str, objects: list[Object]) -> Release:
        """The first step of a sync."""
        owner = Owner(name=ReleaseName("staging", service), namespace=self.namespace, repository="shop")
        return self.records.claim(
            owner,
            self.release(service),
            token=os.urandom(8).hex(),
            group_kinds={group_kind(key_of(one)) for one in objects},
            namespaces={self.namespace},
        )

    def member(self, service: str, object: Object) -> AppliedObject:
        """The second: an object with the release's label, applied."""
        labels = {**object["metadata"].get("labels", {}), PART_OF: applyset_id(service, self.namespace)}
        metadata = {**object["metadata"], "namespace": self.namespace, "labels": labels}
        sent = {**object, "metadata": metadata}
        live = self.cluster.apply(sent)
        return AppliedObject.of(key_of(live), digest=digest(sent), owned=owned_hash(live))

    def record(self, release: Release, objects: list[AppliedObject], **status: Any) -> Release:
        """The third."""
        usual = {
            "environment": "staging",
            "repository": "shop",
            "ref": "refs/heads/main",
            "revision": REVISION,
            "phase": Phase.VERIFYING,
            "health": Health.PROGRESSING,
            "objects": tuple(sorted(objects, key=lambda one: one.key)),
            "synced_at": datetime.now(UTC),
        }
        return self.records.write_status(release, ReleaseStatus(**(usual | status)))

    def release(self, service: str) -> Release | None:
        """As it is now."""
        return self.records.read(ReleaseName("staging", service), self.namespace)

    def asked(self, service: str, queue: QueueName | None = None) -> list[str]:
        """The conclude jobs that wait for it, on one queue or on any."""
        return self.jobs(f"conclude_staging_{service}_", queue)

    def jobs(self, beginning: str, queue: QueueName | None = None) -> list[str]:
        """The jobs that wait whose ids begin like this."""
        jobs = self.running[0].watcher.watching.queue
        names = [queue] if queue else list(QueueName)
        found = [identifier for name in names for identifier in jobs.rq(name).get_job_ids()]
        return [one for one in found if one.startswith(beginning)]

    def end_jobs(self) -> None:
        """What workers do: every job is run, and comes to nothing."""
        jobs = self.running[0].watcher.watching.queue
        for name in QueueName:
            for identifier in jobs.rq(name).get_job_ids():
                jobs.rq(name).remove(identifier)
                jobs.ended(identifier)


@pytest.fixture
def watched(tmp_path: Path, redis_url: str, control_plane: ControlPlane, namespace: str) -> Iterator[Watched]:
    """Nothing in it runs yet."""
    document = configuration(
        tmp_path,
        redis_url=redis_url,
        kubeconfig=control_plane.kubeconfig,
        url="http://127.0.0.1:1/none.git",
        namespaces={"staging": namespace},
    )
    config = parsed(document, tmp_path)
    cluster = connect(config.clusters["test"], parallel=4)
    Records(cluster).ensure_crd()
    found = Watched(config=config, cluster=cluster, namespace=namespace)
    yield found
    found.stop()


def deployment(name: str = "orders", *, image: str = "example.com/app:1", replicas: int = 1) -> Object:
    """A Deployment whose pods run at once."""
    labels = {"app": name}
    container = {"name": "main", "image": image}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def settings(name: str = "orders", **data: str) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "b"}}
