"""Every delivery of the corpus, every forge on its own headers, and payloads that are wrong in one place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.deliveries import EVENTS, FOLDERS, SECRET, Sent, of_corpus, payload, sent, signature

from towline.receiver.forges.forge import Keys, Kind, Message, Request
from towline.receiver.forges.rules import RULES
from towline.shared.errors import BadSignature, DeliveryError
from towline.shared.model import Forge

KEYS = Keys(secrets=(SECRET,), sha1_allowed=False, now=1_700_000_000)

# What each file of the corpus means: its kind, and for pushes the ref with the first digits of before and after.
CORPUS: dict[str, tuple[Kind, str, str | None, str | None] | Kind] = {
    "bitbucket-cloud/pullrequest_created-1": Kind.OTHER,
    "bitbucket-cloud/repo_push-1": (Kind.PUSH, "refs/heads/name-of-branch", "1e65", "709d"),
    "bitbucket-cloud/repo_push-2": (Kind.PUSH, "refs/heads/master", "40e7", "1419"),
    "bitbucket-cloud/repo_push-3": (Kind.PUSH, "refs/heads/develop", None, "1419"),
    "bitbucket-cloud/repo_push-4": (Kind.PUSH, "refs/heads/develop", "1419", None),
    "bitbucket-cloud/repo_push-5": (Kind.PUSH, "refs/tags/feature/x", None, "1419"),
    "bitbucket-cloud/repo_push-6": (Kind.PUSH, "refs/heads/feature/webhook", None, "d7f3"),
    "bitbucket-server/diagnostics_ping-1": Kind.PING,
    "bitbucket-server/repo_refs_changed-1": (Kind.PUSH, "refs/heads/master", "5c64", "823b"),
    "bitbucket-server/repo_refs_changed-2": (Kind.PUSH, "refs/heads/feature/wip", "32a0", None),
    "bitbucket-server/repo_refs_changed-3": (Kind.PUSH, "refs/heads/develop", None, "208b"),
    "bitbucket-server/repo_refs_changed-4": (Kind.PUSH, "refs/tags/v1.1.0", "823b", None),
    "bitbucket-server/repo_refs_changed-5": (
        Kind.PUSH,
        "refs/heads/trangineni/devtfvars-1685475548410",
        "b2b7",
        "51a3",
    ),
    "gitea/create-1": Kind.OTHER,
    "gitea/create-2": Kind.OTHER,
    "gitea/delete-1": Kind.OTHER,
    "gitea/pull_request-1": Kind.OTHER,
    "gitea/push-1": (Kind.PUSH, "refs/heads/master", None, "67b5"),
    "gitea/push-2": (Kind.PUSH, "refs/heads/master", "9836", "4522"),
    "github/check_run-1": Kind.OTHER,
    "github/create-1": Kind.OTHER,
    "github/create-2": Kind.OTHER,
    "github/delete-1": Kind.OTHER,
    "github/delete-2": Kind.OTHER,
    "github/ping-1": Kind.PING,
    "github/ping-2": Kind.PING,
    "github/pull_request-1": Kind.OTHER,
    "github/pull_request-2": Kind.OTHER,
    "github/push-1": (Kind.PUSH, "refs/heads/master", "a108", "199e"),
    "github/push-10": (Kind.PUSH, "refs/heads/master", "737d", "fd48"),
    "github/push-2": (Kind.PUSH, "refs/heads/master", None, "6113"),
    "github/push-3": (Kind.PUSH, "refs/heads/feature-branch", None, "d2b7"),
    "github/push-4": (Kind.PUSH, "refs/heads/feature-branch", "d2b7", None),
    "github/push-5": (Kind.PUSH, "refs/tags/v0.0.1", None, "d2b7"),
    "github/push-6": (Kind.PUSH, "refs/tags/simple-tag", "6113", None),
    "github/push-7": (Kind.PUSH, "refs/heads/master", "d5c1", "6373"),
    "github/push-8": (Kind.PUSH, "refs/tags/simple-tag", "6113", None),
    "github/push-9": (Kind.PUSH, "refs/tags/simple-tag", None, "6113"),
    "gitlab/merge_request-1": Kind.OTHER,
    "gitlab/merge_request-2": Kind.OTHER,
    "gitlab/push-1": (Kind.PUSH, "refs/heads/master", "9579", "da15"),
    "gitlab/push-2": (Kind.PUSH, "refs/heads/master", "9579", "da15"),
    "gitlab/push-3": (Kind.PUSH, "refs/heads/feature", None, "c4c7"),
    "gitlab/push-4": (Kind.PUSH, "refs/heads/feature", "c4c7", None),
    "gitlab/push-5": (Kind.PUSH, "refs/heads/master", "9217", "2adc"),
    "gitlab/system_hook-1": (Kind.PUSH, "refs/heads/master", "9579", "da15"),
    "gitlab/system_hook-2": (Kind.PUSH, "refs/tags/v1.0.0", None, "82b3"),
    "gitlab/system_hook-3": Kind.OTHER,
    "gitlab/tag_push-1": (Kind.PUSH, "refs/tags/v1.0.0", None, "82b3"),
    "gitlab/tag_push-2": (Kind.PUSH, "refs/tags/v1.0.0", "2adc", None),
    "gogs/push-1": (Kind.PUSH, "refs/heads/develop", "28e1", "bffe"),
}

ODD: tuple[Any, ...] = (None, [], [None], [[]], {}, {"a": 1}, "", "x", 0, -1, 1.5, 10**30, True, "\0", "..")
ODD_URLS = (
    "",
    "/",
    "http://",
    "https:///path",
    "http://[::1]/acme/shop.git",
    "https://user:password@git.example.com/acme/shop",
    "git@git.example.com:acme/shop.git",
    "javascript:alert(1)",
    "https://git.example.com:99999/acme/shop",
    "http://[",
    "https://git.example.com/acme/shop.git\n",
    "x" * 100_000,
)


def read(forge: Forge, delivery: Sent) -> Message:
    """Verify and parse, as the receiver does."""
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    request = Request(headers=headers, body=delivery.body)
    return RULES[forge].message(request, RULES[forge].signed(request, KEYS))


def test_the_table_names_every_delivery_of_the_corpus(corpus: Path) -> None:
    files = (corpus / "webhooks").glob("*/*.headers.json")

    assert {f"{file.parent.name}/{file.name.removesuffix('.headers.json')}" for file in files} == set(CORPUS)


@pytest.mark.parametrize("name", CORPUS)
def test_a_real_delivery_is_read(corpus: Path, name: str) -> None:
    delivery = of_corpus(corpus / "webhooks", name)

    message = read(FOLDERS[name.partition("/")[0]], delivery)

    pushes = [
        (Kind.PUSH, push.ref, push.before and push.before[:4], push.after and push.after[:4])
        for push in message.pushes
    ]
    expected = CORPUS[name]
    assert (pushes or message.kind) == ([expected] if isinstance(expected, tuple) else expected)
    # Bitbucket Server's old payloads have no URL at all.
    assert message.kind is not Kind.PUSH or message.urls or message.path
    assert message.delivery_id in delivery.headers.values()


@pytest.mark.parametrize("name", CORPUS)
def test_a_real_delivery_with_one_byte_changed_is_refused(corpus: Path, name: str) -> None:
    delivery = of_corpus(corpus / "webhooks", name)
    if name.startswith("gitlab/"):
        changed = Sent(headers=delivery.headers | {"X-Gitlab-Token": SECRET + "x"}, body=delivery.body)
    else:
        changed = Sent(headers=delivery.headers, body=delivery.body + b" ")

    with pytest.raises(BadSignature):
        read(FOLDERS[name.partition("/")[0]], changed)


@pytest.mark.parametrize("forge", Forge)
def test_a_push_of_each_forge_is_read(forge: Forge) -> None:
    message = read(forge, sent(forge, payload(forge), delivery="the-id"))

    assert message.kind is Kind.PUSH
    assert message.delivery_id == "the-id"
    assert [(push.ref, push.before, push.after) for push in message.pushes] == [
        ("refs/heads/main", "a" * 40, "b" * 40)
    ]


@pytest.mark.parametrize("forge", Forge)
def test_ids_of_64_digits_are_read(forge: Forge) -> None:
    said = payload(forge, before="0" * 64 if forge is not Forge.BITBUCKET else "c" * 64, after="d" * 64)

    (push,) = read(forge, sent(forge, said)).pushes

    assert push.after == "d" * 64
    assert push.before == (None if forge is not Forge.BITBUCKET else "c" * 64)


@pytest.mark.parametrize("forge", Forge)
def test_a_deleted_branch_has_no_after(forge: Forge) -> None:
    (push,) = read(forge, sent(forge, payload(forge, after="0" * 40))).pushes

    assert push.after is None
    assert push.before == "a" * 40


@pytest.mark.parametrize("forge", [forge for forge in Forge if forge is not Forge.BITBUCKET])
def test_a_deletion_may_say_null(forge: Forge) -> None:
    said = json.loads(json.dumps(payload(forge)).replace(f'"{"b" * 40}"', "null"))

    (push,) = read(forge, sent(forge, said)).pushes

    assert push.after is None


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize(
    "after",
    [
        "HEAD",
        "-",
        "--upload-pack=x",
        "b" * 39,
        "b" * 41,
        "b" * 63,
        "b" * 65,
        "g" * 40,
        "",
        " " + "b" * 40,
        *("b" * 40 + "\n", "0" * 39, "main", "refs/heads/main", "ﬀ" * 20),
    ],
)
def test_what_is_no_whole_commit_id_is_refused(forge: Forge, after: str) -> None:
    with pytest.raises(DeliveryError) as refusal:
        read(forge, sent(forge, payload(forge, after=after)))

    assert not isinstance(refusal.value, BadSignature)


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize(
    "name", ["../../x", "a\nb", "a b", "x..y", "@{", "a//b", ".hidden", "x.lock", "a~1", "-/\x7f", "a\\b", ""]
)
def test_a_ref_that_git_would_refuse_is_refused(forge: Forge, name: str) -> None:
    with pytest.raises(DeliveryError):
        read(forge, sent(forge, payload(forge, ref=f"refs/heads/{name}")))


@pytest.mark.parametrize("forge", Forge)
def test_a_signature_by_another_secret_is_refused(forge: Forge) -> None:
    delivery = sent(forge, payload(forge))
    forged = Sent(
        headers=delivery.headers | signature(forge, delivery.body, secret="another"), body=delivery.body
    )

    with pytest.raises(BadSignature):
        read(forge, forged)


@pytest.mark.parametrize("forge", Forge)
def test_any_of_several_secrets_counts(forge: Forge) -> None:
    delivery = sent(forge, payload(forge))
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    keys = Keys(secrets=("old", SECRET, "whsec_AAAA"), sha1_allowed=False, now=0)

    assert RULES[forge].signed(Request(headers=headers, body=delivery.body), keys) == delivery.body


@pytest.mark.parametrize("forge", Forge)
def test_a_delivery_without_signature_is_refused(forge: Forge) -> None:
    delivery = sent(forge, payload(forge))
    bare = {
        name: value for name, value in delivery.headers.items() if name not in signature(forge, delivery.body)
    }

    with pytest.raises(BadSignature):
        read(forge, Sent(headers=bare, body=delivery.body))


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("other", Forge)
def test_another_forges_headers_do_not_count(forge: Forge, other: Forge) -> None:
    """A right signature in the header of a forge that is not configured, over a payload that would do."""
    delivery = sent(other, payload(forge))
    if set(EVENTS[forge]) <= set(EVENTS[other]):
        return read(forge, delivery) and None

    with pytest.raises(DeliveryError):
        read(forge, delivery)


@pytest.mark.parametrize("forge", Forge)
def test_a_signed_delivery_without_event_is_refused(forge: Forge) -> None:
    delivery = sent(forge, payload(forge))
    bare = {name: value for name, value in delivery.headers.items() if "Event" not in name}

    with pytest.raises(DeliveryError) as refusal:
        read(forge, Sent(headers=bare, body=delivery.body))

    assert not isinstance(refusal.value, BadSignature)


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("identifier", ["", " ", "a b", "../x", "x" * 200, "{1}", "a:b", "<b>", "\x00"])
def test_an_unusable_delivery_id_counts_as_none(forge: Forge, identifier: str) -> None:
    assert read(forge, sent(forge, payload(forge), delivery=identifier)).delivery_id is None


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"ref": "refs/heads/main"',
        b"[" * 100_000,
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"x": ' + b"9" * 100_000 + b"}",
        b'{"ref": NaN}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_rightly_signed_body_that_is_no_payload_is_refused(forge: Forge, body: bytes) -> None:
    with pytest.raises(DeliveryError) as refusal:
        read(forge, sent(forge, body))

    assert refusal.value.status == 400


@pytest.mark.parametrize("forge", Forge)
def test_every_field_may_be_anything(forge: Forge) -> None:
    """No payload of a forge may end in anything but a message or DeliveryError (CVE-2025-59531, -59537, -59538)."""
    for said in variants(payload(forge)):
        try:
            read(forge, sent(forge, said))
        except DeliveryError as error:
            assert error.status == 400, said


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("url", ODD_URLS, ids=lambda url: repr(url[:30]))
def test_odd_urls_are_read_as_they_are(forge: Forge, url: str) -> None:
    try:
        message = read(forge, sent(forge, payload(forge, url=url)))
    except DeliveryError as error:
        assert error.status == 400
    else:
        assert all(isinstance(each, str) for each in message.urls)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(body=st.binary(max_size=200) | JSON.map(lambda said: json.dumps(said).encode()))
def test_any_signed_body_is_a_message_or_an_error(body: bytes) -> None:
    for forge in Forge:
        try:
            assert read(forge, sent(forge, body)).kind is not Kind.PUSH
        except DeliveryError as error:
            assert error.status == 400


@pytest.mark.parametrize("name", [name for name, kind in CORPUS.items() if kind is not Kind.OTHER])
def test_a_real_delivery_with_a_field_missing_or_odd_is_read_or_refused(corpus: Path, name: str) -> None:
    forge = FOLDERS[name.partition("/")[0]]
    original = of_corpus(corpus / "webhooks", name)

    for said in variants(json.loads(original.body), depth=2, odd=(None, [], {}, 7)):
        body = json.dumps(said).encode()
        try:
            read(forge, Sent(headers=original.headers | signature(forge, body), body=body))
        except DeliveryError as error:
            assert error.status == 400


def variants(said: Any, *, depth: int = 9, odd: tuple[Any, ...] = ODD) -> Iterator[Any]:
    """The payload with one place replaced by each odd value, or left out."""
    for path in list(paths(said, depth)):
        for value in (*odd, ...):
            changed = copy.deepcopy(said)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if value is ...:
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
            yield changed


def paths(said: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    """The place of every value inside."""
    items = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in items:
        yield (key,)
        if depth > 1:
            for rest in paths(value, depth - 1):
                yield (key, *rest)
