"""Which revision an operator means who names none, or the first digits of one."""

from datetime import UTC, datetime, timedelta

from towline.shared.choice import (
    beginning_with,
    instead_text,
    known_revisions,
    previous_stable,
    stored_text,
)
from towline.shared.model import Result
from towline.shared.release import HistoryEntry, Quarantine, ReleaseStatus, StoredRevision

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


def stored(revision: str, *, minutes: int | None) -> StoredRevision:
    """One that was found healthy that many minutes after noon, or never."""
    stable_at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return StoredRevision(revision=revision, name="n", sha256="s", stable_at=stable_at)


def test_the_one_before_is_the_newest_other_one_that_was_stable() -> None:
    status = ReleaseStatus(
        revision=D,
        stored=(stored(D, minutes=9), stored(C, minutes=None), stored(A, minutes=1), stored(B, minutes=5)),
    )

    assert previous_stable(status) == status.stored[3]


def test_one_that_failed_since_is_never_gone_back_to() -> None:
    status = ReleaseStatus(
        revision=C,
        quarantined=Quarantine(revision=B),
        stored=(stored(C, minutes=9), stored(B, minutes=5), stored(A, minutes=1)),
    )

    assert previous_stable(status) == status.stored[2]


def test_there_is_none_before_a_first_install() -> None:
    status = ReleaseStatus(revision=A, stored=(stored(A, minutes=1), stored(B, minutes=None)))

    assert previous_stable(status) is None
    assert stored_text(status) == f"{'a' * 10} (was stable), {'b' * 10}"
    assert stored_text(ReleaseStatus()) == "none"


def test_first_digits_are_looked_for_in_all_that_a_release_speaks_of() -> None:
    status = ReleaseStatus(
        revision=A,
        stable_revision=A,
        quarantined=Quarantine(revision=D),
        stored=(stored(B, minutes=1),),
        history=(
            HistoryEntry(revision=C, result=Result.REFUSED),
            HistoryEntry(revision=A, result=Result.HEALTHY),
        ),
    )

    known = known_revisions(status, pinned="e" * 40)

    assert known == (C, A, B, "e" * 40, D)
    assert beginning_with("c" * 7, known) == (C,)
    assert beginning_with("f" * 7, known) == ()


def test_who_named_a_revision_that_is_not_to_be_had_is_told_what_is() -> None:
    status = ReleaseStatus(stored=(stored(A, minutes=1),))

    assert (
        instead_text(status, release="staging/orders", is_pinned=True)
        == "`towline unpin staging/orders`, or pin it to one that is stored: aaaaaaaaaa (was stable)"
    )
    assert (
        instead_text(status, release="staging/orders", is_pinned=False)
        == "name one that is stored: aaaaaaaaaa (was stable)"
    )
