"""What a group makes of the conclusion that one member comes to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from parts.a_release import plain_release

from towline.shared.model import Health, HookState, Moment, Phase, Result, Trigger
from towline.shared.pending import HookRun, Pending
from towline.shared.release import (
    HistoryEntry,
    Quarantine,
    ReleaseStatus,
    StoredRevision,
    Verification,
)
from towline.shared.views import Touched
from towline.worker.decision import stable
from towline.worker.groups import Mate, Part, has_mates, mate_of, with_mates

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NEW, OLD = "a" * 40, "b" * 40


def status(phase: Phase = Phase.VERIFYING, **fields: Any) -> ReleaseStatus:
    usual = {
        "revision": NEW,
        "stable_revision": OLD,
        "phase": phase,
        "health": Health.PROGRESSING,
        "stored": (StoredRevision(revision=OLD, name="o", sha256="s", stable_at=NOW),),
        "verification": Verification(group=("orders", "payments")),
        "history": (HistoryEntry(revision=NEW, result=Result.SYNCED),),
    }
    return ReleaseStatus(**{**usual, **fields})


def ended(result: Result, cause: str = "no image") -> tuple[HistoryEntry, ...]:
    return (HistoryEntry(revision=NEW, result=result, cause=cause),)


BAD = Quarantine(revision=NEW, cause="no image")


@pytest.mark.parametrize(
    "found, part",
    [
        (status(Phase.HEALTHY), Part.WELL),
        (status(health=Health.HEALTHY), Part.WELL),
        (status(), Part.UNDER_WAY),
        (status(revision=OLD, pending=Pending(revision=NEW, since=NOW)), Part.UNDER_WAY),
        (status(Phase.HEALTHY, revision=OLD, history=()), Part.APART),
        (status(Phase.SUSPENDED), Part.APART),
        (None, Part.APART),
        (status(Phase.FAILED, history=ended(Result.FAILED)), Part.FAILED),
        (status(Phase.FAILED, revision=OLD, history=ended(Result.REFUSED)), Part.FAILED),
        (status(Phase.ROLLED_BACK, revision=OLD, quarantined=BAD), Part.FAILED),
    ],
)
def test_what_a_mate_has_to_do_with_a_revision(found: ReleaseStatus | None, part: Part) -> None:
    assert mate_of("payments", found, NEW, is_wanted=False, told=None).part is part


def test_a_mate_whose_sync_is_still_to_come_is_waited_for() -> None:
    mate = mate_of("payments", status(Phase.HEALTHY, revision=OLD), NEW, is_wanted=True, told=None)

    assert mate.part is Part.UNDER_WAY


def test_a_mate_whose_first_install_was_refused_has_failed() -> None:
    told = Touched(state="refused", text="bad file", at=0.0)

    assert mate_of("payments", None, NEW, is_wanted=False, told=told) == Mate(
        name="payments", part=Part.FAILED, cause="bad file"
    )


def decided(found: ReleaseStatus, *mates: Mate, health: Health = Health.HEALTHY) -> ReleaseStatus | None:
    alone = stable(found, health, "all", now=NOW) if health is Health.HEALTHY else None
    return with_mates(plain_release(found), alone, health, mates, now=NOW)


def mate(part: Part, **fields: Any) -> Mate:
    return Mate(name="payments", part=part, **fields)


def test_a_member_is_stable_when_all_mates_are_well() -> None:
    result = decided(status(), mate(Part.WELL), mate(Part.APART))

    assert result is not None and result.phase is Phase.HEALTHY


def test_a_healthy_member_waits_for_its_mates_and_says_so_once() -> None:
    waiting = decided(status(), mate(Part.UNDER_WAY))

    assert waiting is not None
    assert (waiting.phase, waiting.health) == (Phase.VERIFYING, Health.HEALTHY)
    assert waiting.message == "healthy; waits for payments of its group"
    assert decided(waiting, mate(Part.UNDER_WAY)) is None


@pytest.mark.parametrize("health", [Health.HEALTHY, Health.PROGRESSING])
def test_a_member_fails_with_its_mate_and_names_it(health: Health) -> None:
    result = decided(status(), mate(Part.FAILED, cause="no image"), health=health)

    assert result is not None and result.quarantined is not None
    assert result.phase is Phase.ROLLING_BACK
    assert result.quarantined.cause == "payments of its group failed: no image"


@pytest.mark.parametrize("is_undone, phase", [(True, Phase.ROLLING_BACK), (False, None)])
def test_a_stable_member_goes_back_only_with_a_mate_that_went_back(
    is_undone: bool, phase: Phase | None
) -> None:
    found = status(Phase.HEALTHY)

    result = with_mates(
        plain_release(found), None, Health.HEALTHY, [mate(Part.FAILED, is_undone=is_undone)], now=NOW
    )

    assert (result.phase if result else None) is phase


def test_a_member_takes_its_steps_without_waiting_for_the_others() -> None:
    found = status(pending=Pending(revision=NEW, since=NOW, left=1))

    assert with_mates(plain_release(found), found, Health.HEALTHY, [mate(Part.UNDER_WAY)], now=NOW) == found


def prepared(*, health: Health = Health.HEALTHY) -> ReleaseStatus:
    """The revision before is live, and a hook of the new one has run."""
    hook = HookRun(kind="Job", name="migrate", moment=Moment.PRE_SYNC, revision=NEW)
    pending = Pending(
        revision=NEW, moment=Moment.PRE_SYNC, left=1, of=2, since=NOW, group=("orders", "payments")
    )
    return status(
        Phase.HEALTHY,
        revision=OLD,
        health=health,
        pending=pending,
        hooks=(hook,),
        verification=Verification(),
    )


def test_a_revision_that_is_lost_with_a_mate_ends_after_its_hooks() -> None:
    found = prepared()

    result = with_mates(
        plain_release(found), found, Health.HEALTHY, [mate(Part.FAILED, cause="no image")], now=NOW
    )

    assert result is not None and result.quarantined is not None and result.pending is None
    assert (result.revision, result.health, result.history[0].result) == (OLD, Health.HEALTHY, Result.FAILED)
    assert result.quarantined.revision == NEW
    assert result.quarantined.cause == "payments of its group failed: no image"
    assert result.quarantined.reverted_at == NOW
    assert result.hooks[0].state is HookState.SUCCEEDED


@pytest.mark.parametrize("part", [Part.UNDER_WAY, Part.WELL, Part.APART])
def test_a_revision_goes_on_after_its_hooks_while_no_mate_has_failed(part: Part) -> None:
    found = prepared()

    assert with_mates(plain_release(found), found, Health.HEALTHY, [mate(part)], now=NOW) == found


def test_who_decides_with_others() -> None:
    by_operator = (HistoryEntry(revision=NEW, result=Result.SYNCED, trigger=Trigger.OPERATOR),)

    assert has_mates(status())
    assert has_mates(prepared())
    assert not has_mates(prepared().model_copy(update={"history": by_operator}))
    assert not has_mates(status(verification=Verification()))
    assert not has_mates(status(Phase.ROLLED_BACK))
    assert not has_mates(status(history=by_operator))
