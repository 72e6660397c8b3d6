"""The real parts of one run, a control plane and a Redis; and its API server watched from outside, as any user can."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import urllib3
import yaml
from parts.control_plane import ControlPlane
from parts.redis import RedisServer
from programs.build import find


@contextmanager
def parts_of_a_run() -> Iterator[tuple[Path, ControlPlane, RedisServer]]:
    """A folder, a control plane and a Redis, which end with this block."""
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder:
        place = Path(folder)
        (place / "plane").mkdir()
        (place / "redis").mkdir()
        plane = ControlPlane(place / "plane", program=find)
        redis = RedisServer(place / "redis")
        try:
            plane.start()
            redis.start()
            yield place, plane, redis
        finally:
            redis.stop()
            plane.stop()


def watched(plane: ControlPlane, path: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Every event of a path of the API, with the `time.perf_counter` at which it came; ends with the API server."""
    authority = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    pool = urllib3.PoolManager(ca_certs=authority["certificate-authority"])
    headers = {"Authorization": f"Bearer {plane.token}"}
    answer = pool.request("GET", f"{plane.url}{path}?watch=true", headers=headers, preload_content=False)
    if answer.status != 200:
        raise RuntimeError(f"watching {path}: {answer.status}")
    return _events(answer)


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[tuple[float, dict[str, Any]]]:
    rest = b""
    try:
        for piece in answer.stream(None):
            at = time.perf_counter()
            *lines, rest = (rest + piece).split(b"\n")
            yield from ((at, msgspec.json.decode(line)) for line in lines)
    except urllib3.exceptions.ProtocolError:
        return  # the API server has ended; whoever still waits is told what is missing
