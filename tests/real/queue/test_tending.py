"""What the clock has looked at again, with releases of a real cluster and a time of the test's own."""

import time

import pytest
from parts.manifests import config_map

from towline.shared.jobs import QueueName
from towline.shared.watchers import Watchers
from towline.worker.tending import A_TURN, UNWATCHED_SECONDS, WATCHED_SECONDS, Tending


@pytest.fixture
def tending(engine):
    engine.deploy({"services/orders/app.yaml": config_map("orders")})
    return Tending(engine.tools)


def looks(engine) -> list[str]:
    """The kinds of the jobs that wait."""
    return [one.partition("_")[0] for one in engine.tools.queue.rq(QueueName.BACKGROUND).get_job_ids()]


def test_each_release_is_judged_and_looked_after_once_an_interval(engine, tending):
    now = time.time()

    for at in (now, now + 1, now + UNWATCHED_SECONDS - 1):
        tending.turn(at)
    first = looks(engine)
    tending.turn(now + UNWATCHED_SECONDS)

    assert first == ["conclude", "heal"]
    assert looks(engine) == 2 * first


def test_a_cluster_with_a_watcher_is_looked_at_seldom(engine, tending):
    now = time.time()
    tending.turn(now)
    Watchers(engine.tools.broker).alive("test", "a watcher")

    tending.turn(now + UNWATCHED_SECONDS)
    seldom = len(looks(engine))
    tending.turn(now + WATCHED_SECONDS)

    assert (seldom, len(looks(engine))) == (2, 4)


def test_many_releases_are_spread_over_turns(engine):
    engine.deploy({f"services/s{number}/app.yaml": config_map(f"s{number}") for number in range(A_TURN + 1)})
    tending, now = Tending(engine.tools), time.time()

    tending.turn(now)
    first = len(looks(engine))
    tending.turn(now + 0.5)

    assert (first, len(looks(engine))) == (2 * A_TURN, 2 * A_TURN + 2)


def test_a_clock_that_was_set_back_does_not_stop_it(engine, tending):
    now = time.time()
    tending.turn(now)

    tending.turn(now - 10 * WATCHED_SECONDS)

    assert len(looks(engine)) == 4
