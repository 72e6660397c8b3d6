"""Killed at every step of a verdict, a rollback, an operator's word and a repair, a worker leaves nothing half-done.

One installation for all: a service for each point. While workers die nobody else is at work, neither clock nor watcher, so
that each point is met by the job that it is meant for; then both are started, and everything has to come right.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from parts.breaking import breaking, numbers_of, whole
from parts.control_plane import ControlPlane
from parts.eventually import eventually
from parts.failing import FAILS, Fails
from parts.towline import Towline

from towline.shared.faults import Point
from towline.shared.jobs import (
    Call,
    QueueName,
    SteerArguments,
    Steering,
    conclude_call,
    heal_call,
    steer_call,
    sync_call,
)
from towline.shared.model import Phase, Result, Trigger
from towline.shared.queue import OUTBOX
from towline.shared.release import Release
from towline.shared.wanted import Wanted

AGAIN_SECONDS = (
    60  # 15 s until a silent worker counts as dead, two sweeps, a lease of 12 s, and some fifty jobs
)

ROOM = "tests.towline.dev/rollbacks"

# The end of a stage and the begin of the next are the same line, where nothing lies between.
OF_A_ROLLBACK = [
    "load.begin",
    "plan.begin",
    "check.begin",
    "claim.begin",
    "claim.end",
    Point.OBJECT_SENT,
    "apply.end",
    "prune.end",
    "record.end",
]
OF_A_VERDICT = [
    Point.JOB_TAKEN,
    "judge.begin",
    "judge.end",
    "cause.end",
    "conclude.end",
    *OF_A_ROLLBACK,
    Point.JOB_ENDING,
]
OF_AN_OPERATORS_ROLLBACK = ["find.end", *OF_A_ROLLBACK, Point.JOB_ENDING]
OF_A_REPAIR = ["check.begin", "claim.begin", "claim.end", Point.OBJECT_SENT, "apply.end", "record.end"]
OF_A_WORD = [Point.JOB_TAKEN, Point.SPEC_WRITTEN, Point.JOB_ENDING]


def named(beginning: str, points: Sequence[str]) -> dict[str, str]:
    """The point at which each of these services loses its worker."""
    return {f"{beginning}-{point.replace('.', '-')}": point for point in points}


FAILING = named("failing", OF_A_VERDICT)
RETURNING = named("returning", OF_AN_OPERATORS_ROLLBACK)
DRIFTING = named("drifting", OF_A_REPAIR)
SUSPENDED = named("suspended", OF_A_WORD)
RESUMED = named("resumed", OF_A_WORD)
PINNED = named("pinned", OF_A_WORD)
UNPINNED = named("unpinned", OF_A_WORD)
WORDS = {
    Steering.SUSPEND: SUSPENDED,
    Steering.RESUME: RESUMED,
    Steering.PIN: PINNED,
    Steering.UNPIN: UNPINNED,
}
ALL = [*FAILING, *RETURNING, *DRIFTING, *(name for names in WORDS.values() for name in names)]


@dataclass(frozen=True)
class Killed:
    """The revisions of all services, before and after their workers were killed."""

    first: str
    second: str
    bad: str


def push(towline: Towline, names: Sequence[str], number: int, **how: Any) -> str:
    files = {f"services/{name}/app.yaml": breaking(name, number, **how) for name in names}
    revision = towline.origin.commit(files)
    towline.deliver(revision)
    return revision


def wait(towline: Towline, names: Sequence[str], phase: Phase, revision: str, *, within: float = 40) -> None:
    """Until all of them are there."""

    def missing() -> list[str]:
        found = {name: towline.release(name) for name in names}
        return [
            f"{name}: {one and one.status.phase}, {one and one.status.message}"
            for name, one in found.items()
            if one is None or (one.status.phase, one.status.revision) != (phase, revision)
        ]

    eventually(lambda: not missing(), within=within, every=0.2, explain=missing)


def kill_at(towline: Towline, point: str, call: Call, wanted: Wanted | None = None) -> None:
    """Have the worker that takes this job die at a point."""
    towline.arm(point)
    towline.tools.queue.enqueue([call], [wanted] if wanted else [])
    eventually(lambda: towline.is_met(point), within=10)


def pods_have_failed(plane: ControlPlane, namespace: str, count: int) -> bool:
    pods = json.loads(plane.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    return str(pods).count("ImagePullBackOff") >= count


def word_for(name: str, action: Steering) -> Call:
    """What `towline suspend` and the others ask for."""
    return steer_call(SteerArguments(release=f"staging/{name}", action=action, operator="ada"))


def is_held(towline: Towline, name: str) -> bool:
    """Whether an operator's word keeps it where it is."""
    release = towline.release(name)
    return release is not None and (release.status.phase is Phase.SUSPENDED or bool(release.pinned))


