"""The raw limit: the same objects by a bare loop of parallel server-side applies, with nothing around it.

No Git, no queue, no record, no check, bodies made before the time is taken: what the API server of this machine can do
for one client process. Every figure of Towline is given as a ratio to it, since machines differ.

And the least writes until a sync is recorded: the same with those that its record needs (claim, stored revision, status), as
large as they are. What else a sync asks a cluster for (a read, Events, the old stored revision's deletion, the verdict) is left out.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import urllib3
import yaml
from parts.control_plane import ControlPlane
from workload import Object

from towline.shared.cluster import APPLY_PATCH
from towline.shared.cluster_session import JSON
from towline.shared.release import CLAIM, RELEASE
from towline.shared.stored_revisions import SECRET

THREADS = 8  # 4 to 16 were equally fast
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts/{}",
    "Service": "/api/v1/namespaces/{}/services/{}",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{}",
}

Service = tuple[str, Sequence[Object]]  # a name, and what changed of its objects
Item = TypeVar("Item")


class RawLimit:
    """One client with warm connections, as many as it has threads."""

    def __init__(self, plane: ControlPlane) -> None:
        cluster = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority = _authority(cluster, plane.kubeconfig.parent / "bench-ca.pem")
        self._plane = plane
        self._releases: dict[str, Object] = {}  # by its path, each that `record` has made, as it is now
        self._pool = urllib3.PoolManager(maxsize=THREADS, ca_certs=authority)
        self._headers = {"Authorization": f"Bearer {plane.token}"}

    def make_namespace(self, name: str) -> None:
        """Where a run of it applies."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._plane.request("POST", "/api/v1/namespaces", body)

    def apply(self, objects: Sequence[Object], *, namespace: str) -> float:
        """Apply them all, THREADS at once; returns seconds."""
        requests = [
            (
                PATHS[one["kind"]].format(namespace, one["metadata"]["name"]),
                json.dumps(one).encode(),
            )
            for one in objects
        ]
        return self._timed(self._apply, requests)

    def record(self, services: Sequence[Service], *, like: Object, secret: Object, namespace: str) -> float:
        """Apply the objects of each service between the writes of its record; returns seconds.

        `like`: a Release, and `secret`: a stored revision, whose size each record has. A Release that is there is claimed.
        """
        return self._timed(partial(self._record, like, secret, namespace), services)

    def _timed(self, send: Callable[[Item], object], items: Sequence[Item]) -> float:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._warm, range(THREADS)))
            started = time.perf_counter()
            list(pool.map(send, items))
            return time.perf_counter() - started

    def _warm(self, _: int) -> None:
        self._pool.request("GET", f"{self._plane.url}/version", headers=self._headers)

    def _apply(self, request: tuple[str, bytes]) -> None:
        path, body = request
        self._send("PATCH", f"{path}?fieldManager=bench&force=true", body, content_type=APPLY_PATCH)

    def _record(self, like: Object, secret: Object, namespace: str, service: Service) -> None:
        name, objects = service
        path = RELEASE.path(name, namespace)
        release = self._claimed(path, name, like, namespace)
        stored = {**secret, "metadata": {"name": f"towline.{name}.{uuid.uuid4().hex[:10]}"}}
        self._write("POST", SECRET.path(namespace=namespace), stored)
        for one in objects:
            self._apply((PATHS[one["kind"]].format(namespace, name), json.dumps(one).encode()))
        self._releases[path] = self._write("PUT", f"{path}/status", {**like, "metadata": _fence(release)})

    def _claimed(self, path: str, name: str, like: Object, namespace: str) -> Object:
        annotations = {**like["metadata"]["annotations"], CLAIM: uuid.uuid4().hex}
        known = self._releases.get(path)
        own = _fence(known) if known else {"name": name}
        claimed = {**like, "metadata": {**own, "annotations": annotations}, "spec": {}, "status": {}}
        if known:
            return self._write("PUT", path, claimed)
        return self._write("POST", RELEASE.path(namespace=namespace), claimed)

    def _write(self, method: str, path: str, body: Object) -> Object:
        answer = self._send(
            method, f"{path}?fieldManager=bench", json.dumps(body).encode(), content_type=JSON
        )
        found: Object = json.loads(answer)
        return found

    def _send(self, method: str, target: str, body: bytes, *, content_type: str) -> bytes:
        headers = {**self._headers, "Content-Type": content_type}
        answer = self._pool.request(method, self._plane.url + target, body=body, headers=headers)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {target} answered {answer.status}: {answer.data[:300]!r}")
        return answer.data


def _fence(release: Object) -> Object:
    """What of its metadata names one version of a Release."""
    return {key: release["metadata"][key] for key in ("name", "uid", "resourceVersion")}


def _authority(cluster: dict[str, str], file: Path) -> str:
    if "certificate-authority-data" in cluster:
        file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        return str(file)
    return cluster["certificate-authority"]
