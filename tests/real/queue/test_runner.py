"""What an error of a job means: tried again later, ended with the reason, or a bug."""

import time

import pytest

from towline.shared.jobs import QueueName
from towline.shared.ledger import NewDelivery, Verdict
from towline.shared.model import Push, Revision
from towline.shared.queue import DUE
from towline.worker.runner import (
    ATTEMPTS,
    BACKGROUND_TURN,
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    JobFailed,
    WarmWorker,
    delay_seconds,
    run,
)
from towline.worker.start import GENERAL


@pytest.fixture
def push_job(engine):
    """A push that was delivered and whose job a worker is about to run: its id."""
    push = Push(ref="refs/heads/main", before=None, after=Revision("a" * 40))
    new = NewDelivery(
        id="d1", repository="shop", forge="github", event="push", pushes=(push,), received_at=time.time()
    )
    (identifier,) = engine.tools.ledger.accept(new).jobs
    return identifier


def run_it(engine, identifier):
    sealed = engine.tools.queue.rq(QueueName.PUSHES).fetch_job(identifier).args[0]
    return run(engine.tools, identifier, sealed)


def delivery(engine):
    return engine.tools.ledger.get("d1", repositories=["shop"])


def test_what_may_pass_is_tried_again_later_and_the_delivery_waits(engine, git_server, push_job):
    git_server.stop()

    line = run_it(engine, push_job)

    assert line.startswith("again in")
    assert engine.tools.queue.parked(push_job).attempt == 2
    assert engine.tools.broker.redis.zscore(DUE, push_job) > time.time()
    assert delivery(engine).verdict is Verdict.ACCEPTED


def test_after_the_last_attempt_the_delivery_says_why_and_rq_shows_the_job_as_failed(
    engine, git_server, push_job
):
    git_server.stop()
    queue = engine.tools.queue
    queue.later(push_job, queue.parked(push_job).model_copy(update={"attempt": ATTEMPTS}), at=0.0)

    with pytest.raises(JobFailed):
        run_it(engine, push_job)

    assert queue.parked(push_job) is None
    assert delivery(engine).verdict is Verdict.FAILED
    assert "Git server" in next(iter(delivery(engine).ends.values())).text


def test_a_bug_ends_the_job_without_a_word_of_what_it_held(engine, push_job):
    engine.tools.config = "a-secret-that-is-no-configuration"

    with pytest.raises(JobFailed) as failed:
        run_it(engine, push_job)

    (end,) = delivery(engine).ends.values()
    assert end.text == "internal error: AttributeError"
    assert "a-secret" not in str(failed.value)


def test_a_job_that_was_taken_over_under_another_id_does_nothing(engine, push_job):
    engine.tools.queue.again(push_job, engine.tools.queue.parked(push_job))

    assert run_it(engine, push_job).startswith("ended before")
    assert delivery(engine).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("attempt", "asked", "shortest", "longest"),
    [
        (1, None, 0.75 * FIRST_DELAY_SECONDS, 1.25 * FIRST_DELAY_SECONDS),
        (4, None, 6 * FIRST_DELAY_SECONDS, 10 * FIRST_DELAY_SECONDS),
        (1, 30.0, 30.0, 30.0),
        (60, None, 0.75 * LONGEST_DELAY_SECONDS, 1.25 * LONGEST_DELAY_SECONDS),
    ],
    ids=["the first", "it doubles", "the server's word", "it ends"],
)
def test_the_pauses_between_attempts_grow_to_a_limit(attempt, asked, shortest, longest):
    assert delay_seconds(attempt, asked=asked, jitter=0.0) == shortest
    assert delay_seconds(attempt, asked=asked, jitter=1.0) == longest


def test_every_tenth_pick_looks_at_the_background_first(engine):
    queues = [engine.tools.queue.rq(name) for name in GENERAL]
    worker = WarmWorker(queues, connection=engine.tools.broker.redis)

    firsts = []
    for _ in range(2 * BACKGROUND_TURN):
        worker.reorder_queues(queues[0])
        firsts.append(worker._ordered_queues[0].name)

    assert [index + 1 for index, name in enumerate(firsts) if name == QueueName.BACKGROUND] == [10, 20]
    assert set(firsts) == {QueueName.BACKGROUND, QueueName.URGENT}
