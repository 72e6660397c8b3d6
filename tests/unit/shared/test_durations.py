"""Lengths of time and limits as people write them."""

from __future__ import annotations

import pytest

from towline.shared.durations import parse_seconds
from towline.shared.prune_limit import USUAL, parse_prune_limit


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("72h", 259_200), ("1d2h3m4s", 93_784)]
)
def test_a_length_of_time_is_read(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0s", "5", "m", "5 m", "5M", "-5m", "1.5h", "5m1h", "5m\n", "999999h", "\u0665m"]
)
def test_anything_else_is_no_length_of_time(text: str) -> None:
    assert parse_seconds(text) is None


@pytest.mark.parametrize(("total", "allowed"), [(0, 5), (4, 5), (10, 5), (11, 5), (12, 6), (100, 50)])
def test_the_usual_limit_is_five_objects_or_half(total: int, allowed: int) -> None:
    assert USUAL.allowed(total) == allowed


@pytest.mark.parametrize(
    ("written", "total", "allowed"),
    [("50%", 3, 1), ("50%", 4, 2), ("0%", 9, 0), ("100%", 9, 9), (3, 100, 3), (0, 5, 0)],
)
def test_what_the_operator_wrote_counts_exactly(written: str | int, total: int, allowed: int) -> None:
    limit = parse_prune_limit(written)

    assert limit is not None
    assert limit.allowed(total) == allowed


@pytest.mark.parametrize("written", ["", "50", "101%", "-1%", "5.5%", -1, 1.5, True, None, [], "50%\n"])
def test_anything_else_is_no_limit(written: object) -> None:
    assert parse_prune_limit(written) is None
