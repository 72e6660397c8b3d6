"""Gitea and its relatives: their own headers alone, and forms whose JSON is signed."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from parts.deliveries import SECRET, digest, payload, sent

from towline.receiver.forges.forge import Keys, Request
from towline.receiver.forges.rules import RULES
from towline.shared.errors import BadSignature, DeliveryError
from towline.shared.model import Forge

RELATIVES = [Forge.GITEA, Forge.FORGEJO, Forge.GOGS]
BODY = sent(Forge.GITEA, payload(Forge.GITEA)).body
KEYS = Keys(secrets=(SECRET,), sha1_allowed=True, now=0)


def signed(forge: Forge, headers: dict[str, str], body: bytes = BODY) -> bytes:
    """What the rules take for the JSON text."""
    base = {"content-type": "application/json"}
    return RULES[forge].signed(Request(headers=base | headers, body=body), KEYS)


@pytest.mark.parametrize("forge", RELATIVES)
def test_of_a_form_the_json_is_signed(forge: Forge) -> None:
    form = urlencode({"payload": BODY}).encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        f"x-{forge}-signature": digest(BODY),
    }

    assert signed(forge, headers, form) == BODY
    with pytest.raises(BadSignature):
        signed(forge, headers | {f"x-{forge}-signature": digest(form)}, form)


@pytest.mark.parametrize("form", [b"", b"payload", b"a=b", b"payload=1&payload=2"])
def test_a_form_of_another_kind_is_refused(form: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-gitea-signature": digest(form)}

    with pytest.raises(DeliveryError):
        signed(Forge.GITEA, headers, form)


@pytest.mark.parametrize("forge", RELATIVES)
def test_an_empty_digest_is_no_signature(forge: Forge) -> None:
    with pytest.raises(BadSignature, match="not signed"):
        signed(forge, {f"x-{forge}-signature": ""})


def test_the_headers_of_ancestors_are_not_read() -> None:
    """Forgejo sends Gitea's, Gogs' and GitHub's too; only its own count where it is configured."""
    headers = {
        "x-gitea-signature": digest(BODY),
        "x-gogs-signature": digest(BODY),
        "x-hub-signature-256": f"sha256={digest(BODY)}",
        "x-hub-signature": f"sha1={digest(BODY, algorithm='sha1')}",
    }

    with pytest.raises(BadSignature):
        signed(Forge.FORGEJO, headers)


def test_a_delivery_with_all_headers_is_its_own_forges() -> None:
    headers = {
        "x-gitea-event": "push",
        "x-gogs-event": "create",
        "x-github-event": "ping",
        "x-gitea-delivery": "own",
        "x-github-delivery": "other",
    }

    message = RULES[Forge.GITEA].message(Request(headers=headers, body=BODY), BODY)

    assert (message.event, message.delivery_id) == ("push", "own")
