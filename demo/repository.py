"""The demo's repository: bare, on this machine, with the shop in it; each call is one push."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pygit2

AUTHOR = ("Ada Orchard", "ada@orchard.example")


class ShopRepository:
    """A bare repository that somebody pushes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = pygit2.init_repository(str(path), bare=True, initial_head="main")

    def push(self, branch: str, message: str, changes: Mapping[str, str | None]) -> tuple[str | None, str]:
        """Commit these files (None removes one) on top of a branch; returns its tip before and after."""
        ref = f"refs/heads/{branch}"
        before = self._git.references.get(ref)
        index = pygit2.Index()
        if before is not None:
            index.read_tree(before.peel(pygit2.Tree))
        for path, text in changes.items():
            if text is None:
                index.remove(path)
            else:
                blob = self._git.create_blob(text.encode())
                index.add(pygit2.IndexEntry(path, blob, pygit2.enums.FileMode.BLOB))
        tree = index.write_tree(self._git)
        person = pygit2.Signature(*AUTHOR, int(time.time()), 0)
        parents = [before.target] if before is not None else []
        after = self._git.create_commit(ref, person, person, message, tree, parents)
        return (str(before.target) if before is not None else None), str(after)

    def branch(self, name: str, *, at: str) -> str:
        """Point a branch at a revision."""
        self._git.references.create(f"refs/heads/{name}", at, force=True)
        return at

    def read(self, branch: str, path: str) -> str:
        """A file at the tip of a branch."""
        tip = self._git.references[f"refs/heads/{branch}"].peel(pygit2.Tree)
        blob = tip[path]
        assert isinstance(blob, pygit2.Blob)
        return blob.data.decode()

    def paths(self, branch: str, below: str) -> list[str]:
        """The files below a folder at the tip of a branch."""
        index = pygit2.Index()
        index.read_tree(self._git.references[f"refs/heads/{branch}"].peel(pygit2.Tree))
        return [entry.path for entry in index if entry.path.startswith(below)]


def shop_files() -> dict[str, str]:
    """The shop that comes with Towline."""
    return dict(_files(files("towline.demo") / "shop", ""))


def _files(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        path = f"{prefix}{entry.name}"
        found += _files(entry, f"{path}/") if entry.is_dir() else [(path, entry.read_text())]
    return found
