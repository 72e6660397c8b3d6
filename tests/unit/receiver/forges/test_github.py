"""GitHub: forms, SHA-1, empty digests."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from parts.deliveries import SECRET, digest, payload, sent

from towline.receiver.forges.forge import Keys, Request
from towline.receiver.forges.github import GitHub
from towline.shared.errors import BadSignature, DeliveryError
from towline.shared.model import Forge

BODY = sent(Forge.GITHUB, payload(Forge.GITHUB)).body


def signed(body: bytes = BODY, *, sha1: bool = False, **headers: str) -> bytes:
    """What the rules take for the JSON text."""
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(headers={"content-type": "application/json"} | lower, body=body)
    return GitHub().signed(request, Keys(secrets=(SECRET,), sha1_allowed=sha1, now=0))


def test_a_form_is_signed_as_it_is_sent() -> None:
    form = urlencode({"payload": BODY}).encode()

    text = signed(
        form,
        content_type="application/x-www-form-urlencoded",
        x_hub_signature_256=f"sha256={digest(form)}",
    )

    assert text == BODY


def test_a_form_whose_payload_alone_is_signed_is_refused() -> None:
    form = urlencode({"payload": BODY}).encode()

    with pytest.raises(BadSignature):
        signed(
            form,
            content_type="application/x-www-form-urlencoded",
            x_hub_signature_256=f"sha256={digest(BODY)}",
        )


@pytest.mark.parametrize(
    "form", [b"", b"payload", b"a=b", b"payload=1&payload=2", b"payload=1&a=b", b"&" * 99]
)
def test_a_signed_form_of_another_kind_is_refused(form: bytes) -> None:
    with pytest.raises(DeliveryError, match="the form"):
        signed(
            form,
            content_type="application/x-www-form-urlencoded",
            x_hub_signature_256=f"sha256={digest(form)}",
        )


@pytest.mark.parametrize("header", ["", "sha256=", "sha256"])
def test_an_empty_digest_is_no_signature(header: str) -> None:
    with pytest.raises(BadSignature):
        signed(x_hub_signature_256=header)


def test_an_empty_digest_says_that_the_delivery_is_not_signed() -> None:
    with pytest.raises(BadSignature, match="not signed"):
        signed(x_hub_signature_256="sha256=")


def test_sha1_counts_only_where_it_is_turned_on() -> None:
    header = f"sha1={digest(BODY, algorithm='sha1')}"

    assert signed(sha1=True, x_hub_signature=header) == BODY
    with pytest.raises(BadSignature, match="SHA-1"):
        signed(x_hub_signature=header)


def test_a_wrong_sha256_is_not_saved_by_a_right_sha1() -> None:
    with pytest.raises(BadSignature):
        signed(
            sha1=True,
            x_hub_signature_256=f"sha256={digest(BODY, 'another')}",
            x_hub_signature=f"sha1={digest(BODY, algorithm='sha1')}",
        )


def test_sha256_in_the_header_of_sha1_is_refused() -> None:
    with pytest.raises(BadSignature):
        signed(sha1=True, x_hub_signature=f"sha256={digest(BODY)}")


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/jsonx", "multipart/form-data"])
def test_a_signed_body_of_another_type_is_refused(content_type: str) -> None:
    with pytest.raises(DeliveryError, match="application/json"):
        signed(content_type=content_type, x_hub_signature_256=f"sha256={digest(BODY)}")


def test_the_type_may_have_parameters() -> None:
    text = signed(
        content_type="Application/JSON; charset=utf-8", x_hub_signature_256=f"sha256={digest(BODY)}"
    )

    assert text == BODY