def return_to(towline: Towline, name: str, revision: str) -> Wanted:
    """What `towline rollback` asks for."""
    return Wanted(
        release=f"staging/{name}",
        repository="shop",
        ref="refs/heads/main",
        revision=revision,
        sequence=towline.tools.queue.wishes.next_sequence(),
        trigger=Trigger.OPERATOR,
        operator="ada",
        received_at=time.time(),
        rollback=True,
        pin=True,
    )


@pytest.fixture(scope="module")
def killed(shared_installation: Towline, control_plane: ControlPlane) -> Iterator[Killed]:
    """A worker killed at each point; then a clock and a watcher."""
    towline = shared_installation
    namespace = towline.config.environment("staging").namespace
    towline.start("worker")
    clock = towline.start("clock")
    first = push(towline, ALL, 1)
    wait(towline, ALL, Phase.HEALTHY, first, within=90)
    for held, names in ((Steering.SUSPEND, RESUMED), (Steering.PIN, UNPINNED)):
        towline.tools.queue.enqueue([word_for(name, held) for name in names])
    eventually(lambda: all(is_held(towline, name) for name in (*RESUMED, *UNPINNED)), within=20)
    second = push(towline, [*RETURNING, *RESUMED, *UNPINNED], 2)
    wait(towline, list(RETURNING), Phase.HEALTHY, second)
    clock.stop()
    eventually(lambda: towline.tools.broker.redis.hlen(OUTBOX) == 0)
    bad = push(towline, list(FAILING), 3, fails=Fails.IMAGE, room=ROOM)
    wait(towline, list(FAILING), Phase.VERIFYING, bad)
    eventually(lambda: towline.tools.broker.redis.hlen(OUTBOX) == 0)  # who judges now must see no failed pod
    control_plane.kubectl("label", "node", "--all", f"{ROOM}=yes")
    eventually(lambda: pods_have_failed(control_plane, namespace, len(FAILING)), within=10)

    for name, point in FAILING.items():
        kill_at(towline, point, conclude_call(f"staging/{name}", revision=bad, queue=QueueName.SYNCS))
    for name, point in RETURNING.items():
        call = sync_call(f"staging/{name}", revision=first, trigger=Trigger.OPERATOR, queue=QueueName.URGENT)
        kill_at(towline, point, call, return_to(towline, name, first))
    for name, point in DRIFTING.items():
        patch = json.dumps({"data": {"number": "drifted"}})
        control_plane.kubectl("-n", namespace, "patch", "configmap", name, "--type=merge", "-p", patch)
        kill_at(towline, point, heal_call(f"staging/{name}", queue=QueueName.URGENT))
    for action, names in WORDS.items():
        for name, point in names.items():
            kill_at(towline, point, word_for(name, action))

    towline.start("clock")
    towline.start("watcher")
    yield Killed(first=first, second=second, bad=bad)
    control_plane.kubectl("label", "node", "--all", f"{ROOM}-")


