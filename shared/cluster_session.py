"""One process's kept connections to one API server, over the official client's configuration and its urllib3 pool.

In: where the cluster is (kubeconfig and context, or in the cluster itself). Out: answers as code, headers and bytes;
only connection faults become errors here (ClusterDown). State: a connection pool, credentials, renewed when they expire
and once after a 401. Killed half-way: nothing of it outlives the process but temporary certificate files of the official
client, which removes them when it ends.

The official client takes 0.6 s to import, so it is imported when a session is opened, and its generated code is not
used: objects are plain dicts. A kubeconfig is the operator's own, so its exec plugins are run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
)

from towline import __version__
from towline.shared.errors import ClusterDown, ClusterError, ConfigError, Problem

if TYPE_CHECKING:
    from kubernetes.client import Configuration

Pool = urllib3.PoolManager | urllib3.HTTPConnectionPool

JSON = "application/json"
USER_AGENT = f"towline/{__version__}"

CONNECT_SECONDS = 3.0
READ_SECONDS = 35.0  # admission webhooks may take 30
CREDENTIALS_SECONDS = 10.0  # how long a token is used before the official client is asked for it again
RENEWAL_PAUSE_SECONDS = 5.0  # a token that is refused for good must not run an exec plugin a request
ANSWER_BYTES = (
    64 * 1024 * 1024
)  # a page of 500 objects of 100 KB; more is no API server that we should listen to
PIECE_BYTES = 64 * 1024  # read from a stream at once
LINE_BYTES = 16 * 1024 * 1024  # one event; an API server takes objects of 3 MB
RETRY_AFTER_SECONDS = 2.0

Observe = Callable[[str, str, float], None]  # verb, code or name of the fault, seconds


class ClusterAccess(Protocol):
    """Where a cluster is: the part of the operator's configuration that this module reads."""

    @property
    def kubeconfig(self) -> Path | None:
        """A kubeconfig file."""

    @property
    def context(self) -> str | None:
        """A context of it; its current one when left out."""

    @property
    def in_cluster(self) -> bool:
        """Whether we run in the cluster, with a service account's token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    code: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `verb` is its name in metrics, `etag` what the caller has already, `user` whom it acts as.

    `is_hasty`: it has `read_seconds` for everything, and is not sent again by itself.
    """

    verb: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    etag: str = ""
    user: str = ""
    read_seconds: float = READ_SECONDS
    is_hasty: bool = False

    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def headers(self) -> dict[str, str]:
        """All headers but the credentials."""
        headers = {"Accept": self.accept, "User-Agent": USER_AGENT}
        if self.body is not None:
            headers["Content-Type"] = self.content_type
        if self.etag:
            headers["If-None-Match"] = self.etag
        if self.user:
            headers["Impersonate-User"] = self.user
        return headers


A = TypeVar("A", "Answer", "Stream")


class Session:
    """Connections and credentials; used by many threads at once."""

    def __init__(self, access: ClusterAccess, *, parallel: int, observe: Observe | None = None) -> None:
        self._access = access
        self._parallel = parallel
        self._observe = observe or _unobserved
        self._lock = threading.Lock()
        self._login = Login(access, parallel=parallel)

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self._login.name

    def send(self, request: Request) -> Answer:
        """Send a request; a 401 renews the credentials and sends it once more. Raises ClusterDown."""
        return self._accepted(request, _exchange)

    def open(self, request: Request) -> Stream:
        """Send a GET whose answer goes on, and read it line by line; credentials as for `send`. Raises ClusterDown."""
        return self._accepted(request, _streamed)

    def _accepted(self, request: Request, answer_of: Callable[[Login, Request], A]) -> A:
        login = self._login
        answer = self._observed(request, login, answer_of)
        if answer.code != 401:
            login.accepted = True
            return answer
        renewed = self._renewed(login)
        if renewed is login:
            return answer
        if isinstance(answer, Stream):
            answer.close()
        return self._observed(request, renewed, answer_of)

    def _renewed(self, used: Login) -> Login:
        """Credentials newer than those that were refused; the same when they were renewed just now."""
        with self._lock:
            rested = time.monotonic() - used.opened_at > RENEWAL_PAUSE_SECONDS
            if self._login is used and (used.accepted or rested):
                self._login = Login(self._access, parallel=self._parallel)
            return self._login

    def _observed(self, request: Request, login: Login, answer_of: Callable[[Login, Request], A]) -> A:
        started = time.monotonic()
        outcome = "error"
        try:
            answer = answer_of(login, request)
            outcome = str(answer.code)
            return answer
        except HTTPError as error:
            raise _down(login, request, error) from error
        finally:
            self._observe(request.verb, outcome, time.monotonic() - started)


