"""When an attempt that waits for what is being deleted is made again, and when it is over."""

from __future__ import annotations

import pytest

from towline.worker.in_the_way import pause_seconds


@pytest.mark.parametrize(
    ("waited", "limit", "pause"),
    [
        (0.0, 300.0, 5.0),
        (40.0, 300.0, 10.0),
        (1_000.0, 3_600.0, 60.0),
        (270.0, 300.0, 30.0),
        (0.0, 1.0, 1.0),
        (299.9, 300.0, pytest.approx(0.1)),
        (300.0, 300.0, None),
        (400.0, 300.0, None),
    ],
    ids=[
        "the first",
        "they grow",
        "to a limit",
        "the last",
        "a short time",
        "just before",
        "over",
        "long over",
    ],
)
def test_pauses_grow_and_the_last_one_ends_when_the_time_is_over(
    waited: float, limit: float, pause: float | None
) -> None:
    assert pause_seconds(waited, limit=limit) == pause
