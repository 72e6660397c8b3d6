"""A revision's tree in memory, with the ids that Git would give: for tests of what reads trees and needs no Git."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.tree import Entry, EntryKind


class Link(str):
    """A symlink, by its target."""


class Submodule(str):
    """A submodule, by its commit."""


Content = str | bytes | Link | Submodule


MADE: dict[str, MemoryTree] = {}  # by the id of the root, as a repository has more than one revision


class MemoryTree:
    """The protocol `worker.tree.Tree` over a dict of paths; counts its reads, so that tests see what is remembered."""

    def __init__(self, files: Mapping[str, Content]) -> None:
        self._entries: dict[str, Entry] = {}
        self._bytes: dict[str, bytes] = {}
        self._children: dict[str, list[Entry]] = {}
        self._modes: dict[str, str] = {}
        self.reads = 0
        self.listings = 0
        for path, content in files.items():
            self._put(path, content)
        self._folders(sorted(files))
        MADE[self._entries[""].id] = self

    @classmethod
    def of(cls, folder: Path, *, under: str = "") -> MemoryTree:
        """The files of a folder on disk, links as links, below the path `under`."""
        files: dict[str, Content] = {}
        for path in sorted(folder.rglob("*")):
            name = (Path(under) / path.relative_to(folder)).as_posix()
            if path.is_symlink():
                files[name] = Link(path.readlink())
            elif path.is_file():
                files[name] = path.read_bytes()
        return cls(files)

    def entry(self, path: str) -> Entry | None:
        """What stands at this path."""
        if path.startswith("/") or path.endswith("/") or ".." in path.split("/") or "//" in path:
            raise PathOutsideCheckout(f"{path!r} is not a path of a tree")
        return self._entries.get(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder, by name."""
        self.listings += 1
        return tuple(self._children.get(path, ()))

    def read(self, entry: Entry, *, limit_bytes: int) -> bytes:
        """The bytes of a file or the target of a link."""
        self.reads += 1
        data = self._bytes[entry.id]
        if len(data) > limit_bytes:
            raise GitError(f"{entry.path} has {len(data)} bytes, more than {limit_bytes}")
        return data

    def edited(self, root: str) -> frozenset[str] | None:
        """The files whose bytes alone differ from a tree that was made before."""
        other = MADE.get(root)
        if other is None or other._entries.keys() != self._entries.keys():
            return None
        pairs = [(one, other._entries[path]) for path, one in self._entries.items()]
        differing = [
            (one, two) for one, two in pairs if one.kind is not EntryKind.FOLDER and one.id != two.id
        ]
        if any({one.kind, two.kind} != {EntryKind.FILE} for one, two in differing):
            return None
        return frozenset(one.path for one, _ in differing)

    def _put(self, path: str, content: Content) -> None:
        kind, mode = EntryKind.FILE, "100644"
        if isinstance(content, Link):
            kind, mode = EntryKind.SYMLINK, "120000"
        elif isinstance(content, Submodule):
            kind, mode = EntryKind.SUBMODULE, "160000"
        data = content.encode() if isinstance(content, str) else content
        id = content if kind is EntryKind.SUBMODULE else _object_id("blob", data)
        self._bytes[str(id)] = data
        self._entries[path] = Entry(path=path, kind=kind, id=str(id), size_bytes=len(data))
        self._modes[path] = mode

    def _folders(self, paths: list[str]) -> None:
        below: dict[str, set[str]] = {"": set()}
        for path in paths:
            while path:
                parent = path.rpartition("/")[0]
                below.setdefault(parent, set()).add(path)
                path = parent
        for folder in sorted(below, key=lambda name: -len(name.split("/")) if name else 1):
            self._folder(folder, sorted(below[folder]))

    def _folder(self, folder: str, paths: list[str]) -> None:
        children = [self._entries[path] for path in paths]
        lines = [
            f"{self._modes.get(child.path, '40000')} {child.name}\0".encode() + bytes.fromhex(child.id)
            for child in children
        ]
        self._children[folder] = children
        id = _object_id("tree", b"".join(lines))
        self._entries[folder] = Entry(path=folder, kind=EntryKind.FOLDER, id=id)


def _object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
