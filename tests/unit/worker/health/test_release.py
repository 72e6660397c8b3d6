"""A release's health, out of its objects' and of what their pods tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.pod_states import SYNC

from towline.shared.model import Health, ObjectKey, Phase, Result
from towline.shared.release import HistoryEntry, Quarantine, ReleaseStatus
from towline.worker.health.fault import Fault, Finding
from towline.worker.health.release import Judged, release_verdict, since_of
from towline.worker.health.verdict import Verdict, judge

SECRET = ObjectKey(group="", kind="Secret", namespace="shop", name="db")
POD = ObjectKey(group="", kind="Pod", namespace="shop", name="cart-x")
LATER = SYNC + timedelta(seconds=30)
CRASHES = Fault(object=POD, container="main", reason="CrashLoopBackOff", what="ended 3 times")
LACKS = Fault(object=POD, reason="CreateContainerConfigError", what="cannot start", missing=SECRET)


def judged(
    health: Health, kind: str = "Deployment.apps", *, fault: Fault | None = None, later: bool = False
) -> Judged:
    """An object called `cart` with this health, and what is found at its pods."""
    name, _, group = kind.partition(".")
    return Judged(
        key=ObjectKey(group=group, kind=name, namespace="shop", name="cart"),
        verdict=Verdict(health=health, reason="as it is"),
        found=Finding(fault=fault, look_again_at=LATER if later else None),
    )


def test_a_fault_at_the_pods_makes_a_release_fail_while_its_workload_still_hopes() -> None:
    one = release_verdict([judged(Health.HEALTHY, "Service"), judged(Health.PROGRESSING, fault=CRASHES)])
    assert (one.health, one.fault) == (Health.FAILED, CRASHES)
    assert one.reason == "Deployment.apps shop/cart: container main of pod cart-x ended 3 times"
    assert str(one.object) == "Deployment.apps shop/cart"


@pytest.mark.parametrize("health", [Health.HEALTHY, Health.SUSPENDED, Health.UNKNOWN])
def test_pods_have_no_say_about_a_workload_that_does_not_wait_for_them(health: Health) -> None:
    assert release_verdict([judged(health, fault=CRASHES, later=True)]).health is health


def test_what_was_deleted_is_told_before_what_is_only_not_known_and_after_what_failed() -> None:
    gone = replace(judged(Health.UNKNOWN), is_gone=True)
    unknown, failed = judged(Health.UNKNOWN, "Rollout"), judged(Health.FAILED, "DaemonSet.apps")

    one = release_verdict([unknown, gone])

    assert (one.health, one.object, one.is_gone) == (Health.UNKNOWN, gone.key, True)
    assert one.reason == "Deployment.apps shop/cart is not there: it was deleted"
    assert not release_verdict([gone, failed]).is_gone


def test_a_pod_of_its_own_is_borne_with_as_others_are() -> None:
    assert release_verdict([judged(Health.FAILED, "Pod")]).health is Health.PROGRESSING
    assert release_verdict([judged(Health.FAILED, "Pod", fault=CRASHES)]).health is Health.FAILED
    assert release_verdict([judged(Health.FAILED)]).health is Health.FAILED


@pytest.mark.parametrize(
    ("synced", "expected"),
    [(timedelta(seconds=1), Health.HEALTHY), (timedelta(seconds=-1), Health.FAILED)],
)
def test_a_run_of_a_cron_job_that_failed_before_the_sync_does_not_fail_its_fix(
    synced: timedelta, expected: Health
) -> None:
    run = {
        "lastScheduleTime": SYNC.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastSuccessfulTime": "2001-01-01T00:00:00Z",
    }
    verdict = judge({"apiVersion": "batch/v1", "kind": "CronJob", "status": run})
    one = replace(judged(Health.FAILED, "CronJob.batch"), verdict=verdict)
    assert release_verdict([one], since=SYNC + synced).health is expected


def ill(health: Health, *, changed: timedelta) -> Judged:
    """An object that is not well, and was changed last so long after SYNC."""
    one = judged(health, "Certificate.cert-manager.io")
    return replace(one, verdict=replace(one.verdict, unchanged_since=SYNC + changed))


BEFORE, AFTER = timedelta(seconds=-3), timedelta(seconds=-1)  # a time is in whole seconds, and clocks differ


@pytest.mark.parametrize("health", [Health.FAILED, Health.PROGRESSING])
@pytest.mark.parametrize(
    ("changed", "other", "expected"),
    [
        pytest.param(BEFORE, Health.HEALTHY, (None, True), id="as before"),
        pytest.param(AFTER, Health.HEALTHY, (None, False), id="changed since"),
        pytest.param(BEFORE, Health.PROGRESSING, (Health.PROGRESSING, False), id="another is not ready"),
        pytest.param(BEFORE, Health.FAILED, (Health.FAILED, False), id="another fails"),
    ],
)
def test_what_was_ill_under_the_stable_revision_counts_only_where_all_else_is_well(
    health: Health, changed: timedelta, other: Health, expected: tuple[Health | None, bool]
) -> None:
    one = release_verdict([ill(health, changed=changed), judged(other)], stable_until=SYNC)
    assert (one.health, one.is_old) == (expected[0] or health, expected[1])


def test_a_pod_of_its_own_that_failed_before_counts_as_other_objects_do() -> None:
    pod = replace(judged(Health.FAILED, "Pod"), verdict=ill(Health.FAILED, changed=BEFORE).verdict)

    assert release_verdict([pod], stable_until=SYNC).is_old


def test_without_a_stable_revision_before_it_a_revision_answers_for_everything() -> None:
    assert not release_verdict([ill(Health.FAILED, changed=BEFORE)]).is_old


def test_an_object_is_as_it_is_since_anybody_changed_it_last() -> None:
    entries = [{"time": "2026-11-24T11:00:00Z"}, {"time": "2026-11-24T12:00:00Z"}, {"time": "soon"}, {}, 7]
    metadata: dict[str, object] = {"managedFields": entries}
    broken = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Failed"}}
    well = {**broken, "status": {"phase": "Succeeded"}}

    assert judge(broken).unchanged_since == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert judge(well).unchanged_since is None
    assert judge({**broken, "metadata": {"managedFields": "none"}}).unchanged_since is None


def test_the_time_to_look_again_is_the_earliest_of_what_is_open() -> None:
    one = release_verdict([judged(Health.PROGRESSING, later=True), judged(Health.HEALTHY, "Service")])
    assert (one.health, one.look_again_at) == (Health.PROGRESSING, LATER)


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        pytest.param(
            judged(Health.PROGRESSING, "ExternalSecret.external-secrets.io"), Health.PROGRESSING, id="maker"
        ),
        pytest.param(
            judged(Health.HEALTHY, "ExternalSecret.external-secrets.io"), Health.FAILED, id="maker is done"
        ),
        pytest.param(judged(Health.PROGRESSING), Health.FAILED, id="no maker"),
        pytest.param(
            judged(Health.PROGRESSING, "Ingress.networking.k8s.io"), Health.FAILED, id="waits for an address"
        ),
    ],
)
def test_what_pods_lack_is_waited_for_while_something_may_make_it(maker: Judged, expected: Health) -> None:
    assert release_verdict([maker, judged(Health.PROGRESSING, fault=LACKS)]).health is expected


def test_a_release_of_healthy_objects_is_healthy_for_no_object_s_sake() -> None:
    one = release_verdict([judged(Health.HEALTHY)])
    assert (one.health, one.object, one.fault, one.look_again_at) == (Health.HEALTHY, None, None, None)


def test_what_is_judged_began_with_its_attempt_not_with_its_end() -> None:
    began = SYNC - timedelta(seconds=9)
    entry = HistoryEntry(revision="a" * 40, result=Result.SYNCED, started_at=began)
    assert since_of(ReleaseStatus(revision="a" * 40, synced_at=SYNC, history=(entry,))) == began
    assert since_of(ReleaseStatus(revision="b" * 40, synced_at=SYNC, history=(entry,))) == SYNC


def test_a_rollback_began_when_the_revision_was_found_bad() -> None:
    found = SYNC - timedelta(seconds=9)
    bad = Quarantine(revision="a" * 40, since=found)
    assert since_of(ReleaseStatus(phase=Phase.ROLLING_BACK, quarantined=bad, synced_at=SYNC)) == found
