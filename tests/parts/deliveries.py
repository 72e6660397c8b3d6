"""Webhook deliveries as forges send them: the corpus' real ones, signed here, and ones of our own form."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towline.shared.model import Forge

SECRET = "a secret of the tests"
BEFORE, AFTER, ZEROS = "a" * 40, "b" * 40, "0" * 40
SHOP = "https://git.example.com/acme/shop"

# The folder of each forge in the corpus; Forgejo's payloads are Gitea's.
FOLDERS = {
    "bitbucket-cloud": Forge.BITBUCKET,
    "bitbucket-server": Forge.BITBUCKET_SERVER,
    "gitea": Forge.GITEA,
    "github": Forge.GITHUB,
    "gitlab": Forge.GITLAB,
    "gogs": Forge.GOGS,
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a forge sends: headers in its own spelling, and the body."""

    headers: dict[str, str]
    body: bytes


def digest(body: bytes, secret: str = SECRET, algorithm: str = "sha256") -> str:
    """The hexadecimal HMAC."""
    return hmac.new(secret.encode(), body, algorithm).hexdigest()


def signature(forge: Forge, body: bytes, *, secret: str = SECRET) -> dict[str, str]:
    """The header by which this forge proves that it sent this."""
    found = digest(body, secret)
    return {
        Forge.GITHUB: {"X-Hub-Signature-256": f"sha256={found}"},
        Forge.GITLAB: {"X-Gitlab-Token": secret},
        Forge.GITEA: {"X-Gitea-Signature": found},
        Forge.FORGEJO: {"X-Forgejo-Signature": found},
        Forge.GOGS: {"X-Gogs-Signature": found},
        Forge.BITBUCKET: {"X-Hub-Signature": f"sha256={found}"},
        Forge.BITBUCKET_SERVER: {"X-Hub-Signature": f"sha256={found}"},
    }[forge]


def standard_signature(body: bytes, *, key: bytes, identifier: str, timestamp: int) -> dict[str, str]:
    """GitLab's signing token: Standard Webhooks."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    text = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{text}",
    }


def of_corpus(folder: Path, name: str) -> Sent:
    """A delivery of the corpus, `github/push-1`, signed with SECRET."""
    body = (folder / f"{name}.json").read_bytes()
    headers: dict[str, str] = json.loads((folder / f"{name}.headers.json").read_bytes())
    return Sent(headers=headers | signature(FOLDERS[name.partition("/")[0]], body), body=body)


def payload(
    forge: Forge, *, ref: str = "refs/heads/main", before: str = BEFORE, after: str = AFTER, url: str = SHOP
) -> dict[str, Any]:
    """The fields of a push that this forge sends and we read."""
    if forge is Forge.BITBUCKET:
        return _cloud(ref, before, after, url)
    if forge is Forge.BITBUCKET_SERVER:
        change = {"ref": {"id": ref}, "fromHash": before, "toHash": after}
        links = {"clone": [{"href": f"{url}.git"}]}
        where = {"slug": "shop", "project": {"key": "ACME"}, "links": links}
        return {"changes": [change], "repository": where}
    said = {"ref": ref, "before": before, "after": after}
    if forge is Forge.GITLAB:
        return said | {"object_kind": "push", "project": {"git_http_url": f"{url}.git", "web_url": url}}
    return said | {"repository": {"clone_url": f"{url}.git", "html_url": url}}


def _cloud(ref: str, before: str, after: str, url: str) -> dict[str, Any]:
    kind, _, name = ref.removeprefix("refs/").partition("/")

    def state(revision: str) -> dict[str, Any] | None:
        which = {"heads": "branch", "tags": "tag"}[kind]
        return None if revision == ZEROS else {"type": which, "name": name, "target": {"hash": revision}}

    change = {"old": state(before), "new": state(after)}
    return {"push": {"changes": [change]}, "repository": {"links": {"html": {"href": url}}}}


EVENTS = {
    Forge.GITHUB: {"X-GitHub-Event": "push", "X-GitHub-Delivery": "1"},
    Forge.GITLAB: {"X-Gitlab-Event": "Push Hook", "Idempotency-Key": "1"},
    Forge.GITEA: {"X-Gitea-Event": "push", "X-Gitea-Delivery": "1"},
    Forge.FORGEJO: {"X-Forgejo-Event": "push", "X-Forgejo-Delivery": "1"},
    Forge.GOGS: {"X-Gogs-Event": "push", "X-Gogs-Delivery": "1"},
    Forge.BITBUCKET: {"X-Event-Key": "repo:push", "X-Request-UUID": "1"},
    Forge.BITBUCKET_SERVER: {"X-Event-Key": "repo:refs_changed", "X-Request-Id": "1"},
}


def sent(forge: Forge, said: Mapping[str, Any] | bytes, *, delivery: str = "delivery-1", **more: str) -> Sent:
    """A signed push; `more` are further headers, with `_` for `-`."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    events = {name: delivery if value == "1" else value for name, value in EVENTS[forge].items()}
    headers = {"Content-Type": "application/json", **events, **signature(forge, body)}
    return Sent(headers=headers | {name.replace("_", "-"): value for name, value in more.items()}, body=body)
