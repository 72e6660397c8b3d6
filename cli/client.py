"""The receiver's API as the command line sees it.

In: an address and a token, from options and environment (`TOWLINE_URL`, `TOWLINE_TOKEN`) or from the configuration of
this machine, whose secret key makes a token for a minute. Such a token is sent to this machine's own receiver only.
Out: the JSON of an answer; an answer that is a problem is raised as an error with its message and hint. Redirects are
not followed: the token is for the address that was given.
"""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from towline.cli.embedded_redis import redis_url_of
from towline.receiver.tokens import Revocations, Scope, Tokens
from towline.shared.broker import Broker
from towline.shared.config import Config, load_config
from towline.shared.errors import AccessError, ConfigError, Problem, TowlineError, Unavailable
from towline.shared.secret_key import secret_key

TIMEOUT_SECONDS = 15.0
ANSWER_LIMIT = 64 * 1024 * 1024  # bytes; 10,000 releases take about 8 MB
OWN_TOKEN_SECONDS = 60.0
Json = dict[str, Any]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One receiver."""

    url: str
    token: str = field(repr=False)

    def get(self, *path: str, **query: str | None) -> Json:
        """The answer to a GET; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", path, query="?" + urlencode(given) if given else "", body=None)

    def post(self, *path: str, body: dict[str, object] | None = None) -> Json:
        """The answer to a POST."""
        return self._call("POST", path, query="", body=json.dumps(body or {}).encode())

    def _call(self, method: str, path: tuple[str, ...], *, query: str, body: bytes | None) -> Json:
        parts = urlsplit(self.url)
        target = parts.path.rstrip("/") + "/api/v1/" + "/".join(quote(each, safe="") for each in path) + query
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return _read(answer.status, answer.read(ANSWER_LIMIT))
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the receiver at {self.url} does not answer: {error or type(error).__name__}",
                hint="is it running (`towline up`)? TOWLINE_URL or --url says where",
            ) from error
        finally:
            connection.close()


def client(url: str | None, config: Path | None) -> Client:
    """The receiver that a command should ask; raises ConfigError or AccessError when that is not clear."""
    url, token = url or os.environ.get("TOWLINE_URL"), os.environ.get("TOWLINE_TOKEN")
    if url and token:
        return Client(url=_checked(url), token=token)
    try:
        loaded = load_config(config)
    except ConfigError as error:
        if not url:
            raise
        raise AccessError(
            "TOWLINE_TOKEN is not set", hint="make a token with `towline token create`"
        ) from error
    own = own_url(loaded)
    url = _checked(url or own)
    if token is None:
        if url.rstrip("/") not in (own, loaded.server.public_url) and urlsplit(url).hostname not in LOOPBACK:
            raise AccessError(
                f"TOWLINE_TOKEN is not set, and {url} is not this machine's receiver",
                hint="make a token with `towline token create`",
            )
        token = own_token(loaded)
    return Client(url=url, token=token)


def own_url(config: Config) -> str:
    """Where the receiver of this configuration listens."""
    host, port = config.server.listen
    if host in ("", "0.0.0.0"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def own_token(config: Config) -> str:
    """A token that whoever may read the secret key can make anyway."""
    broker = Broker(redis_url_of(config))
    tokens = Tokens(secret_key(config), Revocations(broker, config.data_dir))
    text, _ = tokens.issue(
        name="command line", scopes=frozenset({Scope.ADMIN}), environments=None, seconds=OWN_TOKEN_SECONDS
    )
    return text


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{url!r} is not the address of a receiver", hint="like https://towline.example.com"
        )
    return url


def _read(status: int, body: bytes) -> Json:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    found: Json = answer if isinstance(answer, dict) else {}
    if 200 <= status < 300 and found:
        return found
    raise _error(status, found)


def _error(status: int, body: Json) -> TowlineError:
    """What the receiver said, as an error of ours."""
    problems = [each for each in body.get("problems") or [] if isinstance(each, dict)]
    kind = {401: AccessError, 403: AccessError, 503: Unavailable}.get(status, TowlineError)
    return kind(
        str(body.get("detail") or f"the receiver answered {status}, which is not an answer of Towline"),
        hint=str(body.get("hint") or ""),
        problems=[
            Problem(message=str(each.get("message", "")), path=each.get("path"), allowed=each.get("allowed"))
            for each in problems
        ],
    )
