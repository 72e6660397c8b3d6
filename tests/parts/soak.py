"""A week in minutes: an installation under pushes and random faults, and what must be true of it afterwards.

    world = World(towline, redis, git_server, api_proxy, seed=1)
    world.live_through(seconds=600)
    world.heal()

Everything random comes from the seed. The order in which processes meet a fault does not, so that a run cannot be
repeated exactly; what was done when is in `world.diary`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from parts.api_proxy import ApiProxy
from parts.git import Faults, GitServer
from parts.manifests import config_map, deployment, several
from parts.redis import RedisServer
from parts.towline import Towline

from towline.shared.faults import POINTS, Action

SERVICES = [f"s{number:02}" for number in range(50)]
BROKEN_SHARE = 0.05
REMOVED_SHARE = 0.03
EVERY_SECONDS = 1.0
FAULT_SECONDS = (2.0, 5.0)  # between two faults
LONGEST_STOP_SECONDS = 20.0  # longer than it takes until a silent worker counts as dead

BROKEN = {
    "is no YAML": "apiVersion: v1\nkind: [",
    "has no kind": "apiVersion: v1\nmetadata: {name: a}\n",
    "is refused by the API server": "",  # made below, as it bears the service's name
}


def good(service: str, number: int) -> str:
    """Objects of which one changes each time, and one is there every other time."""
    texts = [deployment(service, image=f"example.com/app:{number}"), config_map(service, number=str(number))]
    if number % 2:
        texts.append(config_map(f"{service}-odd", number=str(number)))
    return several(*texts)


def broken(service: str, kind: str) -> str:
    """What cannot be deployed."""
    return BROKEN[kind] or deployment(service, label="another")


def path_of(service: str) -> str:
    """The file of a service."""
    return f"services/{service}/app.yaml"


class World:
    """The installation, what it stands on, and the repository as it should be."""

    def __init__(
        self, towline: Towline, redis: RedisServer, git: GitServer, api: ApiProxy, *, seed: int
    ) -> None:
        self.towline, self.redis, self.git, self.api = towline, redis, git, api
        self.random = random.Random(seed)
        self.number = 0
        self.is_broken: set[str] = set()
        self.is_removed: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.diary: list[str] = []
        self.memory: list[
            tuple[float, float]
        ] = []  # seconds, MiB of all our processes, while no fault takes one away
        self._started_at = time.monotonic()
        self._pool = ThreadPoolExecutor(16)
        self._undo: list[tuple[float, Callable[[], object]]] = []

    def note(self, text: str) -> None:
        """Remember what was done when."""
        self.diary.append(f"{time.monotonic() - self._started_at:6.1f} {text}")

    def live_through(self, seconds: float, *, is_calm: bool = False) -> None:
        """A push each second, and a fault every few seconds, or none."""
        end = time.monotonic() + seconds
        next_push = next_fault = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= next_push:
                next_push += EVERY_SECONDS
                self.push()
                if is_calm:
                    self.memory.append((now - self._started_at, self.memory_mib()))
            if now >= next_fault and not is_calm:
                next_fault = now + self.random.uniform(*FAULT_SECONDS)
                self.fail_somehow()
            self._undo_due(now)
            time.sleep(0.05)

    def push(self) -> None:
        """Change one to three services; now and then one breaks, goes or comes back."""
        self.number += 1
        files: dict[str, str | None] = {}
        for service in self.random.sample(SERVICES, self.random.randint(1, 3)):
            files[path_of(service)] = self._next_content(service)
        self.deliver(self.towline.origin.commit(files))

    def _next_content(self, service: str) -> str | None:
        self.is_broken.discard(service)
        self.is_removed.discard(service)
        chance = self.random.random()
        if chance < BROKEN_SHARE:
            self.is_broken.add(service)
            kind = self.random.choice(sorted(BROKEN))
            self.note(f"{service} {kind}")
            return broken(service, kind)
        if chance < BROKEN_SHARE + REMOVED_SHARE:
            self.is_removed.add(service)
            return None
        return good(service, self.number)

    def deliver(self, revision: str, *, branch: str = "main") -> Future[int]:
        """As a forge: once, whatever the answer is, and without waiting for it."""
        call = self._pool.submit(lambda: self.towline.webhook(revision, branch=branch)[0])
        call.add_done_callback(lambda ended: self.answers.update([ended.result()]))
        return call

    def install(self) -> str:
        """The first push, with every service."""
        revision = self.towline.origin.commit({path_of(service): good(service, 0) for service in SERVICES})
        self.deliver(revision)
        return revision

    def heal(self) -> str:
        """End every fault, and push a revision in which nothing is broken; returns it."""
        self._undo_due(float("inf"))
        for left in self.towline.faults.iterdir():
            left.unlink()
        self.number += 1
        self.note("healed")
        repaired = {path_of(service): good(service, self.number) for service in self.is_broken}
        self.is_broken.clear()
        revision = self.towline.origin.commit(repaired | {"README": str(self.number)})
        self.deliver(revision).result()
        return revision

    def close(self) -> None:
        """Wait for the answers that are still to come."""
        self._pool.shutdown()

    def fail_somehow(self) -> None:
        """One fault; those that last are ended after a while."""
        fault = self.random.choice(FAULTS)
        self.note(fault.__name__.replace("_", " "))
        fault(self)

    def later(self, seconds: tuple[float, float], undo: Callable[[], object]) -> None:
        """End a fault after a random time."""
        self._undo.append((time.monotonic() + self.random.uniform(*seconds), undo))

    def _undo_due(self, now: float) -> None:
        for at, undo in [one for one in self._undo if one[0] <= now]:
            self._undo.remove((at, undo))
            undo()

    def processes(self) -> list[int]:
        """`towline up` and everything below it."""
        return with_children(self.towline.pid_of("up"))

    def memory_mib(self) -> float:
        """Resident memory of all of them that is not shared with another, in proportion (PSS)."""
        return sum(pss_kib(pid) for pid in self.processes()) / 1024


def with_children(root: int) -> list[int]:
    """A process and its descendants."""
    found = [root]
    for pid in found:
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += map(int, text.split())
    return found


def pss_kib(pid: int) -> int:
    """0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it was killed meanwhile