class Login:
    """A configuration loaded at one moment: host, pool, and a token that the official client refreshes."""

    def __init__(self, access: ClusterAccess, *, parallel: int) -> None:
        self.opened_at = time.monotonic()
        self.accepted = False  # whether the server ever took these credentials
        self._configuration = _configuration(access, parallel=parallel)
        self._pool, self._prefix = _pool(self._configuration)
        self._lock = threading.Lock()
        self._authorization: str | None = None
        self._valid_until = 0.0
        url = urllib3.util.parse_url(self._configuration.host)
        self.name = f"{url.host}:{url.port}" if url.port else str(url.host)

    def headers(self) -> dict[str, str]:
        """The Authorization header, empty where a client certificate says who we are."""
        if time.monotonic() >= self._valid_until:
            with self._lock:
                if time.monotonic() >= self._valid_until:
                    self._authorization = self._token()
                    self._valid_until = time.monotonic() + CREDENTIALS_SECONDS
        return {"Authorization": self._authorization} if self._authorization else {}

    def _token(self) -> str | None:
        try:
            setting = self._configuration.auth_settings().get("BearerToken")
        except Exception as error:  # its hook reads files and runs plugins, and raises what they raise
            raise ClusterDown(
                f"the credentials for {self.name} cannot be refreshed: {type(error).__name__}",
                hint="check the token file or the exec plugin that the kubeconfig names",
                retry_after=RETRY_AFTER_SECONDS,
            ) from error
        return setting["value"] if setting else None

    def open(self, request: Request) -> urllib3.BaseHTTPResponse:
        """Send one request, without following redirects, and retry only what was never sent."""
        response: urllib3.BaseHTTPResponse = self._pool.urlopen(
            request.method,
            self._prefix + request.target(),
            body=request.body,
            headers={**request.headers(), **self.headers()},
            timeout=_timeout(request),
            retries=False if request.is_hasty else _retries(request.method),
            redirect=False,
            preload_content=False,
        )
        return response


