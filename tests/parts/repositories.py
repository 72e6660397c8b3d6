"""Repositories as the configuration gives them, for tests of what fetches."""

from __future__ import annotations

from pathlib import Path

from towline.shared.config import Credentials, Repository, Webhook
from towline.shared.model import Forge
from towline.shared.secret import Secret


def repository(
    url: str, *, credentials: Credentials | None = None, allow_insecure: bool = True
) -> Repository:
    """The repository `shop` at a URL."""
    return Repository(
        name="shop",
        url=url,
        aliases=(),
        allow_insecure=allow_insecure,
        webhook=Webhook(forge=Forge.GITHUB, secrets=(), sha1=False, rate_limit="60/minute"),
        credentials=credentials,
        branches={"main": ("staging",)},
        services=("services/*",),
    )


def credentials(
    *,
    username: str | None = None,
    password: Secret | None = None,
    ssh_key: Secret | None = None,
    passphrase: Secret | None = None,
    known_hosts: Secret | None = None,
    ca_file: Path | None = None,
) -> Credentials:
    """Credentials with nothing but what a test needs."""
    return Credentials(
        username=username,
        password=password,
        ssh_key=ssh_key,
        passphrase=passphrase,
        known_hosts=known_hosts,
        ca_file=ca_file,
    )
