"""Watches one kind in one namespace from outside, and keeps every event with the time at which it came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import urllib3
import yaml
from parts.control_plane import ControlPlane

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event, at a `time.perf_counter`."""

    at: float
    type: str
    object: Object


class Events:
    """The events of `path`, such as `/api/v1/namespaces/shop/pods`."""

    def __init__(self, plane: ControlPlane, path: str) -> None:
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        authority = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        pool = urllib3.PoolManager(ca_certs=authority["certificate-authority"])
        headers = {"Authorization": f"Bearer {plane.token}"}
        url = f"{plane.url}{path}?watch=true"
        self._answer = pool.request("GET", url, headers=headers, preload_content=False)
        if self._answer.status != 200:
            raise RuntimeError(f"watching {path}: {self._answer.status}")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        try:
            for piece in self._answer.stream(None):
                at = time.perf_counter()
                *lines, rest = (rest + piece).split(b"\n")
                events = [json.loads(line) for line in lines]
                with self._changed:
                    self._seen += [Seen(at=at, type=one["type"], object=one["object"]) for one in events]
                    self._changed.notify_all()
        except urllib3.exceptions.ProtocolError:
            return  # the API server has ended; whoever still waits is told what is missing

    def first(self, what: str, fits: Callable[[Seen], bool], *, after: float, within: float = 20.0) -> float:
        """When the first event after a time came that fits; raises TimeoutError."""
        deadline, at = time.monotonic() + within, 0
        with self._changed:
            while True:
                for seen in self._seen[at:]:
                    if seen.at > after and fits(seen):
                        return seen.at
                at, left = len(self._seen), deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"not seen within {within:g} s: {what}")
