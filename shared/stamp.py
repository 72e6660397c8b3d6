"""Signed texts: what we put into Redis and act on later is ours, or it is not acted on.

In: a text, or what Redis holds in its place. Out: the text with a signature, or the text that was signed. No state; the
key is derived from the installation's secret key for one purpose, so that a text signed for one is nothing elsewhere.
"""

from __future__ import annotations

import hashlib

from itsdangerous import BadSignature, Signer

from towline.shared.errors import AccessError


class Stamp:
    """Signs and checks the texts of one purpose."""

    def __init__(self, secret_key: str, *, purpose: str) -> None:
        self._purpose = purpose
        self._signer = Signer(
            secret_key, salt=f"towline.{purpose}", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def on(self, text: str) -> str:
        """The text, signed."""
        return self._signer.sign(text).decode()

    def off(self, stamped: object) -> bytes:
        """The text that we signed; raises AccessError for anything else."""
        try:
            return self._signer.unsign(stamped if isinstance(stamped, str | bytes) else b"")
        except BadSignature as error:
            raise AccessError(
                f"this {self._purpose} was not made by this installation",
                hint="somebody else writes to this Redis, or the secret key was changed or differs between hosts",
            ) from error
