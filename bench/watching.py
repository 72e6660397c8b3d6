"""Watches Releases from outside, as any user of the cluster can, and remembers when each revision was recorded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from typing import Any

import urllib3
import yaml
from parts.control_plane import ControlPlane

RELEASES = "/apis/towline.dev/v1alpha1/namespaces/{}/releases?watch=true"


class Watch:
    """A watch of the Releases of one namespace; `time.perf_counter` of the first event of each revision is kept."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._changed = threading.Condition()
        authority = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        pool = urllib3.PoolManager(ca_certs=authority["certificate-authority"])
        headers = {"Authorization": f"Bearer {plane.token}"}
        url = plane.url + RELEASES.format(namespace)
        self._answer = pool.request("GET", url, headers=headers, preload_content=False)
        if self._answer.status != 200:
            raise RuntimeError(f"watching Releases: {self._answer.status}")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        try:
            for piece in self._answer.stream(None):
                at = time.perf_counter()
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._note(json.loads(line)["object"], at)
        except urllib3.exceptions.ProtocolError:
            return  # the API server has ended; whoever still waits is told what is missing

    def _note(self, release: dict[str, Any], at: float) -> None:
        status = release.get("status") or {}
        key = (release["metadata"]["name"], status.get("revision", ""))
        with self._changed:
            if key not in self._seen:
                self._seen[key] = at
                self._entries[key] = (status.get("history") or [{}])[0]
                self._changed.notify_all()

    def wait(self, services: Iterable[str], revision: str, *, within: float) -> float:
        """The time at which the last of these was recorded at the revision; raises TimeoutError naming the rest."""
        missing = set(services)
        keys = {(name, revision) for name in missing}
        deadline = time.monotonic() + within
        with self._changed:
            while not keys <= self._seen.keys():
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    rest = sorted(name for name, _ in keys - self._seen.keys())
                    raise TimeoutError(f"{len(rest)} of {len(keys)} not at {revision[:10]}: {rest[:5]}")
            return max(self._seen[key] for key in keys)

    def entry(self, service: str, revision: str) -> dict[str, Any]:
        """The history entry of the attempt that brought a release to a revision."""
        with self._changed:
            return self._entries[service, revision]
