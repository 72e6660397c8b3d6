"""Requests of one stage."""

from __future__ import annotations

import threading

import pytest

from towline.shared.errors import ClusterDown, ClusterError
from towline.worker.parallel import REQUESTS_AT_ONCE, in_parallel


def test_results_come_in_the_order_of_the_items() -> None:
    assert in_parallel(lambda item: item * 2, list(range(100))) == [item * 2 for item in range(100)]
    assert in_parallel(lambda item: item, []) == []


def test_sixteen_run_at_once() -> None:
    together = threading.Barrier(REQUESTS_AT_ONCE, timeout=10)

    assert len(in_parallel(lambda item: together.wait(), range(REQUESTS_AT_ONCE))) == REQUESTS_AT_ONCE


def test_one_item_needs_no_thread() -> None:
    assert in_parallel(lambda item: threading.current_thread(), [1]) == [threading.current_thread()]


def test_an_error_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def run(item: int) -> None:
        if item == 0:
            raise ClusterError("refused", code=422)
        done.append(item)

    with pytest.raises(ClusterError, match="refused"):
        in_parallel(run, range(5))

    assert sorted(done) == [1, 2, 3, 4]


def test_nothing_more_is_sent_to_an_api_server_that_is_down() -> None:
    asked: list[int] = []

    def run(item: int) -> None:
        asked.append(item)
        raise ClusterDown("no answer")

    with pytest.raises(ClusterDown, match="no answer"):
        in_parallel(run, range(10 * REQUESTS_AT_ONCE))

    assert len(asked) <= 2 * REQUESTS_AT_ONCE
