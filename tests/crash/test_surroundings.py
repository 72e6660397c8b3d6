"""What Towline stands on fails while it works: Redis, API server, Git server, the disk; then it is there again.

Each time the end is the same: the newest push is live, once, nothing waits, and what ran before ran on meanwhile.
"""

import errno
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from parts.eventually import eventually
from parts.manifests import config_map, several

from towline.shared.faults import Action, Point
from towline.shared.queue import DUE, OUTBOX

ORDERS = "services/orders/app.yaml"
RERUN_SECONDS = 45
AGAIN_SECONDS = 20  # a job that failed for want of a server waits 1 to 4 s at its first attempts


def manifests(number):
    names = [f"orders-{index}" for index in range(6)]
    return several(*(config_map(name, number=str(number)) for name in names))


def numbers(towline):
    environment = towline.tools.config.environment("staging")
    cluster = towline.tools.cluster(environment)
    found = cluster.list(cluster.resource("v1", "ConfigMap"), environment.namespace)
    return [one["data"].get("number") for one in found if one["metadata"]["name"].startswith("orders-")]


def deploy(towline, number, *, wait=True):
    revision = towline.origin.commit({ORDERS: manifests(number)})
    towline.deliver(revision)
    if wait:
        towline.eventually_at("orders", revision, within=AGAIN_SECONDS)
    return revision


def is_at_rest(towline):
    redis = towline.tools.broker.redis
    return redis.hlen(OUTBOX) == 0 and redis.zcard(DUE) == 0 and not list(redis.scan_iter("towline:lease:*"))


def assert_all_well(towline, revision, number, *, within=AGAIN_SECONDS):
    towline.eventually_at("orders", revision, within=within)
    assert numbers(towline) == [str(number)] * 6
    eventually(lambda: is_at_rest(towline), within=RERUN_SECONDS)


@pytest.fixture
def running(towline):
    towline.start("worker")
    towline.start("clock")
    deploy(towline, 1)
    return towline


def stopped_half_way(towline, number):
    """A push whose sync was stopped after the first of its six objects; the process that does it."""
    towline.arm(Point.OBJECT_SENT, Action.STOP)
    revision = deploy(towline, number, wait=False)
    eventually(lambda: towline.is_met(Point.OBJECT_SENT), within=10)
    (stopped,) = eventually(towline.stopped, within=5)
    return revision, stopped


@pytest.fixture
def apiserver(control_plane):
    """The run's kube-apiserver; controllers but kwok are started anew afterwards, or they would back off for long."""
    yield control_plane.apiserver
    for process in control_plane.controllers[:-1]:
        process.kill()
        process.start()


def test_the_api_server_is_restarted_in_the_middle_of_an_apply(running, control_plane, apiserver):
    revision, stopped = stopped_half_way(running, 2)

    apiserver.kill()
    apiserver.start()
    os.kill(stopped, signal.SIGCONT)  # it meets a server that is gone, then one that is not ready yet
    apiserver.wait_ready(control_plane.is_ready)

    assert_all_well(running, revision, 2, within=RERUN_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGCONT, signal.SIGKILL], ids=["goes on", "is killed"])
def test_redis_is_restarted_in_the_middle_of_an_apply_and_has_forgotten_everything(
    running, redis_server, number
):
    revision, stopped = stopped_half_way(running, 2)

    redis_server.restart()
    os.kill(stopped, number)

    assert_all_well(running, revision, 2, within=RERUN_SECONDS)


def test_redis_does_not_answer_for_a_while_in_the_middle_of_an_apply(running, redis_server):
    revision, stopped = stopped_half_way(running, 2)

    redis_server.pause()
    os.kill(stopped, signal.SIGCONT)
    # What is in hand is recorded; then it is silent for longer than somebody without patience would wait.
    eventually(lambda: running.release("orders").status.revision == revision, within=10)
    silent_until = time.monotonic() + 2
    eventually(lambda: time.monotonic() > silent_until, within=5)
    redis_server.resume()

    assert_all_well(running, revision, 2, within=RERUN_SECONDS)


