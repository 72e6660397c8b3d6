"""Write the files that a renderer reads into a private folder, and nothing else.

In: a tree and the paths of a render's inputs (files, links, whole folders). Out: those files below `into`, which only
we can read, and which nothing in them leads out of. State: that folder, made empty by the caller and removed by it.
Killed half-way: the caller's temporary folder is left, nothing else was touched.

Every file is made new by its name relative to an open folder, never followed and never overwritten (O_EXCL, O_NOFOLLOW),
so two names that are one on this file system are an error. Links come last, when nothing is written through them any
more, and only when they stay inside the repository along their whole way. Submodules are left out: they are not part of
the repository. The executable bit is left out too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from towline.shared.errors import GitError, PathOutsideCheckout, Unavailable
from towline.worker.git_errors import NO_SPACE
from towline.worker.names import checked_path, is_usable_name
from towline.worker.resolve import MAX_TARGET_BYTES, resolve
from towline.worker.tree import Entry, EntryKind, Tree

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLimits:
    """What one render may read; all of it is written and parsed."""

    files: int = 10_000  # and links
    file_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024
    depth: int = 32  # folders in each other


LIMITS = CheckoutLimits()


def write_checkout(tree: Tree, paths: Iterable[str], into: Path, limits: CheckoutLimits = LIMITS) -> None:
    """Write these paths of the tree below the empty folder `into`, folders with all that is in them.

    Paths at which nothing stands are left out: the renderer's own message tells who misses them. Raises
    PathOutsideCheckout for a path or link that leaves the repository, GitError above a limit.
    """
    found = _Found(tree, limits)
    for path in sorted(set(paths)):
        found.add(path)
    try:
        _write(tree, found, into, limits)
    except OSError as error:
        where = error.filename or "the checkout"
        if NO_SPACE.search(str(error.strerror)):
            raise Unavailable(
                f"no room for a checkout: {error.strerror}", hint="make room in TMPDIR"
            ) from error
        raise GitError(f"{where} cannot be written: {error.strerror}") from error


def _write(tree: Tree, found: _Found, into: Path, limits: CheckoutLimits) -> None:
    root = os.open(into, FOLDER)
    try:
        for entry in found.files.values():
            _write_file(root, entry.path, tree.read(entry, limit_bytes=limits.file_bytes))
        for entry in found.links.values():
            _write_link(root, entry.path, tree.read(entry, limit_bytes=MAX_TARGET_BYTES))
    finally:
        os.close(root)


@dataclass(slots=True)
class _Found:
    """What is to be written, collected and counted before the first byte is."""

    tree: Tree
    limits: CheckoutLimits
    files: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, Entry] = field(default_factory=dict)
    size_bytes: int = 0
    _folders: set[str] = field(default_factory=set)

    def add(self, path: str) -> None:
        """A path of the caller, which may lead through links."""
        checked_path(path)
        entry = self.tree.entry(path)
        if entry is not None:
            self._add(entry)
            return
        resolved = resolve(self.tree, path)
        for part in (*resolved.links, resolved.entry):
            if part is not None:
                self._add(part)

    def _add(self, entry: Entry) -> None:
        self._check_name(entry)
        if entry.kind is EntryKind.FOLDER:
            self._add_folder(entry)
        elif entry.kind is EntryKind.FILE and entry.path not in self.files:
            self.files[entry.path] = entry
            self.size_bytes += entry.size_bytes
            self._check_limits(entry)
        elif entry.kind is EntryKind.SYMLINK and entry.path not in self.links:
            self._add_link(entry)

    def _add_folder(self, folder: Entry) -> None:
        if folder.path in self._folders:
            return
        self._folders.add(folder.path)
        for entry in self.tree.children(folder.path):
            self._add(entry)

    def _add_link(self, link: Entry) -> None:
        """A link and where it leads: one to nothing is left out, as it could not be followed."""
        resolved = resolve(self.tree, link.path)
        if resolved.entry is None or resolved.entry.kind is EntryKind.SUBMODULE:
            return
        self.links[link.path] = link
        self._check_limits(link)
        for further in resolved.links:
            self._add(further)
        self._add(resolved.entry)

    def _check_name(self, entry: Entry) -> None:
        names = entry.path.split("/") if entry.path else []
        if not all(is_usable_name(name) for name in names):
            raise PathOutsideCheckout(
                f"{entry.path!r} may not be written", hint="no name may be . or .. or .git, in any spelling"
            )
        if len(names) > self.limits.depth + 1:
            raise GitError(
                f"{entry.path} is more than {self.limits.depth} folders deep", hint="flatten the folders"
            )

    def _check_limits(self, entry: Entry) -> None:
        count = len(self.files) + len(self.links)
        for what, value, limit in (
            ("bytes in one file", entry.size_bytes, self.limits.file_bytes),
            ("files", count, self.limits.files),
            ("bytes", self.size_bytes, self.limits.total_bytes),
        ):
            if value > limit:
                raise GitError(
                    f"a render would read more than {limit:,} {what} (at {entry.path})",
                    hint="render from smaller folders",
                )


def _write_file(root: int, path: str, data: bytes) -> None:
    with ExitStack() as stack:
        folder, name = _parent(root, path, stack)
        with os.fdopen(os.open(name, NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)


def _write_link(root: int, path: str, target: bytes) -> None:
    with ExitStack() as stack:
        folder, name = _parent(root, path, stack)
        os.symlink(target, os.fsencode(name), dir_fd=folder)


def _parent(root: int, path: str, stack: ExitStack) -> tuple[int, str]:
    """The open folder that a path's last name stands in, made when missing; no link is followed on the way."""
    *folders, name = path.split("/")
    here = root
    for folder in folders:
        try:
            os.mkdir(folder, 0o700, dir_fd=here)
        except FileExistsError:
            pass  # made for another file; anything but a folder fails to open
        here = os.open(folder, FOLDER, dir_fd=here)
        stack.callback(os.close, here)
    return here, name
