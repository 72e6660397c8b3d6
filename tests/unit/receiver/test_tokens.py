"""What a token says and how far it reaches, without Redis."""

from __future__ import annotations

import time

import pytest

from towline.receiver.tokens import TOKEN_LIMIT, Claims, Grant, Scope, claims_of, grant_of, signed
from towline.shared.errors import NotAllowed


def grant(*scopes: Scope, environments: tuple[str, ...] | None = None) -> Grant:
    return Grant(
        token_id="0" * 16,
        name="ci",
        scopes=frozenset(scopes),
        environments=environments,
        ends_at=time.time() + 60,
    )


@pytest.mark.parametrize(
    ("held", "needed", "allowed"),
    [
        (Scope.READ, Scope.READ, True),
        (Scope.READ, Scope.SYNC, False),
        (Scope.SYNC, Scope.READ, True),
        (Scope.SYNC, Scope.SYNC, True),
        (Scope.SYNC, Scope.ROLLBACK, False),
        (Scope.ROLLBACK, Scope.SYNC, False),
        (Scope.ROLLBACK, Scope.ADMIN, False),
        (Scope.ADMIN, Scope.SYNC, True),
        (Scope.ADMIN, Scope.ROLLBACK, True),
    ],
)
def test_each_scope_includes_read_and_only_admin_includes_all(
    held: Scope, needed: Scope, allowed: bool
) -> None:
    assert grant(held).allows(needed) is allowed


def test_a_scope_that_is_missing_is_named_in_the_error() -> None:
    with pytest.raises(NotAllowed, match="does not have the scope sync"):
        grant(Scope.READ).require(Scope.SYNC)


@pytest.mark.parametrize(
    ("patterns", "environment", "covered"),
    [
        (None, "production", True),
        ((), "production", False),
        (("staging",), "staging", True),
        (("staging",), "production", False),
        (("staging",), "staging-2", False),
        (("preview-*",), "preview-login", True),
        (("preview-*",), "production", False),
    ],
)
def test_a_token_reaches_only_the_environments_it_names(
    patterns: tuple[str, ...] | None, environment: str, covered: bool
) -> None:
    assert grant(Scope.READ, environments=patterns).covers(environment) is covered


def test_claims_and_grant_say_the_same() -> None:
    claims = Claims(
        id="a" * 16, name="ci", scopes=(Scope.SYNC,), environments=("staging",), ends=2_000_000_000
    )

    assert claims_of(grant_of(claims)) == claims


def test_what_is_signed_for_one_purpose_is_refused_for_another() -> None:
    from itsdangerous import BadSignature

    text = signed("k" * 40, purpose="session").dumps({"id": "x"})

    with pytest.raises(BadSignature):
        signed("k" * 40, purpose="token").loads(text)


def test_a_token_of_twenty_environments_is_far_below_the_limit() -> None:
    claims = Claims(
        id="a" * 16,
        name="n" * 63,
        scopes=tuple(Scope),
        environments=tuple(f"environment-with-a-name-{number}" for number in range(20)),
        ends=2_000_000_000,
    )

    text = signed("k" * 40, purpose="token").dumps(claims.model_dump(mode="json"))

    assert len(text) < TOKEN_LIMIT / 2
