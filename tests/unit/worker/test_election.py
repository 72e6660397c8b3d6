"""Who may take the watchers' Lease, by the candidate's own clock."""

import pytest

from towline.worker.election import DURATION_SECONDS, HOLD_SECONDS, RENEW_SECONDS, Observed, may_take


@pytest.mark.parametrize(
    ("holder", "silent_for", "may"),
    [
        ("", 0.0, True),
        ("me", 0.0, True),
        ("another", 0.0, False),
        ("another", DURATION_SECONDS - 0.01, False),
        ("another", DURATION_SECONDS, True),
    ],
)
def test_a_lease_is_taken_when_it_is_nobodys_ours_or_silent_for_its_duration(holder, silent_for, may):
    observed = Observed(holder=holder, renewed="2026-11-25T03:00:00Z", at=100.0)

    assert may_take(observed, me="me", now=100.0 + silent_for) is may


def test_a_holder_stops_before_another_may_begin_and_can_miss_one_renewal():
    assert 2 * RENEW_SECONDS < HOLD_SECONDS < DURATION_SECONDS
