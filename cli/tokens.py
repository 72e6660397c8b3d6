"""`towline token create|revoke`: made on this machine with the secret key, revoked in Redis for every receiver."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from towline.cli.embedded_redis import redis_url_of
from towline.cli.output import OUTPUT, print_json
from towline.receiver.tokens import Revocations, Scope, Tokens
from towline.shared.broker import Broker
from towline.shared.config import Config, load_config
from towline.shared.durations import parse_seconds
from towline.shared.errors import InvalidInput
from towline.shared.secret_key import secret_key

LONGEST_SECONDS = 10 * 366 * 86_400
TOKEN_ID = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}")
ENVIRONMENT = re.compile(r"[a-z0-9*-]{1,63}")

CONFIG = click.option("--config", "-c", type=click.Path(path_type=Path), help="towline.yaml")


@click.group()
def token() -> None:
    """Create and revoke API tokens."""


@token.command()
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    default=["read"],
    show_default=True,
    help="What it is good for; each includes read, admin includes all. May be repeated.",
)
@click.option(
    "--environment",
    "-e",
    "environments",
    multiple=True,
    help="Only in this one (`*` stands for any characters: 'preview-*'). May be repeated.",
)
@click.option("--expires", default="90d", show_default=True, help="How long it is valid: 12h, 90d.")
@click.option("--name", default="token", show_default=True, help="Shown beside what was done with it.")
@CONFIG
@OUTPUT
def create(
    scopes: tuple[str, ...],
    environments: tuple[str, ...],
    expires: str,
    name: str,
    config: Path | None,
    output: str,
) -> None:
    """Make a token and print it: it is shown this once and kept nowhere."""
    text, grant = _tokens(load_config(config)).issue(
        name=_matching(NAME, name, "--name", "letters, digits, spaces and ._@-"),
        scopes=frozenset(Scope(scope) for scope in scopes),
        environments=tuple(
            _matching(ENVIRONMENT, each, "--environment", "the name of an environment, `*` in it")
            for each in environments
        )
        or None,
        seconds=duration_seconds(expires),
    )
    if output == "json":
        ends = datetime.fromtimestamp(grant.ends_at, UTC).isoformat().replace("+00:00", "Z")
        print_json({"token": text, "id": grant.token_id, "expires": ends})
    else:
        click.echo(text)
        click.echo(f"id {grant.token_id}: `towline token revoke {grant.token_id}` takes it back", err=True)


@token.command()
@click.argument("token_or_id")
@CONFIG
@OUTPUT
def revoke(token_or_id: str, config: Path | None, output: str) -> None:
    """Refuse a token from now on; TOKEN_OR_ID is the token itself or its id."""
    tokens = _tokens(load_config(config))
    grant = tokens.read(token_or_id)
    if grant is None and not TOKEN_ID.fullmatch(token_or_id):
        raise InvalidInput(
            "this is neither a token of this installation nor the id of one",
            hint="an id has 16 hexadecimal digits",
        )
    token_id = grant.token_id if grant else token_or_id
    longest = datetime.now(UTC).timestamp() + LONGEST_SECONDS
    tokens.revoke(token_id, ends_at=grant.ends_at if grant else longest)
    if output == "json":
        print_json({"id": token_id, "revoked": True})
    else:
        click.echo(f"token {token_id} is revoked")


def duration_seconds(text: str) -> float:
    """`90d` in seconds; raises InvalidInput."""
    seconds = parse_seconds(text)
    if seconds is None or seconds > LONGEST_SECONDS:
        raise InvalidInput(f"{text!r} is not a length of time up to ten years", hint="like 12h or 90d")
    return float(seconds)


def _matching(pattern: re.Pattern[str], text: str, option: str, allowed: str) -> str:
    if not pattern.fullmatch(text):
        raise InvalidInput(f"{option} {text!r} is not usable", hint=f"allowed: {allowed}")
    return text


def _tokens(config: Config) -> Tokens:
    return Tokens(secret_key(config), Revocations(Broker(redis_url_of(config)), config.data_dir))
