from __future__ import annotations

import json
import threading

import pytest
from parts.eventually import eventually

from towline.shared.errors import ForgeDown
from towline.worker.deadline import Deadline
from towline.worker.fetch_line import FetchLine

MAIN, RELEASE = "refs/heads/main", "refs/heads/release"


class Server:
    """Counts fetches; the tip of a ref is the number of the fetch. `hold()` keeps a fetch from ending."""

    def __init__(self) -> None:
        self.fetches: list[frozenset[str]] = []
        self.is_fetching = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def fetch(self, refs):
        self.fetches.append(refs)
        number = len(self.fetches)
        self.is_fetching.set()
        assert self.may_end.wait(10)
        return {ref: f"{number}" for ref in refs if ref != "refs/heads/gone"}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def line(tmp_path):
    return FetchLine(tmp_path)


def ask(line, server, ref, answers):
    thread = threading.Thread(
        target=lambda: answers.append((ref, line.tip(ref, server.fetch, deadline=Deadline(20)))), daemon=True
    )
    thread.start()
    return thread


def test_a_call_is_answered_by_a_fetch_of_its_own(line, server):
    assert line.tip(MAIN, server.fetch, deadline=Deadline(5)) == "1"
    assert line.tip(MAIN, server.fetch, deadline=Deadline(5)) == "2"


def test_a_ref_that_the_server_does_not_have_is_none(line, server):
    assert line.tip("refs/heads/gone", server.fetch, deadline=Deadline(5)) is None


def test_all_who_wait_share_one_fetch_that_started_after_they_asked(tmp_path, line, server):
    # given: a fetch that is under way, and ten who ask meanwhile, for two refs
    answers = []
    server.may_end.clear()
    first = ask(line, server, MAIN, answers)
    assert server.is_fetching.wait(5)
    others = [ask(FetchLine(tmp_path), server, ref, answers) for ref in [MAIN, RELEASE] * 5]
    eventually(lambda: len(list((tmp_path / "waiting").iterdir())) == 11)

    # when
    server.may_end.set()
    for thread in (first, *others):
        thread.join(10)

    # then: the fetch under way may have missed what they know of, so there is one more, and only one
    assert server.fetches == [{MAIN}, {MAIN, RELEASE}]
    assert answers.count((MAIN, "1")) == 1
    assert answers.count((MAIN, "2")) == 5
    assert answers.count((RELEASE, "2")) == 5


def test_a_failed_fetch_fails_its_caller_and_the_next_one_fetches_again(line, server):
    def fails(refs):
        raise ForgeDown("down")

    with pytest.raises(ForgeDown):
        line.tip(MAIN, fails, deadline=Deadline(5))

    assert line.tip(MAIN, server.fetch, deadline=Deadline(5)) == "1"


def test_who_waits_too_long_is_told_so(tmp_path, line, server):
    with line.turn(Deadline(5)), pytest.raises(ForgeDown, match="busy"):
        FetchLine(tmp_path).tip(MAIN, server.fetch, deadline=Deadline(0.02))

    assert list((tmp_path / "waiting").iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"started": "x", "tips": {}}', '{"started": 1, "tips": [1]}']
)
def test_a_state_that_cannot_be_read_means_that_nothing_is_known(tmp_path, line, server, content):
    (tmp_path / "fetches.json").write_text(content)

    assert line.tip(MAIN, server.fetch, deadline=Deadline(5)) == "1"


def test_a_ticket_that_a_killed_caller_left_is_served_once_and_removed(tmp_path, line, server):
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / "left").write_text(RELEASE)
    (tmp_path / "waiting" / "half").write_text("refs/he")

    line.tip(MAIN, server.fetch, deadline=Deadline(5))
    line.tip(MAIN, server.fetch, deadline=Deadline(5))

    assert server.fetches == [{MAIN, RELEASE}, {MAIN}]
    assert list((tmp_path / "waiting").iterdir()) == []


def test_the_state_on_disk_names_the_fetch_of_each_tip(tmp_path, line, server):
    line.tip(MAIN, server.fetch, deadline=Deadline(5))

    assert json.loads((tmp_path / "fetches.json").read_text()) == {"started": 1, "tips": {MAIN: [1, "1"]}}
