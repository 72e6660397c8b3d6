"""What is said of a revision at one release, by what was told of it and where the release stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from towline.receiver.verdicts import Line, Whole, Word, line_of, whole_of
from towline.shared.views import ReleaseView, Touched

ASKED, OTHER, NEWER = ("a" * 40, "b" * 40, "c" * 40)


def told(state: str, text: str = "", *, instead: str = "") -> Touched:
    return Touched(state=state, text=text, at=1.0, instead=instead)


def at(revision: str, phase: str, health: str = "healthy", **more: Any) -> ReleaseView:
    """A release at a revision; `stable` is the stable one."""
    spec = {name: more.pop(name) for name in ("suspended", "pinned", "syncing") if name in more}
    status = {"revision": revision, "phase": phase, "health": health, **more}
    return ReleaseView(
        environment="staging",
        service="orders",
        cluster="c",
        namespace="n",
        status=status,
        updated_at=2.0,
        **spec,
    )


def entry(revision: str, result: str = "healthy") -> dict[str, str]:
    return {"revision": revision, "result": result}


STABLE = {"stableRevision": ASKED}
BAD = {"quarantined": {"revision": ASKED, "cause": "crash loop", "revertedAt": "2026-11-25T12:00:00Z"}}


@pytest.mark.parametrize(
    ("touched", "view", "word"),
    [
        (told("synced"), at(ASKED, "Verifying", "progressing"), Word.VERIFYING),
        (told("healthy"), at(ASKED, "Healthy"), Word.LIVE),
        (told("wanted"), at(ASKED, "Healthy"), Word.LIVE),
        (None, at(ASKED, "Healthy"), Word.LIVE),
        (None, at(ASKED, "RolledBack", **STABLE), Word.LIVE),
        (None, at(ASKED, "Failed", **STABLE), Word.LIVE),
        (None, at(ASKED, "Failed", "failed", **STABLE), Word.FAILED),
        (told("synced"), at(ASKED, "Failed", "unknown"), Word.FAILED),
        (told("healthy"), at(ASKED, "Suspended", **STABLE), Word.LIVE),
        (told("synced"), at(ASKED, "Suspended", "progressing"), Word.WAITING),
        (told("rolled back"), at(ASKED, "RollingBack", "failed", **BAD), Word.ROLLED_BACK),
        (told("rolled back"), at(OTHER, "RolledBack", **BAD), Word.ROLLED_BACK),
        (None, at(OTHER, "RolledBack", **BAD), Word.ROLLED_BACK),
        (told("quarantined"), at(OTHER, "RolledBack", **BAD), Word.QUARANTINED),
        (told("failed"), at(OTHER, "Failed", **BAD), Word.FAILED),
        (told("rolled back"), at(NEWER, "Healthy"), Word.ROLLED_BACK),
        (told("wanted"), at(OTHER, "Healthy"), Word.WANTED),
        (told("wanted"), None, Word.WANTED),
        (told("wanted"), at(OTHER, "Suspended", suspended=True), Word.WAITING),
        (told("waiting"), at(OTHER, "Healthy", pinned=OTHER), Word.WAITING),
        (told("refused"), at(OTHER, "Failed"), Word.REFUSED),
        (told("removed"), None, Word.REMOVED),
        (told("healthy"), at(NEWER, "Healthy"), Word.SUPERSEDED),
        (told("superseded", instead=NEWER), at(NEWER, "Healthy"), Word.SUPERSEDED),
        (told("synced", instead=OTHER), at(OTHER, "Healthy"), Word.SUPERSEDED),
    ],
)
def test_the_word_for_a_revision(touched: Touched | None, view: ReleaseView | None, word: Word) -> None:
    line = line_of(ASKED, touched, view)

    assert line is not None
    assert line.word is word


@pytest.mark.parametrize("view", [None, at(OTHER, "Healthy"), at(OTHER, "Healthy", history="nonsense")])
def test_nothing_is_said_where_nothing_is_known(view: ReleaseView | None) -> None:
    assert line_of(ASKED, None, view) is None


def test_steps_that_are_still_to_come_are_verified() -> None:
    pending = {"revision": ASKED, "moment": "pre-sync", "left": 1, "of": 2, "since": "2026-11-25T12:00:00Z"}

    line = line_of(ASKED, told("synced"), at(OTHER, "Healthy", pending={**pending, "timeoutSeconds": 300}))

    assert line is not None and line.word is Word.VERIFYING


def test_a_release_that_went_back_before_a_revision_does_not_contain_it() -> None:
    history = [entry(OTHER), entry(ASKED), entry(OTHER, "superseded")]

    back = line_of(ASKED, told("healthy"), at(OTHER, "Healthy", history=history))
    onward = line_of(ASKED, told("healthy"), at(NEWER, "Healthy", history=[entry(NEWER), *history]))

    assert back is not None and back.word is Word.ROLLED_BACK
    assert onward is not None and (onward.word, onward.instead) == (Word.SUPERSEDED, NEWER)


def test_what_was_brought_stays_applied_whatever_came_after() -> None:
    newer = line_of(ASKED, told("synced"), at(NEWER, "Healthy"))
    refused = line_of(ASKED, told("refused"), at(OTHER, "Healthy"))

    assert newer is not None and newer.is_applied
    assert refused is not None and not refused.is_applied


LIVE = Line(word=Word.LIVE)
WAITS = Line(word=Word.WANTED)
FAILED = Line(word=Word.FAILED)


def superseded(then: Word | None) -> Line:
    return Line(word=Word.SUPERSEDED, instead=NEWER, then=then)


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        ([LIVE, Line(word=Word.REMOVED), superseded(Word.LIVE)], Whole.LIVE),
        ([LIVE, WAITS], Whole.WAITING),
        ([LIVE, superseded(None)], Whole.WAITING),
        ([WAITS, FAILED], Whole.FAILED),
        ([LIVE, superseded(Word.ROLLED_BACK)], Whole.FAILED),
    ],
)
def test_the_verdict_over_all_releases(lines: list[Line], whole: Whole) -> None:
    assert whole_of(lines, is_known=True) is whole


def test_a_revision_that_touches_nothing_is_live_once_it_was_read() -> None:
    assert whole_of([], is_known=True) is Whole.LIVE
    assert whole_of([], is_known=False) is Whole.UNKNOWN


def test_the_contract_names_every_word() -> None:
    contract = Path(__file__).parents[3].joinpath("docs/contract.md").read_text()
    (row,) = (line for line in contract.splitlines() if line.startswith("| verdicts of a revision |"))
    each, _, whole = row.partition("over all")

    assert set(re.findall(r"`([a-z ]+)`", each)) == set(Word)
    assert set(re.findall(r"`([a-z ]+)`", whole)) == set(Whole)
