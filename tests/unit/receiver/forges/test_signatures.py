"""Every published signature vector, and what strangers put where a signature belongs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parts.deliveries import SECRET, digest

from towline.receiver.forges.forge import Keys, Request
from towline.receiver.forges.rules import RULES
from towline.receiver.forges.signatures import check_hex, check_standard, same
from towline.shared.errors import BadSignature, DeliveryError
from towline.shared.model import Forge

# Which forge's rules a scheme of the vectors belongs to.
SCHEMES = {
    "github-sha256": Forge.GITHUB,
    "github-sha1": Forge.GITHUB,
    "bitbucket-sha256": Forge.BITBUCKET_SERVER,
    "gitea-sha256": Forge.GITEA,
    "gitlab-standard-webhooks": Forge.GITLAB,
}
VECTOR_NAMES = 26


def vectors(corpus: Path) -> list[dict[str, Any]]:
    """The published vectors."""
    found: list[dict[str, Any]] = json.loads((corpus / "webhooks/signatures/vectors.json").read_bytes())
    return found


def accepts(corpus: Path, vector: dict[str, Any], *, sha1_allowed: bool) -> bool:
    """Whether our rules find the vector's signature right."""
    file = vector.get("body_file")
    body = (corpus / "webhooks" / file).read_bytes() if file else vector["body"].encode()
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    request = Request(headers=headers | {"content-type": "application/json"}, body=body)
    keys = Keys(secrets=(vector["secret"],), sha1_allowed=sha1_allowed, now=float(vector.get("now", 0)))
    try:
        return RULES[SCHEMES[vector["scheme"]]].signed(request, keys) == body
    except BadSignature:
        return False


def test_every_published_vector_is_judged_as_published(corpus: Path) -> None:
    found = vectors(corpus)

    judged = {each["name"]: accepts(corpus, each, sha1_allowed=True) for each in found}

    assert judged == {each["name"]: each["valid"] for each in found}
    assert len(found) >= VECTOR_NAMES
    assert set(judged.values()) == {True, False}


def test_sha1_alone_is_refused_unless_the_operator_turned_it_on(corpus: Path) -> None:
    (vector,) = (each for each in vectors(corpus) if each["scheme"] == "github-sha1")

    assert accepts(corpus, vector, sha1_allowed=True)
    assert not accepts(corpus, vector, sha1_allowed=False)


@pytest.mark.parametrize(
    "given",
    ["", "0", "zz", "0" * 63, "0" * 64, "0" * 65, " " * 64, "é" * 64, "0x" + "0" * 62, "\x00", "\u0660" * 64],
)
def test_what_is_no_right_digest_is_refused(given: str) -> None:
    with pytest.raises(BadSignature):
        check_hex(given, b"body", secrets=[SECRET])


def test_a_digest_may_be_written_in_capitals() -> None:
    check_hex(digest(b"body").upper(), b"body", secrets=["old", SECRET])


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_signed_time_within_five_minutes_is_accepted(seconds: int) -> None:
    headers = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", STANDARD)

    check_standard(headers, b'{"test": 2432232314}', secrets=[STANDARD_SECRET], now=1614265330 + seconds)


@pytest.mark.parametrize("seconds", [-301, 301, 10**9])
def test_a_signed_time_further_away_is_refused(seconds: int) -> None:
    headers = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", STANDARD)

    with pytest.raises(BadSignature):
        check_standard(headers, b'{"test": 2432232314}', secrets=[STANDARD_SECRET], now=1614265330 + seconds)


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "\uff19", "1" * 5000, "nan", " 1614265330"])
def test_a_time_that_is_none_is_refused(timestamp: str) -> None:
    with pytest.raises(BadSignature):
        check_standard(("id", timestamp, STANDARD), b"{}", secrets=[STANDARD_SECRET], now=1614265330)


@pytest.mark.parametrize("signatures", ["v1,", "v1", "v2,AAAA", ",", " ", "v1,AAAA " * 1000, "v1,é"])
def test_a_list_without_a_right_signature_is_refused(signatures: str) -> None:
    with pytest.raises(BadSignature):
        check_standard(("id", "1614265330", signatures), b"{}", secrets=[STANDARD_SECRET], now=1614265330)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "plain", "é"])
def test_a_secret_that_is_no_signing_token_verifies_nothing(secret: str) -> None:
    with pytest.raises(BadSignature):
        check_standard(("id", "1614265330", STANDARD), b"{}", secrets=[secret], now=1614265330)


def test_equal_means_equal() -> None:
    assert same(b"token", b"token")
    assert not same(b"token", b"token2")
    assert not same(b"", b"token")


def test_an_error_repeats_neither_secret_nor_signature() -> None:
    with pytest.raises(DeliveryError) as refusal:
        check_hex("12ab" * 16, b"body", secrets=[SECRET])

    text = f"{refusal.value}{refusal.value.hint}"
    assert SECRET not in text
    assert "12ab" not in text


STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
