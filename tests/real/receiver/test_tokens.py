"""Tokens and their revocation, on a real Redis."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from parts.redis import RedisServer

from towline.receiver.context import Context
from towline.receiver.tokens import REVOKED_FILE, Grant, Revocations, Scope, Tokens
from towline.shared.broker import Broker
from towline.shared.errors import AccessError, RedisDown

KEY = "another secret key of the tests, long enough"


def issue(tokens: Tokens, *, seconds: float = 60) -> tuple[str, Grant]:
    return tokens.issue(name="ci", scopes=frozenset({Scope.SYNC}), environments=("staging",), seconds=seconds)


def test_a_token_grants_what_it_was_made_for(context: Context) -> None:
    text, made = issue(context.tokens)

    opened = context.tokens.open(text)

    assert opened == made
    assert (opened.name, opened.scopes, opened.environments) == ("ci", {Scope.SYNC}, ("staging",))


def test_every_refusal_is_the_same(context: Context) -> None:
    right, grant = issue(context.tokens)
    revoked, revoked_grant = issue(context.tokens)
    context.tokens.revoke(revoked_grant.token_id, ends_at=revoked_grant.ends_at)
    foreign, _ = issue(Tokens(KEY, Revocations(context.broker, context.config.data_dir)))
    expired, _ = issue(context.tokens, seconds=-1)
    body, _, signature = right.rpartition(".")
    changed = f"{body}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}"
    assert context.tokens.open(right) == grant

    refusals = set()
    for text in ("", "tow_", "x" * 9000, revoked, foreign, expired, changed, right.removeprefix("tow_")):
        with pytest.raises(AccessError) as caught:
            context.tokens.open(text)
        refusals.add((type(caught.value), str(caught.value), caught.value.hint))

    assert len(refusals) == 1


def test_a_revoked_token_stays_revoked_when_redis_is_wiped(context: Context) -> None:
    text, grant = issue(context.tokens)
    context.tokens.revoke(grant.token_id, ends_at=grant.ends_at)

    context.broker.redis.flushdb()

    with pytest.raises(AccessError):
        context.tokens.open(text)


def test_a_receiver_on_another_machine_refuses_it_through_redis(context: Context, tmp_path: Path) -> None:
    text, grant = issue(context.tokens)
    elsewhere = Tokens(context.secret_key, Revocations(context.broker, tmp_path / "elsewhere"))
    assert elsewhere.open(text) == grant

    context.tokens.revoke(grant.token_id, ends_at=grant.ends_at)

    with pytest.raises(AccessError):
        elsewhere.open(text)


def test_a_second_revocation_is_seen_by_a_process_that_has_read_the_file(context: Context) -> None:
    revocations = Revocations(context.broker, context.config.data_dir)
    context.tokens.revoke("a" * 16, ends_at=time.time() + 60)
    assert "a" * 16 in revocations
    context.broker.redis.flushdb()

    context.tokens.revoke("b" * 16, ends_at=time.time() + 60)
    context.broker.redis.flushdb()

    assert "a" * 16 in revocations
    assert "b" * 16 in revocations
    assert "c" * 16 not in revocations


def test_the_list_is_readable_by_its_owner_only(context: Context) -> None:
    context.tokens.revoke("a" * 16, ends_at=time.time() + 60)

    assert (context.config.data_dir / REVOKED_FILE).stat().st_mode & 0o077 == 0


def test_ended_tokens_leave_the_list_in_redis(context: Context) -> None:
    context.tokens.revoke("a" * 16, ends_at=time.time() - 1)

    context.tokens.revoke("b" * 16, ends_at=time.time() + 60)

    assert context.broker.redis.zrange("towline:revoked", 0, -1) == [b"b" * 16]


def test_nobody_gets_in_while_redis_cannot_say(context: Context, redis_server: RedisServer) -> None:
    text, _ = issue(context.tokens)
    redis_server.stop()

    with pytest.raises(RedisDown):
        context.tokens.open(text)


def test_a_foreign_token_costs_no_request(redis_server: RedisServer, tmp_path: Path) -> None:
    broker = Broker("redis://127.0.0.1:1/0", patient=False)

    with pytest.raises(AccessError):
        Tokens(KEY, Revocations(broker, tmp_path)).open("tow_nonsense")
