"""Gitea, and its relatives Forgejo and Gogs, which differ in the names of their headers only.

They sign the JSON text, also where they send it inside a form; GitHub signs the form. With no secret set they send the
header with an empty digest. Gitea and Forgejo send the headers of their ancestors too, which are not read.

Source: https://docs.gitea.com/usage/repository/webhooks, https://forgejo.org/docs/latest/user/webhooks/,
https://gogs.io/docs/features/webhook
"""

from __future__ import annotations

from dataclasses import dataclass

from towline.receiver.forges.forge import (
    Keys,
    Message,
    Request,
    event_of,
    form_payload,
    is_form,
    json_body,
    usable_id,
)
from towline.receiver.forges.github import hub_message
from towline.receiver.forges.signatures import check_hex, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Gitea:
    """`X-<name>-Signature`: hexadecimal HMAC-SHA256 without a prefix."""

    name: str

    def signed(self, request: Request, keys: Keys) -> bytes:
        """The JSON text."""
        digest = request.header(self._header("signature"))
        if not digest:
            raise missing()
        if is_form(request):
            text = form_payload(request.body)
            check_hex(digest, text, secrets=keys.secrets)
            return text
        check_hex(digest, request.body, secrets=keys.secrets)
        return json_body(request)

    def message(self, request: Request, text: bytes) -> Message:
        """One push, or another event; the test button of these forges sends a push."""
        event = event_of(request, self._header("event"), forge=self.name)
        return hub_message(event, usable_id(request.header(self._header("delivery"))), text)

    def _header(self, part: str) -> str:
        return f"x-{self.name.lower()}-{part}"
