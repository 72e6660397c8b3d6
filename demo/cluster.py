"""The demo's Kubernetes API: HTTP on loopback over demo/store.py, with controllers, and a kubeconfig that names it.

Only for the demo. Paths, media types and answers are those of a real API server, as far as Towline asks for them.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from towline.demo.controllers import Controllers
from towline.demo.kinds import discovery
from towline.demo.kubelet import log_of
from towline.demo.request import Refusal, Target, Writer
from towline.demo.selectors import Selector, selector
from towline.demo.store import Store
from towline.demo.watching import USUAL_SECONDS, Watch, lines

PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>status|log))?"
)
BODY_LIMIT = 8 * 1024 * 1024  # bytes; an API server takes 3 MB

Answer = dict[str, Any] | str | Watch  # JSON, text, or what is still to come


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    target: Target
    query: dict[str, str]
    body: Any
    content_type: str
    accept: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, store: Store) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """A client that goes away is no error: the demo has its own story to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for a delayed ACK
    wbufsize = 1 << 16
    server: socketserver.BaseServer

    def do_GET(self) -> None:
        """GET, and every other method: the same steps."""
        code, answer = self._answer()
        if isinstance(answer, Watch):
            self._stream(answer)
            return
        is_text = isinstance(answer, str)
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the demo tells its own story."""

    def _stream(self, watch: Watch) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.wfile.flush()
            for told in lines(self._store.changes, watch):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(told), told))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone, which is how it ends a watch
            self.close_connection = True

    @property
    def _store(self) -> Store:
        store: Store = self.server.store  # type: ignore[attr-defined]
        return store

    def _answer(self) -> tuple[int, Answer]:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self.close_connection = True
            return 413, {"kind": "Status", "message": "the body is too large", "code": 413}
        raw = self.rfile.read(length)
        try:
            return self._routed(json.loads(raw) if raw else {})
        except Refusal as refusal:
            return refusal.code, refusal.status
        except ValueError as error:
            return 400, Refusal(400, "BadRequest", str(error)).status

    def _routed(self, body: Any) -> tuple[int, Answer]:  # noqa: ANN401 - parsed JSON
        url = urlsplit(self.path)
        if url.path in ("/api", "/apis"):
            return 200, discovery(self._store.kinds(), core=url.path == "/api")
        if url.path in ("/readyz", "/version"):
            return 200, {"gitVersion": "v0.0.0-demo", "major": "0", "minor": "0"}
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        call = _Call(
            method=self.command,
            target=_target(self._store, url.path, body),
            query=query,
            body=body,
            content_type=self.headers.get("Content-Type") or "",
            accept=self.headers.get("Accept") or "",
        )
        return _read(self._store, call) if call.method == "GET" else _written(self._store, call)


def _target(store: Store, path: str, body: Any) -> Target:  # noqa: ANN401 - parsed JSON
    match = PATH.fullmatch(path)
    if not match:
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    group, version = match["group"] or "", match["version"] or match["core"]
    for kind in store.kinds():
        if (kind.group, kind.version, kind.plural) == (group, version, match["plural"]):
            named = match["name"] or ((body.get("metadata") or {}).get("name") or "")
            return Target(
                kind=kind, namespace=match["namespace"] or "", name=named, subresource=match["sub"] or ""
            )
    raise Refusal(404, "NotFound", "the server could not find the requested resource")


def _read(store: Store, call: _Call) -> tuple[int, Answer]:
    target, query = call.target, call.query
    if target.subresource == "log":
        container, previous = query.get("container", ""), query.get("previous") == "true"
        return 200, log_of(store.get(target), container, previous=previous)
    if target.name:
        return 200, _as_asked(store.get(target), call.accept)
    selected = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
    if query.get("watch") in ("true", "1"):
        return 200, _watch(call, selected)
    return 200, _as_asked(store.list(target, selected), call.accept)


def _watch(call: _Call, selected: Selector) -> Watch:
    return Watch(
        target=call.target,
        selected=selected,
        since=int(call.query.get("resourceVersion", "")),
        seconds=float(call.query.get("timeoutSeconds", USUAL_SECONDS)),
        bookmarks=call.query.get("allowWatchBookmarks") in ("true", "1"),
        shown=lambda object: _as_asked(object, call.accept),
    )


def _written(store: Store, call: _Call) -> tuple[int, Answer]:
    target = call.target
    applies = call.content_type.startswith("application/apply-patch")
    writer = Writer(
        manager=call.query.get("fieldManager", "unknown"),
        operation="Apply" if applies else "Update",
        dry_run=call.query.get("dryRun") == "All",
        force=call.query.get("force") == "true",
    )
    match call.method:
        case "POST":
            return 201, store.create(target, call.body, writer)
        case "PATCH" if applies:
            return 200, store.apply(target, call.body, writer)
        case "PATCH":
            return 200, store.update(target, call.body, writer, whole=False)
        case "PUT":
            return 200, store.update(target, call.body, writer, whole=True)
        case _:
            return 200, store.delete(target, call.body)


def _as_asked(answer: dict[str, Any], accept: str) -> dict[str, Any]:
    """Metadata alone where that is asked for."""
    if "PartialObjectMetadata" not in accept:
        return answer
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    if "items" in answer:
        items = [{**partial, "metadata": item["metadata"]} for item in answer["items"]]
        return {
            **partial,
            "kind": "PartialObjectMetadataList",
            "metadata": answer["metadata"],
            "items": items,
        }
    return {**partial, "metadata": answer["metadata"]}


class DemoCluster:
    """The server, from start to stop."""

    def __init__(self) -> None:
        self.store = Store()
        self._controllers = Controllers(self.store)
        self._server = _Server(self.store)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve, with the namespaces that every cluster has."""
        self._controllers.start()
        self._thread.start()
        for name in ("default", "kube-system"):
            kind = next(kind for kind in self.store.kinds() if kind.kind == "Namespace")
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            target = Target(kind=kind, namespace="", name=name)
            self.store.create(target, namespace, Writer(manager="demo", operation="Update"))

    def stop(self) -> None:
        """End it; all objects are gone."""
        self.store.changes.end()
        self._server.shutdown()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> None:
        """A kubeconfig for it, which kubectl takes as well."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "demo",
            "clusters": [{"name": "demo", "cluster": {"server": self.url}}],
            "users": [{"name": "demo", "user": {}}],
            "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo"}}],
        }
        path.write_text(yaml.safe_dump(config))
