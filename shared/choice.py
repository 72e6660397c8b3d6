"""Which revision is meant: by an operator who names none, or the first digits of one; by a rollback. Pure.

In: the status of a release. Out: a revision that it knows, or the reason why none is meant. No state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from towline.shared.model import short
from towline.shared.release import ReleaseStatus, StoredRevision

PREFIX = re.compile(r"[0-9a-f]{7,64}")  # Git's own short form has 7 digits
NAMED = 5  # of the revisions that fit, in a message


def previous_stable(status: ReleaseStatus) -> StoredRevision | None:
    """The stored revision that was stable last before the one that is applied; never one that failed since."""
    bad = {status.revision, status.quarantined.revision if status.quarantined else ""}
    others = [one for one in status.stored if one.stable_at is not None and one.revision not in bad]
    return max(others, key=_stable_at, default=None)


def _stable_at(stored: StoredRevision) -> datetime:
    assert stored.stable_at is not None
    return stored.stable_at


def known_revisions(status: ReleaseStatus, *, pinned: str = "") -> tuple[str, ...]:
    """Every revision that a release speaks of, the newest attempts first."""
    named = [entry.revision for entry in status.history]
    named += [one.revision for one in status.stored]
    named += [status.revision, status.stable_revision, pinned]
    if status.quarantined:
        named.append(status.quarantined.revision)
    return tuple(dict.fromkeys(one for one in named if one))


def beginning_with(digits: str, revisions: Iterable[str]) -> tuple[str, ...]:
    """Those of these revisions that begin with these digits."""
    return tuple(one for one in revisions if one.startswith(digits))


def stored_text(status: ReleaseStatus) -> str:
    """What is stored, for people: "1111111111 (stable), 2222222222"."""
    words = [
        f"{short(one.revision)} (was stable)" if one.stable_at else short(one.revision)
        for one in status.stored
    ]
    return ", ".join(words) or "none"


def instead_text(status: ReleaseStatus, *, release: str, is_pinned: bool) -> str:
    """What an operator may do where the revision that was named is not to be had, for people."""
    stored = f"one that is stored: {stored_text(status)}"
    return f"`towline unpin {release}`, or pin it to {stored}" if is_pinned else f"name {stored}"