@pytest.mark.parametrize("code", [429, 500])
def test_the_api_server_answers_errors_that_pass_in_the_middle_of_an_apply(install, api_proxy, code):
    towline = install(kubeconfig=api_proxy.kubeconfig)
    towline.start("worker")
    towline.start("clock")
    deploy(towline, 1)
    api_proxy.answer_instead(code, times=4, method="PATCH", path="/configmaps/")

    revision = deploy(towline, 2, wait=False)

    assert_all_well(towline, revision, 2, within=RERUN_SECONDS)
    assert len(api_proxy.answered) == 4


FAULTS_OF_GIT = {
    "answers 502": {"status": 502},
    "cuts off in the middle of a pack": {"cut_pack_after": 20_000},
    "sends a damaged pack": {"corrupt_pack": True},
}


@pytest.mark.parametrize("fault", FAULTS_OF_GIT.values(), ids=FAULTS_OF_GIT)
def test_the_git_server_misbehaves_for_a_while(running, git_server, fault):
    running.origin.commit({"noise": os.urandom(50_000)})  # so that it is the pack that is damaged or cut off
    for name, value in fault.items():
        setattr(git_server.faults, name, value)

    revision = deploy(running, 2, wait=False)
    eventually(lambda: running.tools.broker.redis.zcard(DUE), within=10)  # it is to be tried again
    git_server.faults = type(git_server.faults)()

    assert_all_well(running, revision, 2)


def test_the_git_server_takes_a_second_for_each_answer(running, git_server):
    git_server.faults.wait_seconds = 1.0

    revision = deploy(running, 2, wait=False)

    assert_all_well(running, revision, 2)


def test_the_git_server_is_down_for_a_while(running, git_server):
    git_server.stop()
    revision = deploy(running, 2, wait=False)
    eventually(lambda: running.tools.broker.redis.zcard(DUE), within=10)

    git_server.start()

    assert_all_well(running, revision, 2)


def test_everything_is_killed_at_once_in_the_middle_of_an_apply(embedded):
    first = embedded.origin.commit({ORDERS: manifests(1)})
    up = embedded.start_embedded()
    embedded.webhook(first)
    embedded.eventually_at("orders", first)
    embedded.arm(Point.OBJECT_SENT, Action.STOP)
    second = embedded.origin.commit({ORDERS: manifests(2)})
    status, _ = embedded.webhook(second)
    eventually(lambda: embedded.is_met(Point.OBJECT_SENT), within=10)

    os.killpg(up.pid, signal.SIGKILL)
    up.kill()
    embedded.start_embedded()

    assert status == 202
    embedded.eventually_at("orders", second, within=RERUN_SECONDS)
    assert numbers(embedded) == ["2"] * 6


@pytest.fixture
def embedded(towline):
    """An installation that brings a Redis of its own."""
    document = yaml.safe_load(towline.config_path.read_text())
    del document["redis"]
    towline.config_path.write_text(yaml.safe_dump(document))
    return towline


@pytest.fixture
def on_a_small_disk(towline):
    """The workers run, and what is below their data_dir is a file system of 4 MB; where we see it."""
    worker = towline.start("worker", disk_megabytes=4)
    towline.start("clock")
    return Path(f"/proc/{worker.pid}/root{towline.config.data_dir}")


def fill(folder):
    """Leave no room at all."""
    ballast = folder / "ballast"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_the_disk_is_full_for_a_while(towline, on_a_small_disk):
    deploy(towline, 1)
    ballast = fill(on_a_small_disk)

    revision = deploy(towline, 2, wait=False)
    eventually(lambda: towline.tools.broker.redis.zcard(DUE), within=10)
    ballast.unlink()

    assert_all_well(towline, revision, 2)
