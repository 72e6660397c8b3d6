"""A folder on disk, seen as the tree of a revision: for commands that work on a checkout, and for nothing else.

In: a folder. Out: the entries, bytes and ids that Git would give for a commit of all that lies in it (so without what is
ignored). State: what was read so far, in memory; a change on disk is not seen by the same LocalTree.

Confined like a revision: no link is followed, `.git` is not there, and neither are sockets, devices and pipes.
A folder that is a repository of its own is shown as a submodule.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from towline.shared.errors import GitError
from towline.worker.ignored import ignored_by_git
from towline.worker.names import checked_path, is_git_folder, is_usable_name
from towline.worker.tree import Entry, EntryKind

MAX_DEPTH = 64  # folders in each other
CHUNK_BYTES = 1024 * 1024
NO_COMMIT = "0" * 40  # a submodule's commit is in the index, which is not read
UNREADABLE = "f" * 40
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MODES = {EntryKind.FOLDER: b"40000", EntryKind.SYMLINK: b"120000", EntryKind.SUBMODULE: b"160000"}


class LocalTree:
    """Implements `worker.tree.Tree` over `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve(strict=True)
        self._is_ignored = ignored_by_git(self._root)
        self._folders: dict[str, dict[str, Entry]] = {}
        self._ids: dict[str, str] = {}
        self._unusable: dict[str, str] = {}  # folder -> a name in it that may not be used

    def entry(self, path: str) -> Entry | None:
        """What stands at this path, or None."""
        if not path:
            return Entry(path="", kind=EntryKind.FOLDER, id=self._folder_id(""))
        folder, _, name = checked_path(path).rpartition("/")
        return self._entries(folder).get(name)

    def children(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder, by name; raises GitError when one of them has a name that may not be used."""
        entries = self._entries(checked_path(path))
        if path in self._unusable:
            raise GitError(
                f"{path or 'the root'} holds an entry with the name {self._unusable[path]!r}",
                hint="names are UTF-8 without control characters",
            )
        return tuple(entries.values())

    def edited(self, root: str) -> frozenset[str] | None:
        """Unknown: a folder on disk has no other revision to compare with."""
        return None

    def read(self, entry: Entry, *, limit_bytes: int) -> bytes:
        """The bytes of a file, or the target of a symlink."""
        path = self._root / checked_path(entry.path)
        try:
            if entry.kind is EntryKind.SYMLINK:
                return os.fsencode(path.readlink())
            with os.fdopen(os.open(path, READ), "rb") as file:
                data = file.read(limit_bytes + 1) if _is_file(file.fileno()) else b""
        except OSError as error:
            raise GitError(f"{entry.path} cannot be read: {error.strerror}") from error
        if len(data) > limit_bytes:
            raise GitError(
                f"{entry.path} has more bytes than the limit of {limit_bytes:,}",
                hint="keep large files out of what is deployed",
            )
        return data

    def _entries(self, path: str) -> dict[str, Entry]:
        if path not in self._folders:
            self._folders[path] = self._listed(path) if self._is_folder(path) else {}
        return self._folders[path]

    def _is_folder(self, path: str) -> bool:
        """Whether every name on the way is a folder, and none a link or a repository of its own."""
        if not path:
            return True
        entry = self.entry(path)
        return entry is not None and entry.kind is EntryKind.FOLDER

    def _listed(self, path: str) -> dict[str, Entry]:
        if path.count("/") >= MAX_DEPTH:
            raise GitError(f"{path} is more than {MAX_DEPTH} folders deep")
        entries: dict[str, Entry] = {}
        try:
            with os.scandir(self._root / path) as items:
                for item in sorted(items, key=lambda item: item.name):
                    if entry := self._entry(path, item):
                        entries[item.name] = entry
        except OSError as error:
            raise GitError(f"{path or self._root} cannot be read: {error.strerror}") from error
        return entries

    def _entry(self, folder: str, item: os.DirEntry[str]) -> Entry | None:
        if is_git_folder(item.name):
            return None
        if not is_usable_name(item.name):
            self._unusable[folder] = item.name
            return None
        path = f"{folder}/{item.name}" if folder else item.name
        if self._is_ignored(path, item.is_dir(follow_symlinks=False)):
            return None
        if item.is_symlink():
            target = os.fsencode(os.readlink(item.path))
            return Entry(path=path, kind=EntryKind.SYMLINK, id=_id(b"blob", target), size_bytes=len(target))
        if item.is_dir(follow_symlinks=False):
            return self._folder(path, Path(item.path))
        if item.is_file(follow_symlinks=False):
            size_bytes = item.stat(follow_symlinks=False).st_size
            return Entry(
                path=path, kind=EntryKind.FILE, id=_file_id(item.path, size_bytes), size_bytes=size_bytes
            )
        return None

    def _folder(self, path: str, place: Path) -> Entry | None:
        """A folder, unless it is empty: Git knows no empty ones."""
        if (place / ".git").exists():
            return Entry(path=path, kind=EntryKind.SUBMODULE, id=NO_COMMIT)
        self._folders[path] = self._listed(path)
        if not self._folders[path]:
            return None
        return Entry(path=path, kind=EntryKind.FOLDER, id=self._folder_id(path))

    def _folder_id(self, path: str) -> str:
        """The id that Git gives to a tree of these entries."""
        if path not in self._ids:
            entries = sorted(self._entries(path).values(), key=_order)
            lines = (b"%s %s\0%s" % (self._mode(e), e.name.encode(), bytes.fromhex(e.id)) for e in entries)
            self._ids[path] = _id(b"tree", b"".join(lines))
        return self._ids[path]

    def _mode(self, entry: Entry) -> bytes:
        if entry.kind is not EntryKind.FILE:
            return MODES[entry.kind]
        is_executable = (self._root / entry.path).stat().st_mode & stat.S_IXUSR
        return b"100755" if is_executable else b"100644"


def _order(entry: Entry) -> bytes:
    """Git sorts folders as if their names ended in a slash."""
    return entry.name.encode() + (b"/" if entry.kind is EntryKind.FOLDER else b"")


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _id(kind: bytes, data: bytes) -> str:
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).hexdigest()


def _file_id(path: str, size_bytes: int) -> str:
    """The id of a file's bytes, without holding a large file in memory."""
    digest = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    if not os.access(path, os.R_OK):
        return UNREADABLE  # an error only for who reads it
    with os.fdopen(os.open(path, READ), "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
