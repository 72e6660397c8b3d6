"""The time of a cluster, as the dates of its answers tell it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from towline.shared.cluster_time import ClusterTime, Told, as_told

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TOLD = Told(date=NOON, asked_at=99.5, heard_at=100.0)


@pytest.mark.parametrize(
    ("ours", "at", "expected"),
    [
        pytest.param(0.3, 100.0, 0.3, id="right"),
        pytest.param(1.4, 100.0, 1.4, id="as right as can be told"),
        pytest.param(3600, 100.0, 1.5, id="ahead"),
        pytest.param(-3600, 100.0, 0.0, id="behind"),
        pytest.param(3600, 110.0, 11.5, id="ahead, a while after it was told"),
        pytest.param(-3600, 110.0, 10.0, id="behind, a while after it was told"),
    ],
)
def test_our_time_is_moved_only_as_far_as_the_server_s_demands(
    ours: float, at: float, expected: float
) -> None:
    found = as_told(NOON + timedelta(seconds=ours), TOLD, at=at)

    assert (found - NOON).total_seconds() == pytest.approx(expected)


@pytest.mark.parametrize("date", [None, "", "noon", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_date_that_is_none_leaves_our_time_as_it_is(date: str | None) -> None:
    ours = ClusterTime(lambda: 1000.0)

    ours.hear(date, asked_at=time.monotonic())

    assert ours.now() == datetime.fromtimestamp(1000, UTC)


def test_the_last_answer_counts() -> None:
    ours = ClusterTime(lambda: 1000.0)
    for hour in (11, 12):
        ours.hear(f"Wed, 25 Nov 2026 {hour}:00:00 GMT", asked_at=time.monotonic())

    assert NOON <= ours.now() < NOON + timedelta(seconds=30)