def finished(
    towline: Towline, name: str, phase: Phase, also: Callable[[Release], bool] = lambda _: True
) -> Release:
    """The release once it has come to this phase and nothing of it is half-done."""

    def is_there() -> Release | None:
        release = towline.release(name)
        assert release is not None
        is_done = release.status.phase is phase and not release.is_unfinished and also(release)
        return release if is_done else None

    return eventually(is_there, within=AGAIN_SECONDS, every=0.2, explain=lambda: towline.release(name))


def assert_is_whole(towline: Towline, name: str) -> None:
    """Everything of the first revision is there, and nothing of another; it took three writes to get there."""
    assert numbers_of(towline, name) == whole(1)
    workload = towline.live("Deployment", name, "apps/v1")
    assert workload is not None
    assert FAILS not in workload["spec"]["template"]["metadata"].get("annotations", {})
    assert workload["metadata"]["generation"] == 3


@pytest.mark.parametrize("name", FAILING)
def test_a_worker_killed_while_it_judges_or_brings_back_leaves_nothing_of_the_failed_revision(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    status = finished(towline, name, Phase.ROLLED_BACK).status

    assert (status.revision, status.stable_revision) == (killed.first, killed.first)
    assert status.quarantined is not None
    assert status.quarantined.revision == killed.bad
    assert_is_whole(towline, name)
    attempts = [entry.result for entry in status.history if entry.revision == killed.bad]
    assert attempts == [Result.ROLLED_BACK]


@pytest.mark.parametrize("name", RETURNING)
def test_a_worker_killed_while_an_operator_goes_back_ends_there_and_pinned(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    release = finished(towline, name, Phase.HEALTHY, lambda one: one.status.revision == killed.first)

    assert release.pinned == killed.first
    assert_is_whole(towline, name)
    assert [entry.triggered_by for entry in release.status.history].count("ada") == 1


@pytest.mark.parametrize("name", DRIFTING)
def test_a_worker_killed_while_it_puts_back_what_somebody_changed_does_so_all_the_same(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    def is_put_back(_: Release) -> bool:
        found = towline.live("ConfigMap", name)
        return found is not None and found["data"] == {"number": "1"}

    status = finished(towline, name, Phase.HEALTHY, is_put_back).status

    assert (status.revision, len(status.history)) == (killed.first, 1)


@pytest.mark.parametrize("name", SUSPENDED)
def test_a_worker_killed_while_it_suspends_a_release_does_so_all_the_same(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    release = finished(towline, name, Phase.SUSPENDED)

    assert (release.suspended, release.generation) == (True, release.status.observed_generation)
    assert "ada" in release.status.message or "an edit" in release.status.message


@pytest.mark.parametrize("name", [*RESUMED, *UNPINNED])
def test_a_worker_killed_while_it_lets_a_release_go_brings_what_was_pushed_meanwhile(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    release = finished(towline, name, Phase.HEALTHY, lambda one: one.status.revision == killed.bad)

    assert numbers_of(towline, name) == whole(2)  # bad for others, and the tip of the branch
    assert (release.suspended, release.pinned) == (False, "")
    assert release.generation == release.status.observed_generation


@pytest.mark.parametrize("name", PINNED)
def test_a_worker_killed_while_it_pins_a_release_does_so_all_the_same(
    shared_installation: Towline, killed: Killed, name: str
):
    towline = shared_installation

    release = finished(towline, name, Phase.HEALTHY, is_carried_out)

    assert (release.pinned, release.status.revision) == (killed.first, killed.first)


def is_carried_out(release: Release) -> bool:
    """Whether what stands in its spec was seen: a word about it was said once."""
    return release.generation == release.status.observed_generation == 2


def test_after_all_of_them_nothing_waits(shared_installation: Towline, killed: Killed):
    redis = shared_installation.tools.broker.redis

    eventually(lambda: redis.hlen(OUTBOX) == 0, within=AGAIN_SECONDS, explain=lambda: redis.hkeys(OUTBOX))

    assert not list(redis.scan_iter("rq:failed:*"))
    assert shared_installation.tools.views.verifying() == {}
