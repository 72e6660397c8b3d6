"""A Git server on loopback with ways to misbehave, and repositories to commit into.

`GitServer` serves every bare repository below its folder over smart HTTP: HTTP/1.1, keep-alive, no Nagle, whole answers
in one write. What is behind it is Git's own `upload-pack`, so that shallow fetches, refused ids and negotiation are the
real ones. `Origin` writes objects straight into such a repository: any name may stand in a tree, also one that
`git add` would refuse.

    def test_something(origin):
        first = origin.commit({"app/deployment.yaml": "..."})
        second = origin.commit({"app/deployment.yaml": None, "other.yaml": b"..."}, branch="release")
        mirror_of(origin.url)

Faults are plain attributes of `git_server.faults`, and apply to requests that come after they were set.
"""

from __future__ import annotations

import base64
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pygit2
import pytest
from pygit2.enums import ObjectType

AUTHOR = pygit2.Signature("Ada Developer", "ada@example.com", 1_750_000_000, 0)
MODES = {
    "file": 0o100644,
    "executable": 0o100755,
    "symlink": 0o120000,
    "submodule": 0o160000,
    "folder": 0o040000,
}


@dataclass(frozen=True, slots=True)
class Symlink:
    """Value in a commit: a symbolic link to `target`, whatever that is."""

    target: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """Value in a commit: an entry of another repository's commit."""

    revision: str


@dataclass(frozen=True, slots=True)
class Executable:
    """Value in a commit: a file with the executable bit."""

    content: str


Content = str | bytes | Symlink | Submodule | Executable | None


class Origin:
    """A bare repository that plays the team's: it is committed to in this process, without a work tree."""

    def __init__(self, path: Path, *, base_url: str = "") -> None:
        self.path = path
        self.repository = pygit2.init_repository(path, bare=True, initial_head="main")
        # As on a forge, where objects are read at once after they were written.
        self.repository.config["core.fsync"] = "none"
        self.url = f"{base_url}/{path.name}" if base_url else self.file_url

    @property
    def file_url(self) -> str:
        """The repository as `file://` URL."""
        return self.path.as_uri()

    def commit(
        self,
        files: Mapping[str, Content],
        *,
        branch: str = "main",
        message: str = "Change something",
        author: str = AUTHOR.name,
        force: bool = False,
    ) -> str:
        """Commit these changes on top of the branch (None deletes a file) and return the revision.

        `force`: a commit without parent that replaces the branch, with these files only.
        """
        ref = f"refs/heads/{branch}"
        parent = None if force else self.tip(branch)
        base = self.repository[parent].peel(pygit2.Commit).tree.id if parent else None
        tree = self._changed(base, _nested(files))
        who = pygit2.Signature(author, AUTHOR.email, AUTHOR.time, 0)
        parents = [pygit2.Oid(hex=parent)] if parent else []
        commit = self.repository.create_commit(None, who, who, message, tree or self._tree({}), parents)
        self.repository.references.create(ref, commit, force=True)
        return str(commit)

    def tip(self, branch: str = "main") -> str | None:
        """The revision of a branch, or None."""
        reference = self.repository.references.get(f"refs/heads/{branch}")
        return str(reference.target) if reference else None

    def force(self, revision: str, *, branch: str = "main") -> None:
        """Set the branch to a revision that exists, as a force push or a new branch does."""
        self.repository.references.create(f"refs/heads/{branch}", pygit2.Oid(hex=revision), force=True)

    def delete(self) -> None:
        """Have the whole repository gone from the server."""
        shutil.rmtree(self.path)

    def delete_branch(self, branch: str) -> None:
        """Delete a branch; its commits stay until they are collected."""
        self.repository.references.delete(f"refs/heads/{branch}")

    def tag(self, name: str, revision: str, *, annotated: bool = True) -> str:
        """Make a tag and return the id that its ref points to (of an annotated one: the tag object)."""
        target = pygit2.Oid(hex=revision)
        if annotated:
            return str(self.repository.create_tag(name, target, ObjectType.COMMIT, AUTHOR, "A tag"))
        self.repository.references.create(f"refs/tags/{name}", target, force=True)
        return revision

    def allow_ids(self) -> None:
        """Let clients fetch any id (GitHub does; Git's default refuses what no ref points to)."""
        self.repository.config["uploadpack.allowAnySHA1InWant"] = True

    def _changed(self, base: pygit2.Oid | None, changes: Mapping[str, Any]) -> pygit2.Oid | None:
        """The tree `base` with these changes, or None when nothing is left in it."""
        entries = {entry.name: (entry.filemode, entry.id) for entry in self.repository[base]} if base else {}
        for name, change in changes.items():
            mode, id = self._entry(entries.get(name), change)
            if id is None:
                entries.pop(name, None)
            else:
                entries[name] = (mode, id)
        return self._tree(entries) if entries else None

    def _entry(self, old: tuple[int, pygit2.Oid] | None, change: Any) -> tuple[int, pygit2.Oid | None]:
        if isinstance(change, dict):
            is_folder = old is not None and old[0] == MODES["folder"]
            return MODES["folder"], self._changed(old[1] if old and is_folder else None, change)
        if change is None:
            return 0, None
        if isinstance(change, Submodule):
            return MODES["submodule"], pygit2.Oid(hex=change.revision)
        if isinstance(change, Symlink):
            return MODES["symlink"], self.repository.create_blob(change.target.encode())
        if isinstance(change, Executable):
            return MODES["executable"], self.repository.create_blob(change.content.encode())
        data = change.encode() if isinstance(change, str) else change
        return MODES["file"], self.repository.create_blob(data)

    def _tree(self, entries: Mapping[str, tuple[int, pygit2.Oid]]) -> pygit2.Oid:
        """Write a tree object byte by byte: libgit2's builder refuses the names that attacks are made of."""

        def order(item: tuple[str, tuple[int, pygit2.Oid]]) -> bytes:
            name, (mode, _) = item
            return name.encode() + (b"/" if mode == MODES["folder"] else b"")

        raw = b"".join(
            b"%o %s\0%s" % (mode, name.encode(), id.raw)
            for name, (mode, id) in sorted(entries.items(), key=order)
        )
        return cast(pygit2.Oid, self.repository.write(ObjectType.TREE, raw))


