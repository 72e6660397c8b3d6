from __future__ import annotations

import os
import signal
import threading

import pytest

from towline.worker.deadline import Deadline, cut_off_at, prepare


@pytest.fixture
def handlers():
    """The handler of before is back after the test."""
    before = signal.getsignal(signal.SIGURG)
    yield
    signal.signal(signal.SIGURG, before)


def test_a_deadline_counts_down_to_zero():
    assert Deadline(60).remaining() == pytest.approx(60, abs=1)
    assert Deadline(0).remaining() == 0
    assert Deadline(0).has_passed
    assert not Deadline(60).has_passed


def test_a_block_that_ends_in_time_is_not_disturbed_and_leaves_no_thread():
    prepare()
    before = threading.active_count()

    with cut_off_at(Deadline(60)):
        pass

    assert threading.active_count() == before


def test_a_blocked_call_is_interrupted_at_the_deadline(handlers):
    # given: a read that nobody ends but the signal
    reader, writer = os.pipe()
    signal.signal(signal.SIGURG, lambda number, frame: os.write(writer, b"x"))

    # when
    with cut_off_at(Deadline(0.05)):
        data = os.read(reader, 1)

    # then
    assert data == b"x"
    os.close(reader)
    os.close(writer)


def test_a_handler_that_somebody_else_set_stays(handlers):
    def theirs(number: int, frame: object) -> None:
        """Something of theirs."""

    signal.signal(signal.SIGURG, theirs)

    prepare()

    assert signal.getsignal(signal.SIGURG) is theirs


def test_a_thread_that_cannot_set_handlers_sets_none(handlers):
    signal.signal(signal.SIGURG, signal.SIG_DFL)

    thread = threading.Thread(target=prepare)
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
