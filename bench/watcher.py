"""Measures the watcher at 1,000 releases of 4 objects and 3,000 pods: memory, bytes an object, events a second.

    python bench/watcher.py [--releases 1000] [--pods 3] [--environments 5]

The cluster is real, with controllers and kwok's nodes; the releases are written as a sync writes them, without one. The watcher
runs as `towline watcher`; what an object costs is measured in this process, from the same objects.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import msgspec
import yaml
from machine import machine, memory_mib
from parts.control_plane import ControlPlane
from parts.engine import configuration, parsed
from parts.eventually import eventually
from parts.redis import RedisServer
from programs.build import find
from workload import names, objects

from towline.shared.broker import Broker
from towline.shared.cluster import Cluster, connect
from towline.shared.config import Config
from towline.shared.jobs import QueueName
from towline.shared.model import Health, Object, Phase, ReleaseName
from towline.shared.objects import PART_OF, applyset_id, digest, group_kind, key_of, owned_hash
from towline.shared.queue import Queue
from towline.shared.records import Owner, Records
from towline.shared.release import AppliedObject, ReleaseStatus
from towline.shared.secret_key import secret_key
from towline.shared.watchers import Watchers
from towline.shared.watching import Selection, pages
from towline.worker.informer import Change
from towline.worker.scene import Scene
from towline.worker.selections import release_selections

THREADS = 16
WITHIN_SECONDS = 600.0
REPEATS = 20_000  # events of each kind
REVISION = "a1b2c3d4e5" * 4


class FullCluster:
    """A cluster full of releases."""

    def __init__(self, config: Config, cluster: Cluster, *, pods: int) -> None:
        self.config, self.cluster, self.pods = config, cluster, pods
        self.records = Records(cluster)

    def fill(self, releases: int) -> None:
        """Make all releases, as healthy ones that a sync has just applied."""
        self.records.ensure_crd()
        places = sorted(self.config.environments.values(), key=lambda one: one.name)
        for place in places:
            self.records.ensure_namespace(place.namespace, environment=place.name)
        pairs = [(name, places[index % len(places)]) for index, name in enumerate(names(releases))]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda pair: self._release(pair[0], pair[1].name, pair[1].namespace), pairs))

    def _release(self, service: str, environment: str, namespace: str) -> None:
        wanted = objects(service, 1)
        owner = Owner(name=ReleaseName(environment, service), namespace=namespace, repository="shop")
        kinds = {group_kind(key_of(one)) for one in wanted}
        release = self.records.claim(owner, None, token=service, group_kinds=kinds, namespaces=[namespace])
        recorded = [self._member(service, namespace, one) for one in wanted]
        status = ReleaseStatus(
            environment=environment,
            repository="shop",
            ref="refs/heads/main",
            revision=REVISION,
            phase=Phase.VERIFYING,
            health=Health.PROGRESSING,
            objects=tuple(recorded),
            synced_at=datetime.now(UTC),
        )
        self.records.write_status(release, status)

    def _member(self, service: str, namespace: str, object: Object) -> AppliedObject:
        labels = {**object["metadata"]["labels"], PART_OF: applyset_id(service, namespace)}
        sent = {**object, "metadata": {**object["metadata"], "namespace": namespace, "labels": labels}}
        if sent["kind"] == "Deployment":
            sent["spec"] = {**sent["spec"], "replicas": self.pods}
        live = self.cluster.apply(sent)
        return AppliedObject.of(key_of(live), digest=digest(sent), owned=owned_hash(live))

    def running(self) -> int:
        """Pods that run."""
        resource = self.cluster.preferred("", "Pod")
        return sum(
            one.get("status", {}).get("phase") == "Running"
            for place in self.config.environments.values()
            for one in self.cluster.list(resource, place.namespace)
        )


class Feeder:
    """Something that has a selection, as an informer has."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection


def costs(config: Config, cluster: Cluster) -> list[dict[str, Any]]:
    """Of each kind: objects, bytes kept of one, and events a second that one core takes in."""
    scene = Scene(config, "test")
    rows = []
    for selection in sorted(release_selections(None)):
        rows.append(_cost(scene, cluster, selection))
    by_kind: dict[tuple[str, str], list[Selection]] = {}
    for selection in sorted(scene.wanted(None) - release_selections(None)):
        by_kind.setdefault((selection.group, selection.kind), []).append(selection)
    for selections in by_kind.values():
        rows.append(_cost(scene, cluster, *selections))
    return rows


def _cost(scene: Scene, cluster: Cluster, *selections: Selection) -> dict[str, Any]:
    found: list[tuple[Selection, msgspec.Raw]] = []
    for selection in selections:
        resource = cluster.preferred(selection.group, selection.kind)
        for page in pages(cluster, resource, selection):
            found += [(selection, msgspec.Raw(bytes(one))) for one in page.items]
    if not found:
        return {"kind": str(selections[0].kind), "objects": 0, "json": 0, "bytes": 0, "events_a_second": 0}
    feeders = {selection: Feeder(selection) for selection in selections}
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for selection, raw in found:
        scene.take(Change(feeders[selection], "ADDED", raw), now=0.0)  # type: ignore[arg-type]
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    started = time.perf_counter()
    for index in range(REPEATS):
        selection, raw = found[index % len(found)]
        scene.take(Change(feeders[selection], "MODIFIED", raw), now=0.0)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    return {
        "kind": selections[0].kind + (" (metadata)" if selections[0].metadata_only else ""),
        "objects": len(found),
        "json": round(sum(len(bytes(raw)) for _, raw in found) / len(found)),
        "bytes": round(kept / len(found)),
        "events_a_second": round(REPEATS / seconds),
    }


def run(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Start the parts, fill the cluster, measure."""
    (folder / "plane").mkdir()
    (folder / "redis").mkdir()
    plane, redis = ControlPlane(folder / "plane", program=find), RedisServer(folder / "redis")
    process: subprocess.Popen[bytes] | None = None
    try:
        plane.start()
        redis.start()
        document = configuration(
            folder,
            redis_url=redis.url(),
            kubeconfig=plane.kubeconfig,
            url="http://127.0.0.1:1/none.git",
            namespaces={f"e{number}": f"bench-{number}" for number in range(asked.environments)},
        )
        path = folder / "towline.yaml"
        path.write_text(yaml.safe_dump(document))
        config = parsed(document, folder)
        cluster = connect(config.clusters["test"], parallel=THREADS)
        full = FullCluster(config, cluster, pods=asked.pods)
        full.fill(asked.releases)
        eventually(lambda: full.running() >= asked.releases * asked.pods, within=WITHIN_SECONDS, every=2.0)
        command = [sys.executable, "-m", "towline.cli", "watcher", "--config", str(path)]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"))
        broker = Broker(config.redis_url())
        watchers = Watchers(broker)
        eventually(lambda: watchers.active(["test"]), within=WITHIN_SECONDS)
        ready = time.monotonic() - began
        queue = Queue(broker, secret_key(config))
        eventually(lambda: queue.depths()[QueueName.BACKGROUND] >= asked.releases, within=WITHIN_SECONDS)
        return {
            "machine": machine(),
            "seconds_until_all_known": round(ready, 2),
            "memory_mib": memory_mib([process.pid]),
            "threads": len(list(Path(f"/proc/{process.pid}/task").iterdir())),
            "kinds": costs(config, cluster),
        }
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        redis.stop()
        plane.stop()


def main() -> int:
    """Print the figures as JSON; the parts end with this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=3, help="of each release")
    parser.add_argument("--environments", type=int, default=5)
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        print(json.dumps(run(Path(folder), parser.parse_args()), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
