"""API tokens: made by an operator, signed by the installation, checked at every call.

In: what a caller shows as a token. Out: a Grant, that is what the caller may do and where. Nothing is stored about a
token until it is revoked; it is the signature that makes it valid (itsdangerous, HMAC-SHA256, timed).

State: revoked ids, twice, so that a wiped Redis does not bring a revoked token back to life:

    towline:revoked                    zset   token id -> time at which the token ends anyway
    <data_dir>/revoked_tokens          lines  `<token id> <end>`; appended first, read again when it has changed

Killed between the two writes of a revocation, this host refuses the token and others do not yet: revoke it again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import BaseModel, ConfigDict, ValidationError

from towline.shared.broker import Broker
from towline.shared.errors import AccessError, NotAllowed

REVOKED = "towline:revoked"
REVOKED_FILE = "revoked_tokens"
TOKEN_LIMIT = 4096  # characters; a token narrowed to 20 environments has about 600
PREFIX = "tow_"  # so that scanners of leaked secrets, and people, know one when they see it

REFUSED = "the token is missing, wrong, expired or revoked"  # one answer for all: it helps nobody to guess
REFUSED_HINT = "make one with `towline token create` and send it as `Authorization: Bearer <token>`"


class Scope(StrEnum):
    """What a token is good for; each includes `read`, and `admin` includes all."""

    READ = "read"
    SYNC = "sync"
    ROLLBACK = "rollback"
    ADMIN = "admin"


class Claims(BaseModel):
    """What is signed into a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    scopes: tuple[Scope, ...]
    environments: tuple[str, ...] | None
    ends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a caller may do, and in which environments (`*` stands for any characters; None: in all)."""

    token_id: str
    name: str
    scopes: frozenset[Scope]
    environments: tuple[str, ...] | None
    ends_at: float

    def allows(self, scope: Scope) -> bool:
        """Whether calls that need this scope may be made."""
        return scope is Scope.READ or scope in self.scopes or Scope.ADMIN in self.scopes

    def covers(self, environment: str) -> bool:
        """Whether this environment exists for the caller."""
        if self.environments is None:
            return True
        return any(fnmatchcase(environment, pattern) for pattern in self.environments)

    def require(self, scope: Scope) -> None:
        """Raises NotAllowed unless calls that need this scope may be made."""
        if not self.allows(scope):
            raise NotAllowed(
                f"the token {self.name!r} does not have the scope {scope}",
                hint=f"make one with `towline token create --scope {scope}`",
            )


class Revocations:
    """The tokens that are not to be accepted any more."""

    def __init__(self, broker: Broker, data_dir: Path) -> None:
        self._broker = broker
        self._path = data_dir / REVOKED_FILE
        self._known: frozenset[str] = frozenset()
        self._stamp: tuple[int, int] | None = None

    def add(self, token_id: str, *, ends_at: float) -> None:
        """Refuse this token from now on, everywhere."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token_id} {int(ends_at)}\n")
            file.flush()
            os.fsync(file.fileno())
        with self._broker.guard(), self._broker.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(REVOKED, {token_id: ends_at})
            pipe.zremrangebyscore(REVOKED, "-inf", time.time())
            pipe.execute()

    def __contains__(self, token_id: str) -> bool:
        """Whether this token was revoked; raises RedisDown, since an unknown answer must not let anybody in."""
        if token_id in self._from_file():
            return True
        with self._broker.guard():
            return self._broker.redis.zscore(REVOKED, token_id) is not None

    def _from_file(self) -> frozenset[str]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return frozenset()
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            lines = self._path.read_text("ascii", "replace").splitlines()
            self._known = frozenset(line.split()[0] for line in lines if line.strip())
            self._stamp = stamp
        return self._known


class Tokens:
    """Makes and checks tokens."""

    def __init__(self, secret_key: str, revocations: Revocations) -> None:
        self._revocations = revocations
        self._signed = signed(secret_key, purpose="token")

    def issue(
        self, *, name: str, scopes: frozenset[Scope], environments: tuple[str, ...] | None, seconds: float
    ) -> tuple[str, Grant]:
        """A new token and what it grants. The text is shown once and kept nowhere."""
        ends = int(time.time() + seconds)
        claims = Claims(
            id=secrets.token_hex(8),
            name=name,
            scopes=tuple(sorted(scopes)),
            environments=environments,
            ends=ends,
        )
        return PREFIX + str(self._signed.dumps(claims.model_dump(mode="json"))), grant_of(claims)

    def open(self, text: str) -> Grant:
        """What a token grants; raises AccessError, with one and the same answer whatever is wrong with it."""
        grant = self.read(text)
        if grant is None or grant.ends_at <= time.time() or self.is_revoked(grant):
            raise AccessError(REFUSED, hint=REFUSED_HINT)
        return grant

    def revoke(self, token_id: str, *, ends_at: float) -> None:
        """Refuse this token from now on."""
        self._revocations.add(token_id, ends_at=ends_at)

    def is_revoked(self, grant: Grant) -> bool:
        """Whether the token behind this was revoked; raises RedisDown."""
        return grant.token_id in self._revocations

    def read(self, text: str) -> Grant | None:
        """What a token of ours says, expired or revoked ones too; None when it is not ours."""
        if not text.startswith(PREFIX) or len(text) > TOKEN_LIMIT:
            return None
        try:
            return grant_of(Claims.model_validate(self._signed.loads(text.removeprefix(PREFIX))))
        except (BadData, ValidationError):
            return None


def grant_of(claims: Claims) -> Grant:
    """Claims as the value that the rest of the receiver uses."""
    return Grant(
        token_id=claims.id,
        name=claims.name,
        scopes=frozenset(claims.scopes),
        environments=claims.environments,
        ends_at=float(claims.ends),
    )


def claims_of(grant: Grant) -> Claims:
    """The other way round, for what a session keeps."""
    return Claims(
        id=grant.token_id,
        name=grant.name,
        scopes=tuple(sorted(grant.scopes)),
        environments=grant.environments,
        ends=int(grant.ends_at),
    )


def signed(secret_key: str, *, purpose: str) -> URLSafeTimedSerializer:
    """Signs and opens values for one purpose: what is signed for another is refused."""
    return URLSafeTimedSerializer(
        secret_key,
        salt=f"towline.{purpose}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
