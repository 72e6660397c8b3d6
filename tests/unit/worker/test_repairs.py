"""When a field is left to whoever else writes it."""

from __future__ import annotations

import pytest

from towline.worker.repairs import REPAIRS, WINDOW_SECONDS, is_contested

FOUGHT = tuple(float(number) for number in range(REPAIRS))
LAST = FOUGHT[-1]
TRIED = LAST + WINDOW_SECONDS


@pytest.mark.parametrize(
    ("repairs", "now", "expected"),
    [
        ((), 0.0, False),
        (FOUGHT[1:], LAST, False),
        (FOUGHT, LAST, True),
        (FOUGHT, TRIED - 1, True),
        (FOUGHT, TRIED, False),
        ((*FOUGHT, TRIED), TRIED + 1, True),
        ((*FOUGHT, TRIED), TRIED + WINDOW_SECONDS, False),
        ((0.0, 200.0, 400.0), 400.0, False),
    ],
    ids=[
        "never repaired",
        "not often enough",
        "often enough",
        "within the window",
        "when it has passed",
        "tried once more in vain",
        "a window later",
        "too far apart",
    ],
)
def test_a_field_is_contested_while_its_last_repair_of_too_many_is_recent(repairs, now, expected):
    assert is_contested(repairs, now=now) is expected
