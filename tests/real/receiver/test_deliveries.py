"""Deliveries over HTTP to a running receiver: every answer of the contract, the ledger, the queue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parts.deliveries import (
    AFTER,
    BEFORE,
    EVENTS,
    FOLDERS,
    ZEROS,
    Sent,
    digest,
    of_corpus,
    payload,
    sent,
    signature,
)
from parts.intake import Intake

from towline.shared.errors import NotFound
from towline.shared.jobs import QueueName
from towline.shared.ledger import Verdict
from towline.shared.model import Forge

PUSH = payload(Forge.GITHUB)

# What is no push to a branch, in the corpus.
REASONS = {
    "ping": ["github/ping-1", "github/ping-2", "bitbucket-server/diagnostics_ping-1"],
    "tag": [
        "bitbucket-cloud/repo_push-5",
        "bitbucket-server/repo_refs_changed-4",
        "github/push-5",
        "github/push-6",
        "github/push-8",
        "github/push-9",
        "gitlab/system_hook-2",
        "gitlab/tag_push-1",
        "gitlab/tag_push-2",
    ],
    "event": [
        "bitbucket-cloud/pullrequest_created-1",
        "gitea/create-1",
        "gitea/create-2",
        "gitea/delete-1",
        "gitea/pull_request-1",
        "github/check_run-1",
        "github/create-1",
        "github/create-2",
        "github/delete-1",
        "github/delete-2",
        "github/pull_request-1",
        "github/pull_request-2",
        "gitlab/merge_request-1",
        "gitlab/merge_request-2",
        "gitlab/system_hook-3",
    ],
}
REASON_OF = {name: reason for reason, names in REASONS.items() for name in names}


def waiting(intake: Intake) -> list[str]:
    """The ids of the push jobs in the queue."""
    return intake.queue.rq(QueueName.PUSHES).get_job_ids()


def fresh() -> str:
    """A delivery id."""
    return os.urandom(8).hex()


def test_every_delivery_of_the_corpus_is_answered(intake: Intake, corpus: Path) -> None:
    for file in sorted((corpus / "webhooks").glob("*/*.headers.json")):
        name = f"{file.parent.name}/{file.name.removesuffix('.headers.json')}"
        answer = intake.deliver(FOLDERS[file.parent.name].value, of_corpus(corpus / "webhooks", name))

        if name in REASON_OF:
            assert (answer.status, answer.json["reason"]) == (200, REASON_OF[name]), name
            assert intake.get(answer.json["delivery"]).verdict is Verdict.IGNORED
        else:
            assert answer.status == 202, (name, answer.body)
            assert len(answer.json["pushes"]) == len(answer.json["jobs"]) == 1
            assert intake.get(answer.json["delivery"]).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("forge", Forge)
def test_a_push_is_recorded_and_enqueued_before_the_answer(intake: Intake, forge: Forge) -> None:
    delivery = fresh()

    answer = intake.deliver(forge.value, sent(forge, payload(forge), delivery=delivery))

    assert answer.status == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {
        "delivery": delivery,
        "pushes": [{"ref": "refs/heads/main", "before": BEFORE, "after": AFTER}],
        "jobs": answer.json["jobs"],
    }
    (job,) = answer.json["jobs"]
    assert job in waiting(intake)
    assert intake.queue.parked(job) is not None
    entry = intake.get(delivery)
    assert (entry.repository, entry.forge, entry.jobs) == (forge.value, forge.value, (job,))
    assert (entry.pushes[0].ref, entry.pushes[0].after) == ("refs/heads/main", AFTER)


def test_several_refs_make_a_job_each(intake: Intake) -> None:
    said = payload(Forge.BITBUCKET_SERVER)
    said["changes"] = [
        {"ref": {"id": f"refs/heads/{name}"}, "fromHash": BEFORE, "toHash": AFTER} for name in "abc"
    ]

    answer = intake.deliver("bitbucket-server", sent(Forge.BITBUCKET_SERVER, said, delivery=fresh()))

    assert [push["ref"] for push in answer.json["pushes"]] == [f"refs/heads/{name}" for name in "abc"]
    assert len(set(answer.json["jobs"])) == 3


def test_a_deletion_has_no_after(intake: Intake) -> None:
    answer = intake.deliver(
        "github", sent(Forge.GITHUB, payload(Forge.GITHUB, after=ZEROS), delivery=fresh())
    )

    assert answer.status == 202
    assert answer.json["pushes"] == [{"ref": "refs/heads/main", "before": BEFORE, "after": None}]


@pytest.mark.parametrize(
    ("said", "event", "reason"),
    [
        (payload(Forge.GITHUB, ref="refs/heads/other"), "push", "branch"),
        (payload(Forge.GITHUB, ref="refs/tags/main"), "push", "tag"),
        (payload(Forge.GITHUB, url="https://git.example.com/acme/another"), "push", "repository"),
        ({"zen": "Keep it"}, "ping", "ping"),
        ({"action": "opened"}, "issues", "event"),
    ],
)
def test_what_asks_for_nothing_is_answered_200(
    intake: Intake, said: dict[str, object], event: str, reason: str
) -> None:
    delivery, before = fresh(), waiting(intake)

    answer = intake.deliver("narrow", sent(Forge.GITHUB, said, delivery=delivery, X_GitHub_Event=event))

    assert (answer.status, answer.json) == (200, {"delivery": delivery, "reason": reason})
    assert waiting(intake) == before
    assert intake.get(delivery).reason == reason


def test_a_push_without_refs_is_empty(intake: Intake) -> None:
    said = payload(Forge.BITBUCKET) | {"push": {"changes": []}}

    answer = intake.deliver("bitbucket", sent(Forge.BITBUCKET, said, delivery=fresh()))

    assert (answer.status, answer.json["reason"]) == (200, "empty")


def test_the_same_delivery_again_is_a_duplicate(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())

    first, before = intake.deliver("github", delivery), waiting(intake)
    again = intake.deliver("github", delivery)

    assert first.status == 202
    assert (again.status, again.json) == (200, {"delivery": first.json["delivery"], "reason": "duplicate"})
    assert waiting(intake) == before


def test_a_delivery_whose_job_failed_can_be_sent_again(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())
    first = intake.deliver("github", delivery)
    intake.ledger.ended("github", first.json["delivery"], first.json["jobs"][0], ok=False, text="no")

    again = intake.deliver("github", delivery)

    assert again.status == 202
    assert again.json["jobs"] != first.json["jobs"]


def test_a_delivery_that_succeeded_stays_a_duplicate(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())
    first = intake.deliver("github", delivery)
    intake.ledger.ended("github", first.json["delivery"], first.json["jobs"][0], ok=True, text="")

    assert intake.deliver("github", delivery).json["reason"] == "duplicate"


def test_one_id_at_two_repositories_is_two_deliveries(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())

    assert intake.deliver("github", delivery).status == 202
    assert intake.deliver("narrow", delivery).status == 202


@pytest.mark.parametrize("header", [None, "", "../../x", "a b", "x" * 300])
def test_a_delivery_without_usable_id_gets_a_random_one(intake: Intake, header: str | None) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=header or "")
    if header is None:
        del delivery.headers["X-GitHub-Delivery"]

    first, second = intake.deliver("github", delivery), intake.deliver("github", delivery)

    assert (first.status, second.status) == (202, 202)
    assert first.json["delivery"] != second.json["delivery"]
    assert first.json["delivery"].startswith("random-")


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("wrong", ["missing", "another secret", "another body"])
def test_a_delivery_that_is_not_signed_right_is_refused(intake: Intake, forge: Forge, wrong: str) -> None:
    delivery = sent(forge, payload(forge), delivery=fresh())
    header = signature(forge, delivery.body)
    if wrong == "missing":
        headers = {name: value for name, value in delivery.headers.items() if name not in header}
    else:
        headers = delivery.headers | signature(forge, delivery.body, secret="another")
    body = delivery.body + b" " if wrong == "another body" else delivery.body
    before = waiting(intake)

    answer = intake.deliver(forge.value, Sent(headers=headers, body=body))

    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["type"] == "/problems/bad-signature"
    assert waiting(intake) == before


def test_a_refused_delivery_is_in_the_ledger_and_claims_no_id(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())
    forged = Sent(headers=delivery.headers | signature(Forge.GITHUB, b"", secret="x"), body=delivery.body)

    assert intake.deliver("github", forged).status == 401
    newest = intake.ledger.recent(1)[0]
    assert (newest.verdict, newest.repository, newest.reason) == (
        Verdict.REFUSED,
        "github",
        "the signature is not right",
    )
    assert intake.deliver("github", delivery).status == 202


def test_sha1_is_accepted_where_it_is_turned_on(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())
    headers = {name: value for name, value in delivery.headers.items() if "Signature" not in name}
    older = Sent(
        headers=headers | {"X-Hub-Signature": f"sha1={digest(delivery.body, algorithm='sha1')}"},
        body=delivery.body,
    )

    assert intake.deliver("older", older).status == 202
    assert intake.deliver("github", older).status == 401


@pytest.mark.parametrize(
    "other", [forge for forge in Forge if not set(EVENTS[forge]) & set(EVENTS[Forge.GITHUB])]
)
def test_another_forges_delivery_is_refused(intake: Intake, other: Forge) -> None:
    assert intake.deliver("github", sent(other, PUSH)).status in (400, 401)


def test_an_unknown_repository_is_404(intake: Intake) -> None:
    answers = [intake.deliver(name, sent(Forge.GITHUB, PUSH)) for name in ("unknown", "GitHub", "a%2fb")]

    assert [answer.status for answer in answers] == [404, 404, 404]
    assert answers[0].json["type"] == "/problems/unknown-repository"
    assert "unknown" not in answers[0].json["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("name", ["github", "unknown"])
def test_another_method_is_405(intake: Intake, method: str, name: str) -> None:
    answer = intake.call(method, f"/webhooks/{name}")

    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_more_than_the_rate_limit_is_429(intake: Intake) -> None:
    unsigned = Sent(headers={"Content-Type": "application/json"}, body=b"{}")
    for _ in range(5):  # strangers do not count
        assert intake.deliver("limited", unsigned).status == 401

    answers = [intake.deliver("limited", sent(Forge.GITHUB, PUSH, delivery=fresh())) for _ in range(4)]

    assert [answer.status for answer in answers] == [202, 202, 202, 429]
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 2 * 3600
    assert intake.deliver("github", sent(Forge.GITHUB, PUSH, delivery=fresh())).status == 202


def test_secrets_that_cannot_be_read_are_no_fault_of_the_forge(intake: Intake) -> None:
    answer = intake.deliver("locked", sent(Forge.GITHUB, PUSH))

    assert answer.status == 503
    assert "missing" not in answer.body.decode()


def test_a_rotated_secret_counts_without_a_restart(intake: Intake) -> None:
    delivery = sent(Forge.GITHUB, PUSH, delivery=fresh())
    rotated = Sent(
        headers=delivery.headers | signature(Forge.GITHUB, delivery.body, secret="the next secret"),
        body=delivery.body,
    )
    file = intake.folder / "secret"
    old = file.read_text()

    assert intake.deliver("github", rotated).status == 401
    file.write_text("the next secret\n")
    answer = intake.deliver("github", rotated)
    file.write_text(old)

    assert answer.status == 202


def test_the_log_tells_of_a_delivery_and_no_secret(intake: Intake) -> None:
    delivery = fresh()

    intake.deliver("gitlab", sent(Forge.GITLAB, payload(Forge.GITLAB), delivery=delivery))

    log = intake.process.log.read_text()
    assert f'"delivery": "{delivery}"' in log
    assert '"event": "webhook.accepted"' in log
    assert (intake.folder / "secret").read_text() not in log


def test_the_probes_and_an_unknown_path_answer(intake: Intake) -> None:
    assert intake.call("GET", "/healthz").json == {"status": "ok"}
    assert intake.call("GET", "/readyz").json == {"status": "ok"}
    unknown = intake.call("GET", "/nothing/here")
    assert (unknown.status, unknown.headers["Content-Type"]) == (404, "application/problem+json")
    with pytest.raises(NotFound):
        intake.get("never-sent")
