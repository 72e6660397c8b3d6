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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3
import yaml
from parts.control_plane import ControlPlane
from workload import Object

THREADS = 8  # 4 to 16 were equally fast
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts/{}",
    "Service": "/api/v1/namespaces/{}/services/{}",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{}",
}


RELEASES = "/apis/towline.dev/v1alpha1/namespaces/{}/releases"
SECRETS = "/api/v1/namespaces/{}/secrets"

Service = tuple[str, Sequence[Object]]  # a name, and what changed of its objects


class RawLimit:
    """One client with warm connections, as many as it has threads."""

    def __init__(self, plane: ControlPlane) -> None:
        cluster = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority = _authority(cluster, plane.kubeconfig.parent / "bench-ca.pem")
        self._plane = plane
        self.releases: dict[str, Object] = {}  # those that `record` has made, as they are now
        self._pool = urllib3.PoolManager(maxsize=THREADS, ca_certs=authority)
        self._headers = {
            "Authorization": f"Bearer {plane.token}",
            "Content-Type": "application/apply-patch+yaml",
        }

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
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._warm, range(THREADS)))
            started = time.perf_counter()
            list(pool.map(self._send, requests))
            return time.perf_counter() - started

    def record(self, services: Sequence[Service], *, like: Object, secret: Object, namespace: str) -> float:
        """Apply the objects of each service between the writes of its record; returns seconds.

        `like`: a Release, and `secret`: a stored revision, whose size each record has. A Release that is there is claimed.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._warm, range(THREADS)))
            started = time.perf_counter()
            list(pool.map(lambda one: self._record(one, like, secret, namespace), services))
            return time.perf_counter() - started

    def _record(self, service: Service, like: Object, secret: Object, namespace: str) -> None:
        name, objects = service
        releases = RELEASES.format(namespace)
        release = self.releases.get(name)
        metadata = {"annotations": {**like["metadata"]["annotations"], "towline.dev/claim": uuid.uuid4().hex}}
        if release is None:
            body = {**_kind_of(like), "metadata": {"name": name, **metadata}, "spec": {}}
            release = self._sent("POST", releases, body)
        else:
            own = {key: release["metadata"][key] for key in ("name", "uid", "resourceVersion")}
            body = {**_kind_of(like), "metadata": {**own, **metadata}, "spec": {}}
            release = self._sent("PUT", f"{releases}/{name}", body)
        stored = {"name": f"towline.{name}.{uuid.uuid4().hex[:10]}"}
        kept = {key: secret[key] for key in ("apiVersion", "kind", "type", "immutable", "data")}
        self._sent("POST", SECRETS.format(namespace), {**kept, "metadata": stored})
        for one in objects:
            self._send((PATHS[one["kind"]].format(namespace, name), json.dumps(one).encode()))
        own = {key: release["metadata"][key] for key in ("name", "uid", "resourceVersion")}
        status = {**like["status"], "message": uuid.uuid4().hex}
        body = {**_kind_of(like), "metadata": own, "status": status}
        self.releases[name] = self._sent("PUT", f"{releases}/{name}/status", body)

    def _sent(self, method: str, path: str, body: Object) -> Object:
        headers = {**self._headers, "Content-Type": "application/json"}
        url = f"{self._plane.url}{path}?fieldManager=bench"
        answer = self._pool.request(method, url, body=json.dumps(body).encode(), headers=headers)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path} answered {answer.status}: {answer.data[:300]!r}")
        found: Object = json.loads(answer.data)
        return found

    def _warm(self, _: int) -> None:
        self._pool.request("GET", f"{self._plane.url}/version", headers=self._headers)

    def _send(self, request: tuple[str, bytes]) -> None:
        path, body = request
        url = f"{self._plane.url}{path}?fieldManager=bench&force=true"
        answer = self._pool.request("PATCH", url, body=body, headers=self._headers)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path} answered {answer.status}: {answer.data[:300]!r}")


def _kind_of(object: Object) -> Object:
    return {"apiVersion": object["apiVersion"], "kind": object["kind"]}


def _authority(cluster: dict[str, str], file: Path) -> str:
    if "certificate-authority-data" in cluster:
        file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        return str(file)
    return cluster["certificate-authority"]
