"""The raw limit: the same objects by a bare loop of parallel server-side applies, with nothing around it.

No Git, no queue, no record, no check, bodies made before the time is taken: what the API server of this machine can do
for one client process. Every figure of Towline is given as a ratio to it, since machines differ.
"""

from __future__ import annotations

import base64
import json
import time
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


class RawLimit:
    """One client with warm connections, as many as it has threads."""

    def __init__(self, plane: ControlPlane) -> None:
        cluster = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority = _authority(cluster, plane.kubeconfig.parent / "bench-ca.pem")
        self._plane = plane
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

    def _warm(self, _: int) -> None:
        self._pool.request("GET", f"{self._plane.url}/version", headers=self._headers)

    def _send(self, request: tuple[str, bytes]) -> None:
        path, body = request
        url = f"{self._plane.url}{path}?fieldManager=bench&force=true"
        answer = self._pool.request("PATCH", url, body=body, headers=self._headers)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path} answered {answer.status}: {answer.data[:300]!r}")


def _authority(cluster: dict[str, str], file: Path) -> str:
    if "certificate-authority-data" in cluster:
        file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        return str(file)
    return cluster["certificate-authority"]
