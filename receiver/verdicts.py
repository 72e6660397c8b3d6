"""What became of a revision at one release: pure, from what workers told of it and from the release as it stands.

In: a revision, how far it got with a release (`shared/views.py`), the release. Out: a Line, or None where neither says
anything of it. The release itself goes before what was told, so the answer is right again as soon as releases are shown
after Redis was wiped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import ValidationError

from towline.shared.model import WELL, Phase, short
from towline.shared.release import HistoryEntry, ReleaseStatus
from towline.shared.views import ReleaseView, Touched


class Word(StrEnum):
    """What is said of a revision, for one release."""

    LIVE = "live"  # the release is healthy at it
    VERIFYING = "verifying"  # applied, not known to be healthy yet
    WANTED = "wanted"  # its sync waits or runs
    WAITING = "waiting"  # something keeps the release from it: suspended, pinned, a dependency
    REMOVED = "removed"  # it takes the service away, and that is done
    FAILED = "failed"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"  # another revision stands in its place


class Whole(StrEnum):
    """What is said of a revision over all releases."""

    LIVE = "live"
    WAITING = "waiting"
    FAILED = "failed"
    UNKNOWN = "unknown"


GOOD = (Word.LIVE, Word.REMOVED)
BAD = (Word.FAILED, Word.REFUSED, Word.ROLLED_BACK, Word.QUARANTINED)
NOT_YET = (Word.WANTED, Word.WAITING)
APPLIED = ("synced", "healthy", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One release in the answer; `instead`: the revision that stands in the place of the one asked for, `then`: its word."""

    word: Word
    text: str = ""
    at: float = 0.0
    is_applied: bool = False  # it was brought there, whatever came afterwards
    instead: str = ""
    then: Word | None = None

    @property
    def is_live(self) -> bool:
        """Whether what this revision brought is what runs, and well."""
        return (self.then if self.word is Word.SUPERSEDED else self.word) in GOOD

    @property
    def is_bad(self) -> bool:
        """Whether it will not become live by itself."""
        return (self.then if self.word is Word.SUPERSEDED else self.word) in BAD


def status_of(view: ReleaseView) -> ReleaseStatus:
    """The recorded status; an empty one where it is not of the form that Towline writes."""
    try:
        return ReleaseStatus.model_validate(view.status)
    except ValidationError:
        return ReleaseStatus()


def speaks_of(view: ReleaseView, revision: str) -> bool:
    """Whether a release as it stands says anything of this revision; cheap, since it is asked of all of them."""
    named = [view.status.get("revision")]
    for part in (view.status.get("quarantined"), view.status.get("pending")):
        named.append(part.get("revision") if isinstance(part, dict) else None)
    return revision in named


def line_of(revision: str, touched: Touched | None, view: ReleaseView | None) -> Line | None:
    """What became of this revision; one that is superseded names what stands `instead`, whose word is still to be found."""
    status = status_of(view) if view is not None else ReleaseStatus()
    line = _by_release(revision, touched, status)
    if line is None and touched is not None:
        line = _by_what_was_told(revision, touched, view, status)
    if line is None:
        return None
    at = touched.at if touched else (view.updated_at if view else 0.0)
    was_applied = touched is not None and touched.state in APPLIED
    return replace(line, at=at, is_applied=was_applied or line.word in (Word.LIVE, Word.VERIFYING))


def _by_release(revision: str, touched: Touched | None, status: ReleaseStatus) -> Line | None:
    bad, pending = status.quarantined, status.pending
    if bad is not None and bad.revision == revision:
        return _by_quarantine(touched, status, bad.cause)
    if pending is not None and pending.revision == revision:
        return Line(word=Word.VERIFYING, text=status.message)
    if status.revision != revision:
        return None
    is_well = status.health in WELL and status.stable_revision == revision
    match status.phase:
        case Phase.VERIFYING | Phase.ROLLING_BACK:
            word = Word.VERIFYING
        case Phase.SUSPENDED if not is_well:
            word = Word.WAITING
        case Phase.HEALTHY:
            word = Word.LIVE
        case _:  # one that runs well stays live though a newer one was refused or rolled back
            word = Word.LIVE if is_well else Word.FAILED
    return Line(word=word, text=status.message)


def _by_quarantine(touched: Touched | None, status: ReleaseStatus, cause: str) -> Line:
    if touched is not None and touched.state in (Word.FAILED, Word.QUARANTINED):
        return Line(word=Word(touched.state), text=touched.text or cause)
    if status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        return Line(word=Word.ROLLED_BACK, text=status.message)
    return Line(word=Word.QUARANTINED, text=cause)


def _by_what_was_told(
    revision: str, touched: Touched, view: ReleaseView | None, status: ReleaseStatus
) -> Line | None:
    if touched.state in NOT_YET:
        return _not_yet(Word(touched.state), touched.text, view)
    if touched.state in ("synced", "healthy", "superseded"):
        return _moved_on(revision, touched, status)
    return Line(word=Word(touched.state), text=touched.text)


def _not_yet(word: Word, text: str, view: ReleaseView | None) -> Line:
    if view is not None and view.suspended:
        return Line(word=Word.WAITING, text="suspended: resume it first")
    if view is not None and view.syncing:
        return Line(word=Word.WANTED, text="its sync runs")
    return Line(word=word, text=text)


def _moved_on(revision: str, touched: Touched, status: ReleaseStatus) -> Line:
    """It was applied, or had its turn taken, and the release stands at another revision."""
    if touched.instead and touched.state != "superseded" and touched.instead == status.revision:
        text = f"its objects are those of {short(touched.instead)}"
        return Line(word=Word.SUPERSEDED, text=text, instead=touched.instead)
    if touched.state != "superseded" and went_back(status.history, revision, now_at=status.revision):
        return Line(word=Word.ROLLED_BACK, text=f"the release went back to {short(status.revision)}")
    instead = touched.instead or status.revision
    if instead in ("", revision):  # told before, and the release is gone since
        return Line(word=Word.SUPERSEDED, text=touched.text or "the release is not there any more")
    text = touched.text if touched.state == "superseded" else f"{short(instead)} was deployed since"
    return Line(word=Word.SUPERSEDED, text=text, instead=instead)


def went_back(history: Sequence[HistoryEntry], revision: str, *, now_at: str) -> bool:
    """Whether the release stands at a revision that had been there before this one came."""
    first = next((n for n, one in enumerate(history) if one.revision == revision), None)
    return first is not None and any(one.revision == now_at for one in history[first + 1 :])


def whole_of(lines: Sequence[Line], *, is_known: bool) -> Whole:
    """The verdict over all releases; a revision that touches none of them is live as soon as it was read."""
    if any(line.is_bad for line in lines):
        return Whole.FAILED
    if not all(line.is_live for line in lines):
        return Whole.WAITING
    return Whole.LIVE if lines or is_known else Whole.UNKNOWN
