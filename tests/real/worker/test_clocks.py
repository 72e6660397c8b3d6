"""A worker whose clock is an hour off judges, and records, by the clock of the cluster."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.api_proxy import ApiProxy
from parts.cluster_client import access
from parts.control_plane import ControlPlane
from parts.engine import Engine
from parts.eventually import eventually
from parts.failing import workload
from parts.judging import REVISION, Judge
from parts.manifests import config_map

from towline.shared.cluster import Cluster, connect
from towline.shared.model import Health, Phase
from towline.shared.pod_limits import PodLimits
from towline.shared.release import Release, StoredRevision, Verification
from towline.worker.decision import concluded
from towline.worker.health.release import ReleaseVerdict

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def wrong(request: pytest.FixtureRequest, control_plane: ControlPlane) -> Cluster:
    """The cluster of the tests, as a machine sees it whose clock is wrong; it has answered once."""
    seconds = request.param.total_seconds()
    cluster = connect(access(control_plane.kubeconfig), wall_clock=lambda: time.time() + seconds)
    cluster.get(cluster.resource("v1", "Namespace"), "default")
    return cluster


def conclusion(release: Release, health: Health, cluster: Cluster) -> Phase | None:
    """To what phase a worker that sees this cluster brings a release of this health."""
    status = concluded(release, ReleaseVerdict(health=health, reason="as it is"), now=cluster.now())
    return status.phase if status else None


@pytest.mark.parametrize("behind", [HOUR, -HOUR], ids=["behind", "ahead"])
def test_what_a_sync_and_its_conclusion_record_is_the_cluster_s_time(
    engine: Engine, api_proxy: ApiProxy, behind: timedelta
) -> None:
    api_proxy.seconds_behind = behind.total_seconds()
    engine.tools.config = replace(engine.tools.config, clusters={"test": access(api_proxy.kubeconfig)})

    engine.deploy({"services/orders/app.yaml": config_map("orders")})
    engine.conclude("orders")

    release = engine.release("orders")
    assert release is not None
    status = release.status
    times = (status.synced_at, status.history[0].started_at, status.stored[0].stable_at)
    for one in times:
        assert one is not None and abs(one - (datetime.now(UTC) - behind)) < MINUTE, times


def test_a_pod_that_fits_on_no_node_is_borne_with_as_long_as_is_said(judge: Judge, wrong: Cluster) -> None:
    judge = replace(judge, cluster=wrong)
    judge.apply(workload(judge.namespace, "cart", pod={"nodeSelector": {"disk": "fast"}}))
    limit = 10 * MINUTE

    fails_at = eventually(
        lambda: judge.verdict(PodLimits(unschedulable_seconds=limit.total_seconds())).look_again_at,
        explain=judge.verdict,
    )

    assert fails_at is not None and abs(fails_at - limit - datetime.now(UTC)) < MINUTE
    assert judge.fault(PodLimits(unschedulable_seconds=1)).reason == "Unschedulable"


@pytest.mark.parametrize(
    ("ago", "phase"), [(MINUTE, Phase.ROLLING_BACK), (11 * MINUTE, Phase.FAILED)], ids=["within", "after"]
)
def test_the_time_in_which_a_stable_revision_is_watched_is_as_long_as_is_said(
    judge: Judge, wrong: Cluster, ago: timedelta, phase: Phase
) -> None:
    stable_at = datetime.now(UTC) - ago
    stored = [
        StoredRevision(name=name, sha256="s", revision=revision, stable_at=stable_at)
        for name, revision in (("new", REVISION), ("old", "b" * 40))
    ]
    watched = {
        "phase": Phase.HEALTHY,
        "stored": tuple(stored),
        "verification": Verification(watch_seconds=600),
        "stable_revision": REVISION,
    }
    release = replace(judge.release, status=judge.release.status.model_copy(update=watched))

    assert conclusion(release, Health.FAILED, wrong) is phase


@pytest.mark.parametrize(
    ("ago", "phase"), [(MINUTE, None), (6 * MINUTE, Phase.FAILED)], ids=["in time", "late"]
)
def test_a_release_is_late_when_the_clock_of_the_cluster_says_so(
    judge: Judge, wrong: Cluster, ago: timedelta, phase: Phase | None
) -> None:
    status = judge.release.status.model_copy(update={"synced_at": datetime.now(UTC) - ago})
    release = replace(judge.release, status=status)

    assert conclusion(release, Health.PROGRESSING, wrong) is phase
