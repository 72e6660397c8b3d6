"""The commands that hold and move a release, and the one that waits for a commit, against a receiver on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from parts.answering import REVISION, deliver, show
from parts.eventually import eventually

from towline.receiver.long_poll import WAITERS

OLD = "2" * 40
STORED = [
    {"revision": one, "name": "n", "sha256": "s", "stableAt": "2026-11-25T12:00:00Z"}
    for one in (REVISION, OLD)
]


@pytest.fixture
def run(served, token):
    """Runs `towline ...` as a process with an admin's token."""
    text = token("admin")["Authorization"].removeprefix("Bearer ")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    def command(*words):
        return subprocess.run(
            [sys.executable, "-m", "towline.cli", *words],
            env={**kept, "TOWLINE_URL": served, "TOWLINE_TOKEN": text},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rollback",), "goes back to 2222222222; pinned there: `towline unpin staging/orders`"),
        (("rollback", "--to", "1111111", "--no-pin"), "goes back to 1111111111; not pinned"),
        (("sync", "--revision", "2222222"), "goes to 2222222222"),
        (("pin",), "pinned to 1111111111"),
        (("unpin",), "follows its branch again"),
        (("suspend",), "until `towline resume staging/orders`"),
        (("resume",), "resumed"),
    ],
)
def test_each_command_makes_a_job_and_says_what_follows(run, context, words, says):
    show(context, "staging/orders", stored=STORED)
    word, *options = words

    answer = run(word, "staging/orders", *options)

    assert answer.returncode == 0, answer.stderr
    assert says in answer.stdout
    assert context.queue.depths()["urgent"] == 1


def test_what_cannot_be_gone_back_to_ends_with_two_and_the_reason(run, context):
    show(context, "staging/orders", stored=STORED[:1])

    answer = run("rollback", "staging/orders")

    assert answer.returncode == 2
    assert "no revision that was stable before 1111111111" in answer.stderr


def meanwhile(context, result, **status):
    """Have a worker end the attempt that an operator asks for, as soon as it is asked for."""

    def end():
        wish = eventually(lambda: context.queue.wishes.get("staging/orders"), within=30)
        received = datetime.fromtimestamp(wish.received_at, UTC).isoformat()
        entry = {"revision": wish.revision, "result": result, "cause": "why", "receivedAt": received}
        show(context, "staging/orders", history=[entry], **status)

    thread = threading.Thread(target=end)
    thread.start()
    return thread


@pytest.mark.parametrize(("result", "code"), [("healthy", 0), ("rolled back", 1), ("refused", 1)])
def test_the_outcome_is_waited_for(run, context, result, code):
    show(context, "staging/orders", stored=STORED)
    worker = meanwhile(context, result)

    answer = run("rollback", "staging/orders", "--wait", "--output", "json")
    worker.join()

    assert answer.returncode == code, answer.stderr
    found = json.loads(answer.stdout)
    assert (found["result"], found["cause"], found["revision"]) == (result, "why", OLD)


def test_an_outcome_that_is_not_known_in_time_is_two(run, context):
    show(context, "staging/orders", stored=STORED)

    answer = run("rollback", "staging/orders", "--wait", "--timeout", "1s")

    assert answer.returncode == 2
    assert "not known after 1 s" in answer.stderr


def test_the_history_tells_all_that_is_kept_of_an_attempt(run, context):
    entry = {
        "revision": REVISION,
        "ref": "refs/heads/main",
        "author": "Ada",
        "subject": "Add orders",
        "trigger": "webhook",
        "triggeredBy": "d-1",
        "result": "rolled back",
        "cause": "crash loop",
        "receivedAt": "2026-11-25T12:00:00Z",
        "startedAt": "2026-11-25T12:00:00Z",
        "stages": {"apply": 0.5, "verify": 2, "rollback": 0.25},
        "created": 1,
        "changed": 2,
        "left": 3,
        "pruned": 4,
        "notes": ["took over replicas"],
        "logs": ["panic: \x1b[2J"],
        "failure": {
            "object": "Pod orders-1",
            "container": "app",
            "reason": "Error",
            "exitCode": 2,
            "message": "crash loop",
            "events": ["BackOff: restarting"],
        },
    }
    show(context, "staging/orders", history=[entry])

    table = run("history", "staging/orders")
    document = run("history", "staging/orders", "--output", "json")

    for word in (
        "1111111111  rolled back",
        "Add orders (Ada)",
        "webhook d-1",
        "crash loop",
        "apply 0.500 s, verify 2.000 s, rollback 0.250 s",
        "1 created, 2 changed, 3 left, 4 pruned",
        "took over replicas",
        "panic: ?[2J",
        "Pod orders-1 app: Error, exit code 2",
        "BackOff: restarting",
    ):
        assert word in table.stdout
    (shown,) = json.loads(document.stdout)["history"]
    assert set(entry) == set(shown)


def test_wait_ends_with_zero_when_the_commit_is_live(run, context):
    show(context, "staging/orders", phase="Verifying", health="progressing")
    context.views.touch("shop", REVISION, ["staging/orders"], "synced")

    def become_healthy():
        eventually(lambda: context.long_poll._free._value < WAITERS, within=20)
        show(context, "staging/orders")

    worker = threading.Thread(target=become_healthy)
    worker.start()

    answer = run("wait", REVISION, "--timeout", "30s")
    worker.join()

    assert answer.returncode == 0, answer.stderr
    assert "staging/orders: verifying" in answer.stdout
    assert "staging/orders: live" in answer.stdout
    assert "1111111111: live, 1 of 1 releases live" in answer.stdout


def test_wait_ends_with_one_and_the_cause_when_it_failed(run, context):
    show(context, "staging/orders", revision=OLD)
    context.views.touch("shop", REVISION, ["staging/orders"], "rolled back", text="crash loop")

    answer = run("wait", REVISION, "--repository", "shop", "--output", "json")

    assert answer.returncode == 1, answer.stderr
    assert json.loads(answer.stdout)["releases"][0]["message"] == "crash loop"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((REVISION, "--timeout", "1s"), "not decided after 1 s"),
        ((REVISION, "-r", "none"), "none"),
        (("HEAD",), "not a whole commit id"),
        ((REVISION, "--timeout", "soon"), "a length of time"),
    ],
)
def test_wait_ends_with_two_when_that_cannot_be_said(run, context, words, says):
    deliver(context, "d-1")

    answer = run("wait", *words)

    assert answer.returncode == 2
    assert says in answer.stderr


def test_wait_asks_which_repository_is_meant_where_there_are_several(run, context):
    show(context, "staging/orders")
    show(context, "staging/cart", repository="other")

    answer = run("wait", REVISION, "--timeout", "5s")

    assert answer.returncode == 2
    assert "other, shop" in answer.stderr
