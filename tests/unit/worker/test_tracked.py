"""What a watcher decides of one release: pure, by what it kept of the objects."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from towline.shared.jobs import QueueName
from towline.shared.model import Health, ObjectKey
from towline.shared.objects import PART_OF, owned_hash
from towline.shared.release import CLAIM, AppliedObject, Release, release_of
from towline.shared.watching import Selection
from towline.worker.cache import Cache
from towline.worker.drift import Drift, How
from towline.worker.repairs import WINDOW_SECONDS
from towline.worker.tracked import (
    AGAIN_SECONDS,
    BACK_SECONDS,
    CONFIRM_SECONDS,
    DRIFT_SETTLE_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    SETTLE_SECONDS,
    STUCK_SECONDS,
    UNSEEN,
    Asked,
    Question,
    Tracked,
    again,
    awaited,
    confirmed,
    followed,
    is_due,
    look_in,
    question_of,
    verdict_of,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DEPLOYMENTS = Selection(group="apps", kind="Deployment", namespace="shop", labels=PART_OF)
KEY = ObjectKey(group="apps", kind="Deployment", namespace="shop", name="orders")
MINE = {"f:spec": {"f:replicas": {}}}


def deployment(*, version: int, ready: int = 1, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """A Deployment as a watch shows it."""
    entry = {"manager": "towline", "operation": "Apply", "fieldsV1": fields or MINE}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": "u1",
            "generation": 1,
            "resourceVersion": str(version),
            "labels": {PART_OF: "set"},
            "managedFields": [entry],
        },
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
            "availableReplicas": ready,
        },
    }


def release(
    *,
    version: int = 100,
    digest: str = "d1",
    claim: str = "c1",
    recorded: str = "c1",
    generation: int = 1,
    **status: Any,
) -> Release:
    """A Release with one Deployment, Verifying since NOW."""
    one = {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "orders"}
    usual = {
        "phase": "Verifying",
        "revision": "a" * 40,
        "syncedAt": NOW.isoformat(),
        "observedGeneration": 1,
        "claim": recorded,
        "objects": [{**one, "digest": digest, "owned": owned_hash(deployment(version=1))}],
    }
    return release_of(
        {
            "metadata": {
                "name": "orders",
                "namespace": "shop",
                "uid": "r1",
                "generation": generation,
                "resourceVersion": str(version),
                "annotations": {CLAIM: claim},
            },
            "status": usual | status,
        }
    )


def with_another(one: Release, object: dict[str, Any]) -> Release:
    """The release with an object more."""
    more = AppliedObject.model_validate(object)
    status = one.status.model_copy(update={"objects": (*one.status.objects, more)})
    return replace(one, status=status)


def cache_of(*objects: dict[str, Any]) -> Cache:
    """What the watch of Deployments has listed and shown."""
    cache = Cache(lambda set_id: {})
    cache.begin(DEPLOYMENTS)
    cache.end(DEPLOYMENTS, 1)
    for object in objects:
        cache.show(DEPLOYMENTS, raw(object))
    return cache


def raw(object: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(object))


def health(tracked: Tracked, cache: Cache, *, at: float = 0.0) -> Health:
    return verdict_of(tracked, cache, at=at, now=NOW).health


def test_a_release_is_as_its_objects_are():
    tracked = Tracked(release=release(), seen_at=0.0)

    assert health(tracked, cache_of(deployment(version=99))) is Health.HEALTHY
    assert health(tracked, cache_of(deployment(version=99, ready=0))) is Health.PROGRESSING
    assert health(tracked, cache_of()) is Health.UNKNOWN


def test_a_release_whose_kinds_are_not_listed_yet_cannot_be_judged():
    tracked = Tracked(release=release(), seen_at=0.0)
    assert verdict_of(tracked, Cache(lambda set_id: {}), at=0.0, now=NOW) == UNSEEN


def test_a_release_is_not_judged_while_a_sync_of_it_runs():
    tracked = followed(None, release(version=105, claim="c2"), now=0.0)

    assert verdict_of(tracked, cache_of(deployment(version=60)), at=0.0, now=NOW) == UNSEEN


def synced_again(*, claim_is_seen: bool = True) -> Tracked:
    """A release whose Deployment was healthy at version 40, and is changed by a sync that claims at 90."""
    tracked = followed(None, release(version=50, phase="Healthy"), now=0.0)
    if claim_is_seen:
        claimed = release(version=90, phase="Healthy", claim="c2")
        tracked = followed(tracked, claimed, now=1.0)
    return followed(tracked, release(version=105, digest="d2", claim="c2", recorded="c2"), now=2.0)


@pytest.mark.parametrize(("claim_is_seen", "version"), [(True, 40), (True, 60), (False, 40)])
def test_an_object_seen_before_the_sync_that_changed_it_does_not_make_a_release_healthy(
    claim_is_seen: bool, version: int
):
    tracked = synced_again(claim_is_seen=claim_is_seen)

    assert health(tracked, cache_of(deployment(version=version)), at=2.1) is Health.UNKNOWN
    assert health(tracked, cache_of(deployment(version=100)), at=2.1) is Health.HEALTHY


def test_an_object_that_a_sync_left_as_it_was_counts_as_it_was_seen():
    other = {"kind": "ConfigMap", "namespace": "shop", "name": "settings"}
    before, after = ({**other, "digest": digest} for digest in ("m1", "m2"))
    tracked = followed(None, with_another(release(version=50), before), now=0.0)
    tracked = followed(tracked, with_another(release(version=90, claim="c2"), before), now=1.0)
    synced = release(version=105, claim="c2", recorded="c2")
    tracked = followed(tracked, with_another(synced, after), now=2.0)

    assert health(tracked, cache_of(deployment(version=40)), at=2.1) is Health.HEALTHY


def test_an_object_that_stays_as_it_was_seen_counts_after_a_while():
    tracked = synced_again()
    verdict = verdict_of(tracked, cache_of(deployment(version=40)), at=2.1, now=NOW)

    assert verdict.look_again_at is not None
    assert verdict.look_again_at <= NOW + timedelta(seconds=SETTLE_SECONDS)
    assert health(tracked, cache_of(deployment(version=40)), at=2.0 + SETTLE_SECONDS) is Health.HEALTHY


def test_the_last_run_of_a_hook_is_not_taken_for_the_one_just_started():
    hook = {
        "group": "apps",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "orders",
        "moment": "pre-sync",
    }
    pending = {"revision": "b" * 40, "moment": "pre-sync", "left": 1, "since": NOW.isoformat()}
    tracked = followed(None, release(version=50, phase="Healthy", objects=[]), now=0.0)
    tracked = followed(tracked, release(version=90, phase="Healthy", objects=[], claim="c2"), now=1.0)
    running = {"pending": pending, "hooks": [{**hook, "revision": "b" * 40}]}
    begun = release(version=105, phase="Healthy", objects=[], claim="c2", recorded="c2", **running)

    tracked = followed(tracked, begun, now=2.0)

    assert health(tracked, cache_of(deployment(version=40)), at=2.1) is Health.UNKNOWN
    assert health(tracked, cache_of(deployment(version=101)), at=2.1) is Health.HEALTHY


HEALTHY, FAILED, PROGRESSING, UNKNOWN = (Health.HEALTHY, Health.FAILED, Health.PROGRESSING, Health.UNKNOWN)
LATER = NOW + timedelta(hours=1)
QUARANTINED = {"revision": "b" * 40}


@pytest.mark.parametrize(
    ("one", "health", "now", "queue"),
    [
        (release(), HEALTHY, NOW, QueueName.BACKGROUND),
        (release(), FAILED, NOW, QueueName.URGENT),
        (release(), PROGRESSING, NOW, None),
        (release(), UNKNOWN, NOW, None),
        (release(), PROGRESSING, LATER, QueueName.URGENT),
        (release(), UNKNOWN, LATER, QueueName.URGENT),
        (release(phase="Healthy"), HEALTHY, NOW, None),
        (release(phase="Healthy"), FAILED, NOW, QueueName.URGENT),
        (release(phase="Healthy", health="healthy"), PROGRESSING, LATER, None),
        (release(claim="c2"), HEALTHY, NOW, None),
        (release(phase="Healthy", generation=2), HEALTHY, NOW, QueueName.URGENT),
        (release(phase="RollingBack", quarantined=QUARANTINED), HEALTHY, NOW, None),
        (release(phase=None), FAILED, NOW, None),
    ],
)
def test_a_job_is_wanted_where_it_would_change_what_is_recorded(one, health, now, queue):
    question = question_of(Tracked(release=one, seen_at=0.0), replace(UNSEEN, health=health), at=0.0, now=now)

    assert (question.queue if question else None) is queue


@pytest.mark.parametrize("claim", ["c1", "c2"], ids=["not begun", "its worker died"])
def test_a_rollback_that_nobody_carries_out_is_asked_for(claim: str):
    one = release(phase="RollingBack", quarantined=QUARANTINED, claim=claim)
    tracked = Tracked(release=one, seen_at=0.0)

    question = question_of(tracked, UNSEEN, at=STUCK_SECONDS, now=NOW)

    assert question == Question(about="rollback", queue=QueueName.URGENT)
    assert look_in(tracked, verdict_of(tracked, cache_of(), at=0.5, now=NOW), at=0.5, now=NOW) == 1.5


def test_the_same_question_is_asked_with_growing_pauses_until_the_release_changes():
    one, question = release(), Question(about="well", queue=QueueName.BACKGROUND)
    asked: Asked | None = None
    times = [0.0]
    for _ in range(8):
        asked = again(asked, question, one, job="j", at=times[-1])
        assert not is_due(asked, question, one, at=times[-1] + asked.pause_seconds - 0.01)
        assert is_due(asked, question, release(version=101), at=times[-1])
        assert is_due(asked, replace(question, about="failed"), one, at=times[-1])
        times.append(times[-1] + asked.pause_seconds)
        assert is_due(asked, question, one, at=times[-1])

    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
    assert max(pauses) == LONGEST_PAUSE_SECONDS


def test_a_question_whose_job_waits_is_looked_at_with_growing_pauses():
    one = release()
    question = Question(about="well", queue=QueueName.BACKGROUND)
    asked = again(None, question, one, job="job_1", at=0.0)
    pauses = []

    for _ in range(5):
        asked = awaited(asked, one, at=asked.at + asked.look_seconds)
        pauses.append(asked.look_seconds)
    after_an_event = awaited(asked, release(version=101), at=asked.at + 1)

    assert pauses == [4.0, 8.0, 16.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert after_an_event.look_seconds == LONGEST_PAUSE_SECONDS
    assert (asked.job, asked.question) == ("job_1", question)


def test_a_question_whose_job_came_to_nothing_after_it_waited_is_asked_again_as_soon_as_any():
    one = release()
    question = Question(about="well", queue=QueueName.BACKGROUND)
    waited = awaited(again(None, question, one, job="job_1", at=0.0), one, at=10.0)

    assert not is_due(waited, question, one, at=11.9)
    assert is_due(waited, question, one, at=12.0)
    assert again(waited, question, one, job="job_2", at=12.0).look_seconds == FIRST_PAUSE_SECONDS


def test_an_event_or_a_failure_does_not_make_the_pauses_longer():
    one, failed = release(), Question(about="failed", queue=QueueName.URGENT)
    well = again(None, Question(about="well", queue=QueueName.BACKGROUND), one, job="job_1", at=0.0)

    assert awaited(well, release(version=101), at=0.5).look_seconds == FIRST_PAUSE_SECONDS
    urgent = again(None, failed, one, job="job_1", at=0.0)
    assert awaited(urgent, one, at=60.0).look_seconds == FIRST_PAUSE_SECONDS


def test_time_alone_is_waited_for_until_the_deadline():
    tracked = Tracked(release=release(), seen_at=-100.0)
    verdict = verdict_of(tracked, cache_of(deployment(version=99, ready=0)), at=0.0, now=NOW)

    assert look_in(tracked, verdict, at=0.0, now=NOW) == 300.0
    settled = Tracked(release=release(phase="Healthy"), seen_at=-100.0)
    assert look_in(settled, verdict, at=0.0, now=NOW) is None


FOREIGN = {"f:metadata": {}}


def drifts(tracked: Tracked, cache: Cache, *, at: float) -> list[How]:
    return [one.how for one in confirmed(tracked, cache, at=at).told]


def test_a_drift_is_told_once_and_only_when_no_sync_has_come_to_light_meanwhile():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of(deployment(version=110, fields=FOREIGN))

    first = drifts(tracked, cache, at=1.0)
    second = drifts(tracked, cache, at=1.0 + CONFIRM_SECONDS)
    third = drifts(tracked, cache, at=2.0)
    cache.show(DEPLOYMENTS, raw(deployment(version=120)))
    healed = drifts(tracked, cache, at=3.0)
    cache.show(DEPLOYMENTS, raw(deployment(version=130, fields=FOREIGN)))
    drifts(tracked, cache, at=4.0)

    assert (first, second, third, healed) == ([], [How.CHANGED], [], [])
    assert drifts(tracked, cache, at=5.0) == [How.CHANGED]


def test_a_deletion_is_a_drift():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of(deployment(version=99))

    cache.remove(DEPLOYMENTS, raw(deployment(version=110)))
    drifts(tracked, cache, at=1.0)

    assert confirmed(tracked, cache, at=2.0).told == (Drift(key=KEY, how=How.DELETED),)


def test_what_a_sync_does_is_no_drift():
    before = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    running = followed(before, release(phase="Healthy", version=105, claim="c2"), now=1.0)
    cache = cache_of(deployment(version=104, fields=FOREIGN))
    during = [drifts(running, cache, at=at) for at in (1.0, 9.0)]

    after = followed(running, release(version=120, digest="d2", claim="c2", recorded="c2"), now=10.0)

    assert during == [[], []]
    assert [drifts(after, cache, at=at) for at in (10.0, 20.0)] == [[], []]


def test_what_somebody_does_while_an_attempt_is_recorded_is_told_when_the_watches_had_their_time():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of(deployment(version=99, fields=FOREIGN))

    assert drifts(tracked, cache, at=0.0) == []
    assert (
        look_in(tracked, verdict_of(tracked, cache, at=0.0, now=NOW), at=0.0, now=NOW) == DRIFT_SETTLE_SECONDS
    )
    assert drifts(tracked, cache, at=DRIFT_SETTLE_SECONDS) == [How.CHANGED]


def test_what_differs_still_after_another_attempt_is_told_again():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of(deployment(version=110, fields=FOREIGN))
    told = [drifts(tracked, cache, at=at) for at in (1.0, 2.0)]

    tracked = followed(tracked, release(phase="Healthy", version=120, claim="c2", recorded="c2"), now=3.0)
    drifts(tracked, cache, at=3.0)

    assert told == [[], [How.CHANGED]]
    assert drifts(tracked, cache, at=3.0 + DRIFT_SETTLE_SECONDS) == [How.CHANGED]


def test_what_was_deleted_while_nobody_watched_is_a_drift():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of()

    drifts(tracked, cache, at=0.0)

    assert drifts(tracked, cache, at=DRIFT_SETTLE_SECONDS) == [How.DELETED]


@pytest.mark.parametrize(
    ("drift", "version", "seconds"),
    [("report", 111, AGAIN_SECONDS), ("heal", 110, WINDOW_SECONDS), ("report", 110, None)],
    ids=["its object was changed again", "who fought for it may have stopped", "nobody would do anything"],
)
def test_a_drift_that_stays_is_told_again_when_that_may_help(drift, version, seconds):
    tracked = Tracked(release=release(phase="Healthy", verification={"drift": drift}), seen_at=-100.0)
    cache = cache_of(deployment(version=110, fields=FOREIGN))
    drifts(tracked, cache, at=0.0)
    assert drifts(tracked, cache, at=1.0) == [How.CHANGED]
    cache.show(DEPLOYMENTS, raw(deployment(version=version, fields=FOREIGN)))

    assert drifts(tracked, cache, at=1.01) == []
    verdict = verdict_of(tracked, cache, at=1.01, now=NOW)
    wait = look_in(tracked, verdict, at=1.0, now=NOW)

    assert wait == seconds
    assert drifts(tracked, cache, at=1.0 + (seconds or 10_000)) == [How.CHANGED] * bool(seconds)


def test_what_was_deleted_is_told_again_since_no_watch_shows_it_come_back_without_its_label():
    tracked = Tracked(release=release(phase="Healthy", verification={"drift": "report"}), seen_at=-100.0)
    cache = cache_of()
    drifts(tracked, cache, at=0.0)

    assert drifts(tracked, cache, at=1.0) == [How.DELETED]
    assert drifts(tracked, cache, at=BACK_SECONDS) == []
    assert drifts(tracked, cache, at=1.0 + BACK_SECONDS) == [How.DELETED]


def test_a_drift_is_new_once_however_often_it_is_told():
    tracked = Tracked(release=release(phase="Healthy"), seen_at=0.0)
    cache = cache_of(deployment(version=110, fields=FOREIGN))
    new = [confirmed(tracked, cache, at=at).new for at in (1.0, 2.0)]
    tracked = followed(tracked, release(phase="Healthy", version=120, claim="c2"), now=3.0)
    new.append(confirmed(tracked, cache, at=3.0).new)
    tracked = followed(tracked, release(phase="Healthy", version=130, claim="c2", recorded="c2"), now=4.0)
    confirmed(tracked, cache, at=4.0)
    again = confirmed(tracked, cache, at=6.0)

    cache.show(DEPLOYMENTS, raw(deployment(version=140)))
    confirmed(tracked, cache, at=7.0)
    cache.show(DEPLOYMENTS, raw(deployment(version=150, fields=FOREIGN)))
    confirmed(tracked, cache, at=8.0)
    afterwards = confirmed(tracked, cache, at=9.0)

    changed = (Drift(key=KEY, how=How.CHANGED),)
    assert new == [(), changed, ()]
    assert (again.told, again.new) == (changed, ())
    assert afterwards.new == changed


def test_what_is_said_to_differ_and_does_not_any_more_is_told_at_once_and_once():
    said = [f"{KEY} changed: /spec/replicas by kubectl"]
    tracked = Tracked(release=release(phase="Healthy", drift=said), seen_at=-100.0)
    cache = cache_of(deployment(version=110, fields=FOREIGN))
    differing = confirmed(tracked, cache, at=0.0)

    cache.show(DEPLOYMENTS, raw(deployment(version=120)))

    assert not differing.is_mended
    assert [confirmed(tracked, cache, at=at).is_mended for at in (1.0, 2.0)] == [True, False]


DELETED = [f"{KEY} was deleted; not put back: exceeded quota"]
STORED = [{"revision": "a" * 40, "name": "s", "sha256": "s"}]


@pytest.mark.parametrize(
    ("status", "queue"),
    [
        ({"verification": {"drift": "report"}}, QueueName.URGENT),
        ({"verification": {"drift": "off"}}, QueueName.URGENT),
        ({}, None),
        ({"drift": [f"{KEY} changed: a field"]}, None),
        ({"drift": DELETED}, QueueName.URGENT),
        ({"drift": DELETED, "phase": "Failed", "health": "failed"}, QueueName.BACKGROUND),
        ({"drift": DELETED, "phase": "Verifying"}, None),
    ],
    ids=["reported", "not looked at", "healed", "healed, too", "refused", "told already", "verifying"],
)
def test_what_was_deleted_makes_a_release_ill_where_nobody_puts_it_back(status, queue):
    one = release(**({"phase": "Healthy", "health": "healthy", "stored": STORED} | status))
    tracked = Tracked(release=one, seen_at=-100.0)

    question = question_of(tracked, verdict_of(tracked, cache_of(), at=0.0, now=NOW), at=0.0, now=NOW)
    unlisted = verdict_of(tracked, Cache(lambda set_id: {}), at=0.0, now=NOW)

    assert (question.queue if question else None) is queue
    assert question_of(tracked, unlisted, at=0.0, now=NOW) is None
