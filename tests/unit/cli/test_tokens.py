"""Durations of tokens."""

from __future__ import annotations

import pytest

from towline.cli.tokens import duration_seconds
from towline.shared.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000), ("1h30m", 5_400)]
)
def test_a_duration_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "d", "0d", "-1d", "1.5h", "90 d", "11000d", "9" * 30 + "d", "1y", "4w"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a length of time"):
        duration_seconds(text)