def _nested(files: Mapping[str, Content]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        here = nested
        for folder in folders:
            here = here.setdefault(folder, {})
        here[name] = content
    return nested


@dataclass(slots=True)
class Faults:
    """How the server misbehaves; all off at first."""

    status: int | None = None  # answer this status to everything
    body: bytes = b""  # with this body
    error: str = ""  # tell this, as Git's own words for an error, in the place of the refs
    redirect: str = ""  # answer 301 to this URL (the path is added)
    wait_seconds: float = 0  # before each answer
    hang: bool = False  # take the request, never answer
    drip_bytes: int = 0  # send the pack in pieces of this size ...
    drip_seconds: float = 0.05  # ... with this pause
    cut_pack_after: int | None = None  # close the connection after this many bytes of the pack's answer
    ignore_expect: bool = False  # never send `100 Continue`, as some proxies do not
    corrupt_pack: bool = False  # flip bytes in the middle of the pack's answer


@dataclass(slots=True)
class GitServer:
    """The server: `origin(name)` makes a repository, `requests` are those answered so far (`GET /name.git/info/refs`)."""

    folder: Path
    tls: tuple[Path, Path] | None = None  # certificate and key
    credentials: tuple[str, str] | None = None  # username and password that it asks for
    faults: Faults = field(default_factory=Faults)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    _server: _HTTPServer | None = None
    _port: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def origin(self, name: str = "shop") -> Origin:
        """A new repository served as `<url>/<name>.git`."""
        return Origin(self.folder / f"{name}.git", base_url=self.url)

    @property
    def fetches(self) -> int:
        """How many packs were asked for (first rounds of a fetch)."""
        return sum("info/refs" in request for request in self.requests)

    def start(self) -> None:
        """Listen, on the port of before when it was stopped."""
        self._stopping.clear()
        self._server = _HTTPServer(self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and close those that are open."""
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
            self._server = None

    def pause(self, seconds: float) -> None:
        """Wait in a request, but end with the server."""
        self._stopping.wait(seconds)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, owner: GitServer) -> None:
        self.owner = owner
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", owner._port), _Request)
        if owner.tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*owner.tls)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def close_connections(self) -> None:
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed by the client already

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some tests are about."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HTTPServer

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the server keeps its list of requests."""

    def handle_expect_100(self) -> bool:
        if not self.server.owner.faults.ignore_expect:
            super().handle_expect_100()
            self.wfile.flush()
        return True

    def do_GET(self) -> None:
        if self._admitted():
            path, _, query = self.path.partition("?")
            repository = self._repository(path, "/info/refs")
            if repository is None or query != "service=git-upload-pack":
                self._answer(404)
                return
            refs = self._upload_pack(repository, b"", "--advertise-refs")
            if error := self.server.owner.faults.error:
                refs = b"%04xERR %s" % (len(error) + 8, error.encode())
            self._answer(200, b"001e# service=git-upload-pack\n0000" + refs, kind="advertisement")

    def do_POST(self) -> None:
        body = self._body()
        if self._admitted():
            repository = self._repository(self.path, "/git-upload-pack")
            if repository is None:
                self._answer(404)
                return
            self._answer(200, self._upload_pack(repository, body), kind="result")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _admitted(self) -> bool:
        owner, faults = self.server.owner, self.server.owner.faults
        owner.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        owner.authorizations.append(self.headers.get("Authorization", ""))
        if faults.wait_seconds:
            owner.pause(faults.wait_seconds)
        if faults.hang:
            owner.pause(3600)
            self.close_connection = True
            return False
        if faults.redirect:
            self._answer(301, location=faults.redirect + self.path)
            return False
        if faults.status is not None:
            self._answer(faults.status, faults.body)
            return False
        if owner.credentials is not None and self._basic_auth() != owner.credentials:
            self._answer(401)
            return False
        return True

    def _basic_auth(self) -> tuple[str, str] | None:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        username, _, password = base64.b64decode(value).decode().partition(":")
        return username, password

    def _repository(self, path: str, suffix: str) -> Path | None:
        match = re.fullmatch(r"/([\w.-]+)" + re.escape(suffix), path)
        repository = self.server.owner.folder / match[1] if match else None
        return repository if repository and repository.is_dir() else None

    def _upload_pack(self, repository: Path, body: bytes, *options: str) -> bytes:
        command = [
            "git",
            "-c",
            "safe.directory=*",
            "upload-pack",
            "--stateless-rpc",
            *options,
            str(repository),
        ]
        # close_fds=False lets Python start it by vfork, which is several times faster in a large test process.
        return subprocess.run(
            command,
            check=False,
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=False,
        ).stdout

    def _answer(self, status: int, body: bytes = b"", *, kind: str = "", location: str = "") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}" if kind else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._write(body, is_pack=kind == "result")

    def _write(self, body: bytes, *, is_pack: bool) -> None:
        faults = self.server.owner.faults
        if is_pack and faults.corrupt_pack:
            middle = len(body) // 2
            body = (
                body[:middle] + bytes(byte ^ 0xFF for byte in body[middle : middle + 8]) + body[middle + 8 :]
            )
        if is_pack and faults.cut_pack_after is not None:
            body = body[: faults.cut_pack_after]
            self.close_connection = True
        step = faults.drip_bytes if is_pack and faults.drip_bytes else max(len(body), 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if step < len(body):
                self.server.owner.pause(faults.drip_seconds)
        self.wfile.flush()


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A Git server of this test alone; it starts in a millisecond."""
    folder = tmp_path / "git-server"
    folder.mkdir()
    server = GitServer(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def origin(git_server: GitServer) -> Origin:
    """An empty repository on it."""
    return git_server.origin("shop")
