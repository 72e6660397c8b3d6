"""GitLab: signature or token, never one for the other; delivery ids."""

from __future__ import annotations

import base64
import json

import pytest
from parts.deliveries import payload, sent, standard_signature

from towline.receiver.forges.forge import Keys, Kind, Message, Request
from towline.receiver.forges.gitlab import GitLab
from towline.shared.errors import BadSignature, DeliveryError
from towline.shared.model import Forge

TOKEN = "the token"
KEY = b"the key of a signing token, 32 b"
SIGNING_TOKEN = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_700_000_000
BODY = sent(Forge.GITLAB, payload(Forge.GITLAB)).body
SIGNATURE = standard_signature(BODY, key=KEY, identifier="msg_1", timestamp=NOW)


def read(
    headers: dict[str, str], *, body: bytes = BODY, secrets: tuple[str, ...] = (TOKEN, SIGNING_TOKEN)
) -> Message:
    """Verify and parse, as the receiver does."""
    base = {"content-type": "application/json", "x-gitlab-event": "Push Hook"}
    request = Request(headers=base | {name.lower(): value for name, value in headers.items()}, body=body)
    text = GitLab().signed(request, Keys(secrets=secrets, sha1_allowed=False, now=NOW))
    return GitLab().message(request, text)


def test_a_right_token_counts_where_there_is_no_signature() -> None:
    """GitLab 19 sends webhook-id and webhook-timestamp with every delivery."""
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1", "X-Gitlab-Token": TOKEN}

    assert read(headers).kind is Kind.PUSH


def test_a_right_signature_counts() -> None:
    message = read(SIGNATURE)

    assert message.kind is Kind.PUSH
    assert message.delivery_id == "msg_1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-timestamp": str(NOW - 301)},
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_a_wrong_signature_is_not_saved_by_a_right_token(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        read(SIGNATURE | {"X-Gitlab-Token": TOKEN} | wrong)


def test_a_right_signature_needs_no_token() -> None:
    assert read(SIGNATURE | {"X-Gitlab-Token": "wrong"}).kind is Kind.PUSH


def test_a_signing_token_sent_as_it_is_is_refused() -> None:
    with pytest.raises(BadSignature):
        read({"X-Gitlab-Token": SIGNING_TOKEN})


@pytest.mark.parametrize("token", ["", "the toke", "the token ", "THE TOKEN", "é"])
def test_a_wrong_token_is_refused(token: str) -> None:
    with pytest.raises(BadSignature):
        read({"X-Gitlab-Token": token})


def test_a_token_may_hold_any_character() -> None:
    """WSGI hands header values out as Latin-1, whatever was sent."""
    secret = "пароль"

    message = read({"X-Gitlab-Token": secret.encode().decode("latin-1")}, secrets=(secret,))

    assert message.kind is Kind.PUSH


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Idempotency-Key": "stays", "webhook-id": "msg_2"}, "stays"),
        ({"webhook-id": "msg_2", "X-Gitlab-Event-UUID": "event"}, "msg_2"),
        ({}, None),
    ],
)
def test_the_delivery_id_is_one_that_stays_when_sent_again(
    headers: dict[str, str], expected: str | None
) -> None:
    assert read({"X-Gitlab-Token": TOKEN} | headers).delivery_id == expected


def test_deliveries_that_share_an_event_are_told_apart() -> None:
    """Everything that one webhook causes carries the same X-Gitlab-Event-UUID."""
    other = sent(Forge.GITLAB, payload(Forge.GITLAB, after="c" * 40)).body
    headers = {"X-Gitlab-Token": TOKEN, "X-Gitlab-Event-UUID": "event"}

    first, second, again = read(headers), read(headers, body=other), read(headers)

    assert first.delivery_id != second.delivery_id
    assert first.delivery_id == again.delivery_id


@pytest.mark.parametrize(
    ("event", "name", "expected"),
    [
        ("System Hook", "push", Kind.PUSH),
        ("System Hook", "tag_push", Kind.PUSH),
        ("System Hook", "repository_update", Kind.OTHER),
        ("Tag Push Hook", "tag_push", Kind.PUSH),
        ("Merge Request Hook", "push", Kind.OTHER),
    ],
)
def test_the_event_decides_what_is_read(event: str, name: str, expected: Kind) -> None:
    body = json.dumps(payload(Forge.GITLAB) | {"event_name": name}).encode()

    assert read({"X-Gitlab-Token": TOKEN, "X-Gitlab-Event": event}, body=body).kind is expected


def test_a_system_hook_without_event_name_is_refused() -> None:
    with pytest.raises(DeliveryError):
        read({"X-Gitlab-Token": TOKEN, "X-Gitlab-Event": "System Hook"})


def test_the_commits_listed_are_not_looked_at() -> None:
    """20 at most are listed, whatever was pushed."""
    body = json.dumps(payload(Forge.GITLAB) | {"commits": "odd", "total_commits_count": None}).encode()

    assert read({"X-Gitlab-Token": TOKEN}, body=body).pushes[0].ref == "refs/heads/main"
