"""Is this commit live? Over what workers told, where releases stand, what contains it, and while it is waited for."""

import threading
import time

import pytest
from parts.answering import REVISION, deliver, show
from parts.eventually import eventually

from towline.receiver.long_poll import WAITERS, LongPoll
from towline.shared.contained import remember
from towline.shared.ledger import NewDelivery, Verdict
from towline.shared.model import Push

NEWER = "2" * 40
MAIN = "refs/heads/main"


@pytest.fixture
def ask(web, token):
    def answer(revision=REVISION, *, environments=None, wait=None):
        query = f"?wait={wait}" if wait else ""
        path = f"/api/v1/repositories/shop/revisions/{revision}{query}"
        return web.get(path, headers=token("read", environments=environments)).get_json()

    return answer


def test_it_is_live_where_every_release_is_healthy_at_it(ask, context):
    show(context, "staging/orders")
    show(context, "staging/cart", phase="Verifying", health="progressing")
    context.views.touch("shop", REVISION, ["staging/orders", "staging/cart"], "synced")

    before = ask()
    show(context, "staging/cart")
    after = ask()

    assert (before["verdict"], before["final"], before["applied"]) == ("waiting", False, True)
    assert [each["verdict"] for each in before["releases"]] == ["verifying", "live"]
    assert (after["verdict"], after["final"]) == ("live", True)


def test_it_has_failed_as_soon_as_one_release_has(ask, context):
    show(context, "staging/orders", phase="Verifying", health="progressing")
    context.views.touch("shop", REVISION, ["staging/orders"], "synced")
    context.views.touch("shop", REVISION, ["staging/cart"], "refused", text="cart.yaml:3: no such kind")

    answer = ask()

    assert (answer["verdict"], answer["final"]) == ("failed", True)
    assert answer["releases"][0]["message"] == "cart.yaml:3: no such kind"


@pytest.mark.parametrize(
    ("newer", "whole"),
    [
        ({"phase": "Healthy"}, "live"),
        ({"phase": "Verifying", "health": "progressing"}, "waiting"),
        ({"phase": "Failed", "health": "failed"}, "failed"),
    ],
)
def test_one_that_was_pushed_together_with_a_newer_one_is_told_of_that(ask, context, newer, whole):
    remember(context.broker, "shop", ref=MAIN, tip=NEWER, commits=[NEWER, REVISION])
    show(context, "staging/orders", revision=NEWER, **newer)
    context.views.touch("shop", NEWER, ["staging/orders"], "synced")

    answer = ask()

    (line,) = answer["releases"]
    assert (answer["verdict"], line["verdict"], line["supersededBy"]) == (whole, "superseded", NEWER)
    assert line["live"] == (whole == "live")


def test_the_newest_of_several_that_took_each_others_turn_counts(ask, context):
    newest = "3" * 40
    show(context, "staging/orders", revision=newest)
    context.views.touch("shop", REVISION, ["staging/orders"], "superseded", text="wait", instead=NEWER)
    context.views.touch("shop", NEWER, ["staging/orders"], "superseded", text="wait", instead=newest)

    (line,) = ask()["releases"]

    assert (line["supersededBy"], line["supersededByVerdict"], line["live"]) == (newest, "live", True)


def test_a_release_that_an_operator_took_back_does_not_run_it(ask, context):
    entries = [{"revision": one, "result": "healthy"} for one in (NEWER, REVISION, NEWER)]
    show(context, "staging/orders", revision=NEWER, history=entries)
    context.views.touch("shop", REVISION, ["staging/orders"], "healthy")

    assert ask()["verdict"] == "failed"


def test_after_redis_was_wiped_the_releases_themselves_answer(ask, context):
    show(context, "staging/orders")
    show(context, "production/orders", revision=NEWER, quarantined={"revision": REVISION, "cause": "crash"})

    answer = ask()

    assert [each["verdict"] for each in answer["releases"]] == ["quarantined", "live"]
    assert ask(environments=["staging"])["verdict"] == "live"


def test_where_it_is_not_deployed_is_said_with_the_reason(ask, context):
    remember(context.broker, "shop", ref=MAIN, tip=REVISION, commits=[REVISION])
    context.views.touch_nothing("shop", REVISION)

    answer = ask()

    assert answer["verdict"] == "live"
    assert answer["notDeployed"] == [
        {"environment": "staging", "why": "it changes no service there"},
        {"environment": "production", "why": "only release is deployed there"},
    ]
    assert [each["environment"] for each in ask(environments=["staging"])["notDeployed"]] == ["staging"]


def pushed(context, verdict, *, branch="main"):
    push = Push(ref=f"refs/heads/{branch}", before=None, after=REVISION)
    new = NewDelivery(
        id="d", repository="shop", forge="github", event="push", pushes=(push,), received_at=time.time()
    )
    if verdict is Verdict.IGNORED:
        context.ledger.note(new, verdict, "branch")
        return
    delivery = context.ledger.accept(new)
    if verdict is not Verdict.ACCEPTED:
        is_good = verdict is Verdict.SUCCEEDED
        context.ledger.ended("shop", "d", delivery.jobs[0], ok=is_good, text="bad .towline.yaml")


@pytest.mark.parametrize(
    ("verdict", "branch", "whole", "final", "words"),
    [
        (Verdict.ACCEPTED, "main", "waiting", False, "not read yet"),
        (Verdict.FAILED, "main", "failed", True, "bad .towline.yaml"),
        (Verdict.SUCCEEDED, "main", "unknown", False, "a later push"),
        (Verdict.IGNORED, "other", "unknown", True, "other is mapped to no environment"),
    ],
)
def test_the_ledger_answers_for_one_that_no_worker_has_read(
    ask, context, verdict, branch, whole, final, words
):
    pushed(context, verdict, branch=branch)

    answer = ask()

    assert (answer["verdict"], answer["final"], answer["applied"]) == (whole, final, False)
    assert words in answer["message"]


def test_one_of_which_nothing_was_heard_is_unknown(ask, context):
    deliver(context, "d-1")

    answer = ask()

    assert (answer["verdict"], answer["final"], answer["releases"]) == ("unknown", False, [])


def test_who_waits_is_answered_when_it_is_final(ask, context):
    show(context, "staging/orders", phase="Verifying", health="progressing")
    context.views.touch("shop", REVISION, ["staging/orders"], "synced")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ask(wait="20s")))
    started = time.monotonic()
    waiting.start()
    eventually(lambda: context.long_poll._free._value < WAITERS, within=5)

    show(context, "staging/orders")
    waiting.join(10)

    assert answers[0]["verdict"] == "live"
    assert time.monotonic() - started < 10


def test_who_waits_too_long_gets_what_is_known(ask, context):
    context.views.touch("shop", REVISION, ["staging/orders"], "wanted")

    assert ask(wait="1s")["verdict"] == "waiting"


def test_no_more_wait_than_there_are_places_for(context):
    poll = LongPoll(context.broker)
    for _ in range(WAITERS):
        assert poll._free.acquire(blocking=False)
    started = time.monotonic()

    answer = poll.until(lambda: "now", lambda found: False, seconds=60)

    assert answer == "now"
    assert time.monotonic() - started < 5


def test_a_wait_that_is_no_length_of_time_is_422(web, token):
    path = f"/api/v1/repositories/shop/revisions/{REVISION}?wait=soon"

    assert web.get(path, headers=token("read")).status_code == 422
