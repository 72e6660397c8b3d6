"""Something that speaks HTTP where an API server should be, and answers what a test tells it to.

For what a real API server cannot be made to do at will: a refused token that is renewed, 429, bytes that are no JSON,
an answer without end, a connection that is cut. Everything else is tested on the real one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CORE = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": f"{kind.lower()}s",
                            "responseKind": {"kind": kind},
                            "scope": "Namespaced",
                        }
                        for kind in ("ConfigMap", "Secret")
                    ],
                }
            ],
        }
    ],
}


class Handler(BaseHTTPRequestHandler):
    """One request: discovery is answered, the rest is the test's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def answer(self) -> None:
        """Record the request and answer it."""
        api: OddApiServer = self.server.api
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path in ("/api", "/apis"):
            self.say(200, json.dumps(CORE).encode())
            return
        api.requests.append((self.command, self.path, dict(self.headers)))
        api.respond(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def say(self, code: int, body: bytes, **headers: str) -> None:
        """A whole answer; `_` in a header's name is a `-`."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""


@dataclass
class OddApiServer:
    """What it answers, and what it was asked."""

    kubeconfig: Path
    respond: Callable[[Handler], None] = lambda handler: handler.say(200, b"{}")
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    context: str | None = None
    in_cluster: bool = False


@pytest.fixture
def odd_api_server(tmp_path: Path) -> Iterator[OddApiServer]:
    """Running on loopback, with a kubeconfig that names it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api = OddApiServer(kubeconfig=tmp_path / "kubeconfig")
    server.api = api  # type: ignore[attr-defined]
    write_kubeconfig(api.kubeconfig, server=f"http://127.0.0.1:{server.server_port}", user={"token": "first"})
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield api
    server.shutdown()
    server.server_close()


def write_kubeconfig(path: Path, *, server: str, user: dict[str, Any]) -> None:
    """A kubeconfig of one cluster and one user."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "only",
                "clusters": [{"name": "only", "cluster": {"server": server}}],
                "users": [{"name": "only", "user": user}],
                "contexts": [{"name": "only", "context": {"cluster": "only", "user": "only"}}],
            }
        )
    )