def kill_a_process(world: World) -> None:
    """Any but the supervisor: a worker, the clock, the receiver's parent or child."""
    _send(world.random.choice(world.processes()[1:]), signal.SIGKILL)


def stop_a_process(world: World) -> None:
    """It holds its connections and leases, is taken for dead, and comes back."""
    pid = world.random.choice(world.processes()[1:])
    _send(pid, signal.SIGSTOP)
    world.later((0.5, LONGEST_STOP_SECONDS), lambda: _send(pid, signal.SIGCONT))


def meet_a_fault_point(world: World) -> None:
    """A process is killed at a given line, or what it calls fails there."""
    point = world.random.choice(sorted(POINTS))
    action = world.random.choice([Action.KILL, Action.KILL, Action.DOWN, Action.BUG])
    world.note(f"  {point} {action}")
    world.towline.arm(point, action)


def wipe_redis(world: World) -> None:
    """FLUSHALL."""
    with world.redis.client() as client:
        client.flushall()


def restart_redis(world: World) -> None:
    """Gone for a moment, and empty."""
    world.redis.restart()


def pause_redis(world: World) -> None:
    """It accepts connections and answers nothing."""
    world.redis.pause()
    world.later((0.2, 3.0), world.redis.resume)


def fail_the_api_server(world: World) -> None:
    """Some of the next requests are answered 429, 500 or 503."""
    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        world.api.answer_instead(
            world.random.choice([429, 500, 503]), times=world.random.randint(0, 4), method=method
        )


def pause_the_api_server(world: World) -> None:
    """It holds requests and answers nothing."""
    world.api.plane.apiserver.pause()
    world.later((0.2, 3.0), world.api.plane.apiserver.resume)


def fail_the_git_server(world: World) -> None:
    """Down, slow, cut off, damaged."""
    kinds: list[dict[str, Any]] = [
        {"status": 502},
        {"wait_seconds": 0.5},
        {"cut_pack_after": 60},
        {"corrupt_pack": True},
        {"hang": True},
    ]
    for name, value in world.random.choice(kinds).items():
        setattr(world.git.faults, name, value)
    world.later((0.5, 4.0), lambda: setattr(world.git, "faults", Faults()))


FAULTS = [
    kill_a_process,
    stop_a_process,
    meet_a_fault_point,
    meet_a_fault_point,
    meet_a_fault_point,
    wipe_redis,
    restart_redis,
    pause_redis,
    fail_the_api_server,
    pause_the_api_server,
    fail_the_git_server,
]
