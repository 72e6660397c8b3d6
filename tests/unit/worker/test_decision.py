"""What a verdict means to a release: when it is late, and what follows when a stable one turns bad."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.a_release import plain_release

from towline.shared.model import Health, Moment, Phase, Result, Trigger
from towline.shared.pending import Pending
from towline.shared.release import (
    HistoryEntry,
    Quarantine,
    Release,
    ReleaseStatus,
    StoredRevision,
    Verification,
)
from towline.worker.decision import concluded, is_late
from towline.worker.health.release import ReleaseVerdict
from towline.worker.record import stable_until

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TIMEOUT, HOUR = timedelta(minutes=5), timedelta(hours=1)
AFTER = timedelta(seconds=1)


def verdict(health: Health, reason: str, *, is_old: bool = False, is_gone: bool = False) -> ReleaseVerdict:
    return ReleaseVerdict(health=health, reason=reason, is_old=is_old, is_gone=is_gone)


def verifying(synced_at: datetime) -> ReleaseStatus:
    verification = Verification(timeout_seconds=TIMEOUT.total_seconds())
    return ReleaseStatus(
        revision="a" * 40, phase=Phase.VERIFYING, synced_at=synced_at, verification=verification
    )


@pytest.mark.parametrize(("now", "late"), [(NOW + TIMEOUT, False), (NOW + TIMEOUT + AFTER, True)])
def test_a_release_is_late_when_its_time_out_is_over(now: datetime, late: bool):
    assert is_late(verifying(NOW), now) is late


def test_a_release_that_waits_for_nothing_is_never_late():
    settled = verifying(NOW).model_copy(update={"phase": Phase.HEALTHY})
    assert not is_late(settled, NOW + HOUR)


def test_a_step_of_a_release_has_a_time_of_its_own():
    pending = Pending(revision="b" * 40, since=NOW + HOUR, timeout_seconds=TIMEOUT.total_seconds())
    status = verifying(NOW).model_copy(update={"pending": pending})
    assert not is_late(status, NOW + HOUR + TIMEOUT)
    assert is_late(status, NOW + HOUR + TIMEOUT + AFTER)


def test_a_clock_that_was_set_back_delays_what_is_late_by_no_more_than_that():
    synced_before_the_step = verifying(NOW + HOUR)
    assert not is_late(synced_before_the_step, NOW)
    assert is_late(synced_before_the_step, NOW + HOUR + TIMEOUT + AFTER)


STABLE, BEFORE, REFUSED, NEWER = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


def stable(*, watch: timedelta | None = None, is_refused: bool = False) -> Release:
    """A release that is stable since NOW; with a newer commit that was refused."""
    seconds = watch.total_seconds() if watch else None
    status = ReleaseStatus(
        revision=STABLE,
        stable_revision=STABLE,
        phase=Phase.FAILED if is_refused else Phase.HEALTHY,
        health=Health.HEALTHY,
        message="cccccccccc was refused" if is_refused else "all objects are healthy",
        verification=Verification(watch_seconds=seconds),
        stored=tuple(
            StoredRevision(revision=one, name=one, sha256=one, stable_at=at)
            for one, at in ((STABLE, NOW), (BEFORE, NOW - HOUR))
        ),
        history=(HistoryEntry(revision=REFUSED, result=Result.REFUSED, cause="it is odd"),) * is_refused,
    )
    return plain_release(status)


@pytest.mark.parametrize("is_refused", [False, True], ids=["is the newest", "a newer one was refused"])
def test_a_stable_revision_that_turns_bad_is_told_of_and_stays(is_refused: bool):
    before = stable(is_refused=is_refused)

    status = concluded(before, verdict(Health.FAILED, "it crashes"), now=NOW + HOUR)

    assert status is not None
    assert (status.phase, status.health, status.revision) == (Phase.FAILED, Health.FAILED, STABLE)
    assert status.message.startswith("was healthy and is not any more: it crashes")
    assert ("was refused" in status.message) is is_refused
    assert status.quarantined is None


def test_what_was_stable_before_it_was_suspended_is_told_of_and_stays_when_it_is_ill_then():
    status = stable().status
    known = (HistoryEntry(revision=STABLE, result=Result.HEALTHY),)
    resumed = status.model_copy(update={"phase": Phase.VERIFYING, "synced_at": NOW, "history": known})

    ill = concluded(plain_release(resumed), verdict(Health.FAILED, "it crashes"), now=NOW + AFTER)
    late = concluded(plain_release(resumed), verdict(Health.UNKNOWN, "it is not there"), now=NOW + HOUR)

    well = concluded(plain_release(resumed), verdict(Health.HEALTHY, "all is well"), now=NOW + HOUR)

    assert well is not None and well.phase is Phase.HEALTHY
    for one in (ill, late):
        assert one is not None
        assert (one.phase, one.health, one.revision) == (Phase.FAILED, Health.FAILED, STABLE)
        assert (one.quarantined, one.history) == (None, known)


def test_after_it_recovered_a_refused_commit_is_told_of_as_before():
    ill = concluded(stable(is_refused=True), verdict(Health.FAILED, "it crashes"), now=NOW)
    assert ill is not None

    status = concluded(
        replace(stable(), status=ill), verdict(Health.HEALTHY, "all objects are healthy"), now=NOW + HOUR
    )

    assert status is not None
    assert (status.phase, status.health) == (Phase.FAILED, Health.HEALTHY)
    assert status.message == "cccccccccc was refused, nothing was written: it is odd"


@pytest.mark.parametrize("is_refused", [False, True], ids=["is the newest", "a newer one was refused"])
@pytest.mark.parametrize(("now", "phase"), [(NOW + TIMEOUT, Phase.ROLLING_BACK), (NOW + HOUR, Phase.FAILED)])
def test_a_stable_revision_that_is_watched_goes_back_within_that_time(
    now: datetime, phase: Phase, is_refused: bool
):
    watched = stable(watch=2 * TIMEOUT, is_refused=is_refused)

    status = concluded(watched, verdict(Health.FAILED, "it crashes"), now=now)

    assert status is not None
    assert status.phase is phase
    assert status.stable_revision == (BEFORE if phase is Phase.ROLLING_BACK else STABLE)


def after(first: Release, *, is_late: bool = False) -> Release:
    """A newer revision of the release is verified."""
    synced_at = NOW - HOUR if is_late else NOW
    entry = HistoryEntry(revision=NEWER, result=Result.SYNCED)
    update = {"revision": NEWER, "phase": Phase.VERIFYING, "health": Health.PROGRESSING}
    more = {"synced_at": synced_at, "history": (entry, *first.status.history)}
    return replace(first, status=first.status.model_copy(update=update | more))


@pytest.mark.parametrize(
    ("health", "is_late", "is_stable"),
    [
        (Health.FAILED, False, True),
        (Health.PROGRESSING, False, None),
        (Health.PROGRESSING, True, True),
    ],
)
def test_a_revision_is_not_blamed_for_what_was_ill_before_it(
    health: Health, is_late: bool, is_stable: bool | None
):
    one = after(stable(), is_late=is_late)

    status = concluded(one, verdict(health, "Certificate shop/tls: expired", is_old=True), now=NOW)

    if not is_stable:
        assert status is None
        return
    assert status is not None
    assert (status.phase, status.health, status.stable_revision) == (Phase.FAILED, Health.FAILED, NEWER)
    assert status.quarantined is None
    assert status.history[0].result is Result.HEALTHY
    assert "as before this revision" in status.message
    assert "expired" in status.message


def test_what_was_ill_before_a_revision_does_not_make_its_rollback_fail():
    failed = concluded(after(stable()), verdict(Health.FAILED, "it crashes"), now=NOW)
    assert failed is not None and failed.quarantined is not None
    back = failed.quarantined.model_copy(update={"reverted_at": NOW})
    again = failed.model_copy(update={"revision": STABLE, "quarantined": back, "synced_at": NOW})

    status = concluded(plain_release(again), verdict(Health.FAILED, "expired", is_old=True), now=NOW)

    assert status is not None
    assert (status.phase, status.health) == (Phase.ROLLED_BACK, Health.FAILED)
    assert "it crashes" in status.message
    assert "expired" in status.message


@pytest.mark.parametrize(
    ("runs", "stable_before", "is_known", "expected"),
    [
        pytest.param(STABLE, STABLE, True, NOW, id="the stable revision"),
        pytest.param(NEWER, STABLE, True, NOW - HOUR, id="one that never became stable"),
        pytest.param(NEWER, "", True, None, id="no revision was stable yet"),
        pytest.param(STABLE, STABLE, False, None, id="an attempt without a record was between"),
    ],
)
def test_a_stable_revision_ran_until_the_first_attempt_after_it(
    runs: str, stable_before: str, is_known: bool, expected: datetime | None
):
    before = ReleaseStatus(revision=runs, stable_revision=stable_before, stable_until=NOW - HOUR)
    entry = HistoryEntry(revision="e" * 40, result=Result.SYNCED, started_at=NOW)
    assert stable_until(before, entry, is_known=is_known) == expected


GONE = "Deployment.apps shop/cart is not there: it was deleted"


@pytest.mark.parametrize("is_refused", [False, True], ids=["is the newest", "a newer one was refused"])
def test_what_was_deleted_makes_a_stable_revision_ill_and_never_rolls_it_back(is_refused: bool):
    watched = stable(watch=HOUR, is_refused=is_refused)

    status = concluded(watched, verdict(Health.UNKNOWN, GONE, is_gone=True), now=NOW)

    assert status is not None
    assert (status.phase, status.health) == (Phase.FAILED, Health.FAILED)
    assert GONE in status.message
    ill = replace(watched, status=status)
    assert concluded(ill, verdict(Health.UNKNOWN, GONE, is_gone=True), now=NOW) is None
    back = concluded(ill, verdict(Health.HEALTHY, "all objects are healthy"), now=NOW)
    assert back is not None
    assert back.health is Health.HEALTHY
    assert back.phase is (Phase.FAILED if is_refused else Phase.HEALTHY)


def test_what_was_deleted_of_a_release_that_was_rolled_back_is_told_until_it_is_back():
    status = stable().status.model_copy(update={"phase": Phase.ROLLED_BACK})

    ill = concluded(plain_release(status), verdict(Health.UNKNOWN, GONE, is_gone=True), now=NOW)

    assert ill is not None
    assert (ill.phase, ill.health) == (Phase.ROLLED_BACK, Health.FAILED)
    assert GONE in ill.message


def test_a_revision_that_is_verified_waits_for_what_was_deleted_as_for_anything_else():
    one = plain_release(verifying(NOW))

    assert concluded(one, verdict(Health.UNKNOWN, GONE, is_gone=True), now=NOW) is None


def rolled_back(phase: Phase, health: Health, *, is_refused: bool) -> Release:
    """A release that went back to STABLE; with a newer commit that was refused."""
    bad = HistoryEntry(
        revision="d" * 40, result=Result.ROLLED_BACK, cause="it crashed", stages={"rollback": 1.0}
    )
    refused = HistoryEntry(revision=REFUSED, result=Result.REFUSED, cause="it is odd. " * 200)
    status = stable().status.model_copy(
        update={
            "phase": phase,
            "health": health,
            "quarantined": Quarantine(revision=bad.revision, cause=bad.cause, reverted_at=NOW),
            "history": (refused, bad) if is_refused else (bad,),
        }
    )
    return plain_release(status)


@pytest.mark.parametrize(
    ("phase", "health"), [(Phase.ROLLING_BACK, Health.PROGRESSING), (Phase.FAILED, Health.FAILED)]
)
def test_a_rollback_does_not_hide_that_a_newer_commit_was_refused(phase: Phase, health: Health):
    status = concluded(rolled_back(phase, health, is_refused=True), verdict(Health.HEALTHY, "well"), now=NOW)

    assert status is not None
    assert (status.phase, status.health, status.revision) == (Phase.FAILED, Health.HEALTHY, STABLE)
    assert status.message.startswith("cccccccccc was refused, nothing was written: it is odd. ")
    assert status.message.endswith("; rolled back to aaaaaaaaaa: dddddddddd failed: it crashed")


@pytest.mark.parametrize(
    ("phase", "health"), [(Phase.ROLLING_BACK, Health.PROGRESSING), (Phase.FAILED, Health.FAILED)]
)
def test_a_rollback_that_is_healthy_says_so_where_nothing_newer_was_refused(phase: Phase, health: Health):
    status = concluded(rolled_back(phase, health, is_refused=False), verdict(Health.HEALTHY, "well"), now=NOW)

    assert status is not None
    assert (status.phase, status.message) == (
        Phase.ROLLED_BACK,
        "rolled back to aaaaaaaaaa: dddddddddd failed: it crashed",
    )


def test_a_revision_whose_hook_failed_is_not_said_to_be_rolled_back_when_what_runs_on_recovers():
    ill = concluded(hook_has_failed(), verdict(Health.FAILED, "it crashes"), now=NOW + HOUR)
    assert ill is not None

    status = concluded(plain_release(ill), verdict(Health.HEALTHY, "well"), now=NOW + HOUR)

    assert status is not None
    assert (status.phase, status.health, status.revision) == (Phase.FAILED, Health.HEALTHY, STABLE)
    assert status.message == "dddddddddd failed before it was applied: it broke"


def hook_has_failed() -> Release:
    """A hook of NEWER failed before anything else of that was written."""
    pending = Pending(revision=NEWER, moment=Moment.PRE_SYNC, since=NOW)
    entry = HistoryEntry(revision=NEWER, result=Result.SYNCED)
    begun = stable().status.model_copy(update={"pending": pending, "history": (entry,)})
    status = concluded(plain_release(begun), verdict(Health.FAILED, "it broke"), now=NOW)
    assert status is not None
    return plain_release(status)


def test_what_an_operator_went_back_to_after_a_rollback_is_healthy_when_it_recovers():
    before = rolled_back(Phase.FAILED, Health.FAILED, is_refused=False)
    by_operator = HistoryEntry(revision=STABLE, result=Result.HEALTHY, trigger=Trigger.OPERATOR)
    history = (by_operator, *before.status.history)

    status = concluded(
        replace(before, status=before.status.model_copy(update={"history": history})),
        verdict(Health.HEALTHY, "well"),
        now=NOW,
    )

    assert status is not None
    assert (status.phase, status.message) == (Phase.HEALTHY, "well")
