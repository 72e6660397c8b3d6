"""HMAC signatures of forges, checked in constant time by itsdangerous; pure.

Every configured secret is tried and all of them are computed, so that the time taken does not tell which one is in use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence

from itsdangerous.encoding import want_bytes
from itsdangerous.signer import HMACAlgorithm

from towline.shared.errors import BadSignature

SHA256 = HMACAlgorithm(hashlib.sha256)
SHA1 = HMACAlgorithm(hashlib.sha1)
HEX = re.compile(r"[0-9a-fA-F]+")

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
STANDARD_PREFIX = "whsec_"
STANDARD_VERSION = "v1,"
TOLERANCE_SECONDS = 5 * 60
TIMESTAMP = re.compile(r"[0-9]{1,12}")
SIGNATURES_LIMIT = 20  # in one header; a rotation sends two

MISSING = "the delivery is not signed"
WRONG = "the signature is not right"
HINT = "compare the secret at the forge with webhook.secrets in towline.yaml"


def check_hex(
    digest: str, signed: bytes, *, secrets: Sequence[str], algorithm: HMACAlgorithm = SHA256
) -> None:
    """Raises BadSignature unless this hexadecimal digest is the HMAC of `signed` by one of the secrets."""
    if not digest:
        raise missing()
    given = bytes.fromhex(digest) if HEX.fullmatch(digest) and len(digest) % 2 == 0 else b""
    if not any_right([given], signed, keys=map(want_bytes, secrets), algorithm=algorithm):
        raise wrong()


def check_standard(headers: tuple[str, str, str], body: bytes, *, secrets: Sequence[str], now: float) -> None:
    """Standard Webhooks: `headers` are id, timestamp and signatures; raises BadSignature.

    The signature covers `id.timestamp.body`, so an older delivery cannot be sent with a newer time.
    """
    identifier, timestamp, signatures = headers
    if not (identifier and timestamp and signatures):
        raise missing("webhook-id, webhook-timestamp and webhook-signature belong together")
    if not TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise BadSignature("the signed time is not within 5 minutes of ours", hint="compare the clocks")
    given = [
        _from_base64(each.removeprefix(STANDARD_VERSION))
        for each in signatures.split(" ")[:SIGNATURES_LIMIT]
        if each.startswith(STANDARD_VERSION)
    ]
    signed = b".".join((raw(identifier), raw(timestamp), body))
    keys = filter(None, (_from_base64(secret.removeprefix(STANDARD_PREFIX)) for secret in secrets))
    if not any_right(given, signed, keys=keys):
        raise wrong()


def any_right(
    given: Sequence[bytes], signed: bytes, *, keys: Iterable[bytes], algorithm: HMACAlgorithm = SHA256
) -> bool:
    """Whether one of the digests is the HMAC by one of the keys."""
    results = [
        algorithm.verify_signature(key, signed, digest) for key in keys if key for digest in given if digest
    ]
    return any(results)


def same(expected: bytes, given: bytes) -> bool:
    """Whether both are equal, in a time that depends on the length of neither."""
    return SHA256.verify_signature(b"same", expected, SHA256.get_signature(b"same", given))


def raw(header: str) -> bytes:
    """A header's value as it was sent: WSGI hands it out as Latin-1 (PEP 3333)."""
    return header.encode("latin-1", "replace")


def missing(message: str = MISSING) -> BadSignature:
    """No signature came."""
    return BadSignature(message, hint="set a secret for the webhook at the forge")


def wrong() -> BadSignature:
    """One came, and is not by any of our secrets."""
    return BadSignature(WRONG, hint=HINT)


def _from_base64(text: str) -> bytes:
    """The bytes, b"" for what is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
