"""Removes secrets from what a cluster says: the values of a service's own Secrets, and what looks like a credential.

In: the Secrets of a release, as rendered or stored, and texts of others: log lines, Events, messages. Out: the same texts
with `***`. Pure. A value shorter than four characters would mask every other word, and protects nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from towline.shared.logs import MASK, SHORTEST, URL_USER
from towline.shared.model import Object
from towline.shared.objects import is_secret

VALUES = 20_000  # of one release, lines of certificates included; a release holds 1 MB a Secret
LONGEST = 8_192  # characters of one value that are looked for; more of it says no more
DEPTH = 20  # of JSON in a value
CUT = "…"  # at the end of a text that was cut (shared.release.cut)

# Bounded repeats: whoever writes a log chooses the text.
ASSIGNED = re.compile(
    r"""(?ix)( (?: passw(?:or)?d | passphrase | secret | token | api[_-]?key | access[_-]?key | private[_-]?key
    | credential | authorization | cookie ) [\w.-]{0,40} ["']? \s{0,4} [=:] \s{0,4} )
    (?: (?: bearer | basic | token ) \s{1,4} )? (?: "[^"]*" | '[^']*' | [^\s,;&'"]+ )"""
)
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
TOKENS = re.compile(
    r"""(?x)\b(?: eyJ[\w-]+\.[\w-]+\.[\w-]* | gh[a-z]_\w{16,} | github_pat_\w{16,} | glpat-[\w-]{16,}
    | xox[a-z]-[\w-]{8,} | AKIA[0-9A-Z]{16} | AIza[\w-]{30,} | [sr]k_(?:live|test)_\w{8,} | npm_\w{30,}
    | hv[sb]\.[\w-]{20,} | SG\.[\w-]{16,}\.[\w-]{16,} )"""
)


class Mask:
    """Masks texts; made once a release, since many values may have to be looked for."""

    def __init__(self, secrets: Iterable[Object] = ()) -> None:
        values = {value for secret in secrets if is_secret(secret) for value in _values_of(secret)}
        self._values = sorted(values, key=lambda value: (-len(value), value))[:VALUES]

    def __call__(self, text: str) -> str:
        """The text without secrets; longest first, since one value may hold another."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        if text.endswith(CUT):
            text = self._without_half(text.removesuffix(CUT)) + CUT
        text = URL_USER.sub(f"{MASK}@", text)
        text = ASSIGNED.sub(rf"\g<1>{MASK}", text)
        return TOKENS.sub(MASK, BEARER.sub(rf"\g<1> {MASK}", text))

    def _without_half(self, text: str) -> str:
        """Where a text was cut, half of a value may stand at its end."""
        for value in self._values:
            start = text.find(value[:SHORTEST])
            while start >= 0:
                if value.startswith(text[start:]):
                    return text[:start] + MASK
                start = text.find(value[:SHORTEST], start + 1)
        return text


def _values_of(secret: Object) -> Iterator[str]:
    """Every form in which a value of this Secret may be shown."""
    for part in ("data", "stringData"):
        values = secret.get(part)
        for value in values.values() if isinstance(values, dict) else ():
            plain, encoded = _forms(value, is_encoded=part == "data")
            for form in (encoded, *_parts(plain)):
                for shown in (form, json.dumps(form)[1:-1]):
                    if len(shown.strip()) >= SHORTEST:
                        yield shown.strip()[:LONGEST]


def _forms(value: object, *, is_encoded: bool) -> tuple[str, str]:
    """A value as it is, and in Base64."""
    written = value if isinstance(value, str) else "" if value is None else str(value)
    if not is_encoded:
        return written, base64.b64encode(written.encode("utf-8", "surrogatepass")).decode("ascii")
    try:
        return base64.b64decode(written, validate=True).decode("utf-8", "replace"), written
    except ValueError:
        return written, written


def _parts(text: str) -> Iterator[str]:
    """The value, its lines, what each line assigns, and the leaves of JSON in it: programs print those alone too."""
    yield text
    for line in text.splitlines():
        yield line
        for sign in ("=", ": "):
            _, found, value = line.partition(sign)
            if found:
                yield value.strip().strip("\"'")
    yield from _leaves(_json(text), DEPTH)


def _json(text: str) -> Any:  # noqa: ANN401 - whatever a value holds
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _leaves(value: object, depth: int) -> Iterator[str]:
    if depth == 0:
        return
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, depth - 1)
    elif isinstance(value, str):
        yield value
