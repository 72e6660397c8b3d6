"""Who comes after whom, and why a release waits."""

from __future__ import annotations

from typing import Any

import pytest

from towline.shared.model import Health, Phase
from towline.shared.views import ReleaseView
from towline.worker.dependants import after_of, reason_of

ORDERS, PAYMENTS, LEDGER = "staging/orders", "staging/payments", "staging/ledger"
DEPENDS = {ORDERS: (PAYMENTS, LEDGER)}


def test_a_dependant_comes_after_what_changes_too() -> None:
    assert after_of(ORDERS, DEPENDS, changed={ORDERS, PAYMENTS}, removed=()) == (PAYMENTS,)
    assert after_of(PAYMENTS, DEPENDS, changed={ORDERS, PAYMENTS}, removed=()) == ()


def test_what_an_older_wish_waited_for_still_comes_first() -> None:
    assert after_of(ORDERS, DEPENDS, changed={ORDERS}, removed=(), before=(LEDGER,)) == (LEDGER,)


def test_a_dependency_that_is_no_more_is_not_waited_for() -> None:
    assert after_of(ORDERS, {}, changed={ORDERS}, removed=(), before=(LEDGER,)) == ()


def test_removal_goes_the_other_way_round() -> None:
    removed = {ORDERS, PAYMENTS}

    assert after_of(PAYMENTS, DEPENDS, changed=(), removed=removed) == (ORDERS,)
    assert after_of(ORDERS, DEPENDS, changed=(), removed=removed) == ()


def view(phase: Phase, *, error: str = "", **status: Any) -> ReleaseView:
    return ReleaseView(
        environment="staging",
        service="payments",
        cluster="test",
        namespace="shop",
        status={"phase": phase.value, **status},
        error=error,
        updated_at=0.0,
    )


TOGETHER = {"verification": {"group": ["orders", "payments"]}, "health": Health.HEALTHY.value}


@pytest.mark.parametrize(
    "seen, is_outstanding, reason",
    [
        (view(Phase.HEALTHY), False, ""),
        (None, False, ""),
        (view(Phase.HEALTHY), True, "waits for staging/payments"),
        (view(Phase.FAILED, message="x"), True, "waits for staging/payments"),
        (view(Phase.VERIFYING), False, "waits for staging/payments"),
        (view(Phase.HEALTHY, pending={"left": 1}), False, "waits for staging/payments"),
        (view(Phase.SUSPENDED), False, "waits for staging/payments"),
        (view(Phase.FAILED, message="no image"), False, "waits for staging/payments, which failed: no image"),
        (view(Phase.FAILED, error="bad file"), False, "waits for staging/payments, which failed: bad file"),
        (view(Phase.ROLLED_BACK, message="m"), False, "waits for staging/payments, which failed: m"),
        (view(Phase.VERIFYING, **TOGETHER), False, ""),
        (view(Phase.VERIFYING, health="healthy"), False, "waits for staging/payments"),
    ],
)
def test_a_release_waits_until_what_it_depends_on_is_healthy(
    seen: ReleaseView | None, is_outstanding: bool, reason: str
) -> None:
    assert reason_of(ORDERS, PAYMENTS, seen, is_outstanding=is_outstanding) == reason