class Stream:
    """An answer without an end. Read by one thread; `close` may be called by any, and ends the reading at once."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, login: Login, request: Request) -> None:
        self.code = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._login = login
        self._request = request
        self._closed = False

    def lines(self) -> Iterator[bytes]:
        """Each line as it comes, until the server or `close` ends it.

        Raises ClusterDown when the connection is cut, or silent for longer than the request's `read_seconds`.
        """
        rest = bytearray()
        try:
            for piece in self._response.stream(PIECE_BYTES):
                rest += piece
                if b"\n" in piece:
                    *lines, tail = bytes(rest).split(b"\n")
                    yield from lines
                    rest = bytearray(tail)
                elif len(rest) > LINE_BYTES:
                    raise ClusterError(
                        f"{self._login.name} sent a line of more than {LINE_BYTES} bytes", code=self.code
                    )
        except (HTTPError, OSError, ValueError) as error:  # ValueError: read after it was closed
            if not self._closed:
                raise _cut(self._login, self._request, error) from error
        finally:
            self._response.close()

    def read(self, most: int) -> bytes:
        """What comes until the server or `close` ends it, at most so many bytes. Raises ClusterDown as `lines` does."""
        taken = bytearray()
        try:
            for piece in self._response.stream(PIECE_BYTES):
                taken += piece
                if len(taken) >= most:
                    break
        except (HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise _cut(self._login, self._request, error) from error
        finally:
            self._response.close()
        return bytes(taken[:most])

    def body(self) -> bytes:
        """A whole answer that is no stream: an error's. Raises ClusterDown."""
        try:
            return self._response.read(PIECE_BYTES)
        except HTTPError as error:
            raise _down(self._login, self._request, error) from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End it. A thread that waits in `lines` is woken by the end of the connection."""
        self._closed = True
        with suppress(OSError, ValueError, RuntimeError):  # whatever says that it has ended already
            self._response.shutdown()


def _cut(login: Login, request: Request, error: Exception) -> ClusterDown:
    if isinstance(error, HTTPError):
        return _down(login, request, error)
    return ClusterDown(
        f"the API server {login.name} closed the connection ({type(error).__name__}, {request.method})",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _timeout(request: Request) -> urllib3.Timeout:
    total = request.read_seconds if request.is_hasty else None
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=request.read_seconds, total=total)


def _retries(method: str) -> urllib3.Retry:
    # A kept connection may be closed by the server in the moment in which it is used: a read can be sent again,
    # a write may have been carried out.
    return urllib3.Retry(
        total=None,
        connect=1,
        read=1 if method == "GET" else 0,
        status=0,
        other=0,
        redirect=0,
        allowed_methods=None,
        raise_on_status=False,
    )


def _streamed(login: Login, request: Request) -> Stream:
    return Stream(login.open(request), login=login, request=request)


def _exchange(login: Login, request: Request) -> Answer:
    response = login.open(request)
    try:
        body = response.read(ANSWER_BYTES + 1)
        if len(body) > ANSWER_BYTES:
            raise ClusterError(
                f"{login.name} answered with more than {ANSWER_BYTES} bytes", code=response.status
            )
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return Answer(code=response.status, headers=response.headers, body=body)


def _pool(configuration: Configuration) -> tuple[Pool, str]:
    """The pool, and what stands before each path: a proxy for plain HTTP needs the whole URL."""
    from kubernetes.client.rest import RESTClientObject

    manager = RESTClientObject(configuration).pool_manager
    url = urllib3.util.parse_url(configuration.host)
    if isinstance(manager, urllib3.ProxyManager):
        return manager, configuration.host.rstrip("/")
    return manager.connection_from_url(configuration.host), (url.path or "").rstrip("/")


def _configuration(access: ClusterAccess, *, parallel: int) -> Configuration:
    from kubernetes import config
    from kubernetes.client import Configuration
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError

    configuration = Configuration()
    try:
        if access.in_cluster:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(access.kubeconfig) if access.kubeconfig else None,
                context=access.context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(access, error) from error
    configuration.connection_pool_maxsize = parallel
    return configuration


def _unusable(access: ClusterAccess, error: Exception) -> ConfigError:
    where = "in_cluster" if access.in_cluster else str(access.kubeconfig or "the default kubeconfig")
    # The official client quotes nodes of the file in its messages, credentials among them: only its kind is shown.
    problem = Problem(message=f"it cannot be used: {type(error).__name__}", file=where, found=access.context)
    return ConfigError(
        f"the cluster's configuration cannot be used: {where}",
        hint="check it with `kubectl --kubeconfig FILE --context NAME get --raw /version`",
        problems=[problem],
    )


def _down(login: Login, request: Request, error: HTTPError) -> ClusterDown:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        what = "cannot be reached"
    elif isinstance(reason, ProtocolError):
        what = "closed the connection"
    else:
        what = "did not answer"
    return ClusterDown(
        f"the API server {login.name} {what} ({type(reason).__name__}, {request.method})",
        hint="check that it runs, and the address and certificates in the kubeconfig",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _unobserved(verb: str, code: str, seconds: float) -> None:
    pass
