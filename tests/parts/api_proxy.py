"""The real kube-apiserver behind a proxy that answers some requests itself, as an overloaded or failing server does.

    def test_something(api_proxy):
        api_proxy.answer_instead(429, times=5, method="PATCH", path="/configmaps/")

It speaks plain HTTP on loopback; its kubeconfig is `api_proxy.kubeconfig`.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from parts.control_plane import ControlPlane
from parts.odd_api_server import write_kubeconfig

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}  # RFC 9110 7.6.1
REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


@dataclass
class ApiProxy:
    """The proxy: what it answers itself, how often it did, and by how many seconds its clock is behind."""

    kubeconfig: Path
    plane: ControlPlane
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    seconds_behind: float = 0.0
    is_holding_watches: bool = False
    watching: set[socket.socket] = field(default_factory=set)  # connections that a watch goes on on
    _instead: list[tuple[str, str, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer_instead(self, code: int, *, times: int, method: str, path: str = "/") -> None:
        """Answer the next requests of this method that write (no dry run) below such a path with an error."""
        with self._lock:
            self._instead += [(method, path, code)] * times

    def hold_watches(self) -> None:
        """End every watch, and answer 503 to new ones until `is_holding_watches` is taken back."""
        self.is_holding_watches = True
        for connection in tuple(self.watching):
            with suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSLSocket's own breaks who reads

    def code_for(self, method: str, path: str) -> int | None:
        """What to answer instead of the real one, if anything."""
        if self.is_holding_watches and "watch=true" in path:
            return 503
        with self._lock:
            for index, (wanted, part, code) in enumerate(self._instead):
                if wanted == method and part in path and "dryRun" not in path:
                    del self._instead[index]
                    self.answered.append((method, path, code))
                    return code
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any
    _upstream: http.client.HTTPSConnection | None = None

    def pass_on(self) -> None:
        proxy: ApiProxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if code := proxy.code_for(self.command, self.path):
            self._refuse(code)
            return
        try:
            answer = self._ask(proxy.plane, body)
            with self._noted(proxy):
                self._copy(answer)
        except (OSError, http.client.HTTPException):
            self._hang_up()
            self.close_connection = True

    @contextmanager
    def _noted(self, proxy: ApiProxy) -> Iterator[None]:
        """The connection of a watch, while it goes on."""
        connection = self._upstream.sock if self._upstream and "watch=true" in self.path else None
        if connection is None:
            yield
            return
        proxy.watching.add(connection)
        try:
            yield
        finally:
            proxy.watching.discard(connection)

    def finish(self) -> None:
        self._hang_up()
        super().finish()

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def _ask(self, plane: ControlPlane, body: bytes) -> http.client.HTTPResponse:
        if self._upstream is None:
            place = urlsplit(plane.url)
            self._upstream = http.client.HTTPSConnection(
                place.hostname or "", place.port, context=plane._tls, timeout=60
            )
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        self._upstream.request(self.command, self.path, body=body or None, headers=headers)
        return self._upstream.getresponse()

    def _copy(self, answer: http.client.HTTPResponse) -> None:
        proxy: ApiProxy = self.server.proxy
        self.send_response_only(answer.status)
        self.send_header("Date", formatdate(time.time() - proxy.seconds_behind, usegmt=True))
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"date"}:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")  # a watch has no end
        self.end_headers()
        while chunk := answer.read1(65536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        answer.read()  # read1 alone does not tell the connection that this answer is over
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, code: int) -> None:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": REASONS[code],
            "code": code,
        }
        body = json.dumps(status | {"message": "the proxy of the tests says so"}).encode()
        self.send_response(code)
        if code == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what the tests are about."""


@pytest.fixture
def api_proxy(tmp_path: Path, control_plane: ControlPlane) -> Iterator[ApiProxy]:
    """Running on loopback, in front of the run's control plane."""
    server = _Server(("127.0.0.1", 0), _Handler)
    proxy = ApiProxy(kubeconfig=tmp_path / "kubeconfig-of-the-proxy", plane=control_plane)
    server.proxy = proxy  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{server.server_port}"
    write_kubeconfig(proxy.kubeconfig, server=url, user={"token": control_plane.token})
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield proxy
    server.shutdown()
    server.server_close()
