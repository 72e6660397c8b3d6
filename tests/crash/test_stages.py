"""Killed at every fault point of a push and of a sync, a worker loses nothing and does nothing twice in effect.

One installation is shared: each point has a branch and a service of its own. All workers die within some seconds, then
everybody waits for the same sweep.
"""

import os
import signal
from dataclasses import dataclass

import pytest
from parts.eventually import eventually
from parts.manifests import config_map, deployment, nowhere, several

from towline.shared.faults import Action, Point, Stage
from towline.shared.model import Phase
from towline.shared.queue import OUTBOX

RERUN_SECONDS = 45  # 15 s until a silent worker counts as dead, two sweeps, and some twenty jobs on two cores
ROLLBACKS = (Stage.LOAD, Stage.CAUSE)  # of a revision that fails alone
KILLED_AT = [
    Point.JOB_TAKEN,
    *(f"{stage}.begin" for stage in Stage if stage not in ROLLBACKS),
    Point.OBJECT_SENT,
    *(f"{stage}.end" for stage in (Stage.FETCH, Stage.ENQUEUE, Stage.CLAIM, Stage.APPLY, Stage.RECORD)),
    Point.JOB_ENDING,
    Point.JOB_ENDED,
]


@dataclass(frozen=True)
class Killed:
    """What was wanted when a worker died at a point."""

    service: str
    revision: str


def name_of(point):
    return point.replace(".", "-")


def manifests(name, number):
    """A Deployment that changes, a ConfigMap that changes, one that comes and one that goes."""
    return several(
        deployment(name, image=f"example.com/app:{number}"),
        config_map(name, number=str(number)),
        config_map(f"{name}-only-{number}", a="b"),
    )


def commit(towline, point, number):
    name = name_of(point)
    return towline.origin.commit({f"services/{name}/app.yaml": manifests(name, number)}, branch=name)


@pytest.fixture(scope="module")
def killed(shared_towline):
    """A worker killed at each point, one point after the other; what was wanted then."""
    towline = shared_towline
    first = {point: commit(towline, point, 1) for point in KILLED_AT}
    for point, revision in first.items():
        towline.deliver(revision, branch=name_of(point))
    for point, revision in first.items():
        towline.eventually_at(name_of(point), revision, within=30)
    return {point: kill_at(towline, point) for point in KILLED_AT}


def kill_at(towline, point):
    revision = commit(towline, point, 2)
    towline.arm(point)
    towline.deliver(revision, branch=name_of(point))
    eventually(lambda: towline.is_met(point), within=20)
    return Killed(service=name_of(point), revision=revision)


def live(towline, kind, name, api_version="v1"):
    environment = towline.tools.config.environment("staging")
    cluster = towline.tools.cluster(environment)
    return cluster.get(cluster.resource(api_version, kind), name, environment.namespace)


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_worker_killed_there_loses_nothing_and_nothing_is_applied_twice(shared_towline, killed, point):
    towline, service, revision = shared_towline, killed[point].service, killed[point].revision

    release = towline.eventually_at(service, revision, within=RERUN_SECONDS)

    assert not release.is_unfinished
    assert live(towline, "Deployment", service, "apps/v1")["metadata"]["generation"] == 2
    assert live(towline, "ConfigMap", service)["data"] == {"number": "2"}
    assert live(towline, "ConfigMap", f"{service}-only-1") is None
    assert live(towline, "ConfigMap", f"{service}-only-2") is not None
    assert [entry.revision for entry in release.status.history].count(revision) == 1


def test_after_all_of_them_no_job_waits_and_rq_calls_none_failed(shared_towline, killed):
    towline = shared_towline
    redis = towline.tools.broker.redis

    eventually(lambda: redis.hlen(OUTBOX) == 0, within=RERUN_SECONDS)
    verifying = towline.tools.views.verifying
    eventually(lambda: verifying() == {}, within=20, explain=verifying)

    assert not [name for name in redis.scan_iter("rq:failed:*")]
    assert not [view for view in towline.tools.views.list() if view.syncing or view.error]


def test_a_worker_killed_in_a_rollback_leaves_nothing_of_the_failed_revision(shared_towline, killed):
    towline, service = shared_towline, "back"
    stable = commit_to(towline, service, manifests(service, 1))
    towline.deliver(stable, branch=service)
    eventually(lambda: towline.release(service).status.phase is Phase.HEALTHY, within=20)
    towline.arm("load.begin", Action.STOP)
    failed = commit_to(towline, service, several(nowhere(pods(service)), config_map(f"{service}-only-2")))
    towline.deliver(failed, branch=service)
    (stopped,) = eventually(towline.stopped, within=20)  # about to roll back: nobody else is at work now

    towline.arm(Point.OBJECT_SENT)
    os.kill(stopped, signal.SIGCONT)
    eventually(lambda: towline.is_met(Point.OBJECT_SENT), within=10)

    def is_back():
        return towline.release(service).status.phase is Phase.ROLLED_BACK

    eventually(is_back, within=RERUN_SECONDS, explain=lambda: towline.release(service))
    release = towline.release(service)
    assert (release.status.revision, release.status.stable_revision) == (stable, stable)
    assert "nodeSelector" not in live(towline, "Deployment", service, "apps/v1")["spec"]["template"]["spec"]
    assert live(towline, "ConfigMap", f"{service}-only-1") is not None
    assert live(towline, "ConfigMap", f"{service}-only-2") is None
    assert [entry.revision for entry in release.status.history].count(failed) == 1


def commit_to(towline, service, text):
    return towline.origin.commit({f"services/{service}/app.yaml": text}, branch=service)


def pods(name):
    """A Deployment with a pod."""
    return deployment(name, image="example.com/app:2", replicas=1)


def test_a_receiver_killed_after_it_enqueued_and_before_it_answered_is_asked_again(shared_towline):
    towline = shared_towline
    service, branch = "answered", "answered"
    revision = towline.origin.commit({f"services/{service}/app.yaml": manifests(service, 1)}, branch=branch)
    towline.arm(Point.DELIVERY_ENQUEUED)

    unanswered, _ = towline.webhook(revision, branch=branch, delivery="sent-twice")
    again = eventually(lambda: towline.webhook(revision, branch=branch, delivery="sent-twice"), within=10)

    assert unanswered == 0
    assert again == (200, {"delivery": "sent-twice", "reason": "duplicate"})
    towline.eventually_at(service, revision)
