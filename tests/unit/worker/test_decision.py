"""When a release that is not healthy yet counts as late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from towline.shared.model import Phase
from towline.shared.pending import Pending
from towline.shared.release import ReleaseStatus, Verification
from towline.worker.decision import is_late

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TIMEOUT, HOUR = timedelta(minutes=5), timedelta(hours=1)
AFTER = timedelta(seconds=1)


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
