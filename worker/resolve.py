"""Where a path of a revision leads when symlinks are followed, without ever leaving the revision.

In: a tree and a path. Out: the entry that stands there and the links passed on the way (they are inputs too: when
one is pointed elsewhere, what is read changes). Reads objects only; no state.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.tree import Entry, EntryKind, Tree

MAX_HOPS = 40  # links in one path, as Linux has it (path_resolution(7)); also ends a loop
MAX_TARGET_BYTES = 4096  # PATH_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`entry` is a file, a folder or a submodule, or None when nothing stands there; never a link."""

    entry: Entry | None
    links: tuple[Entry, ...] = ()


def joined(folder: str, reference: str) -> str:
    """A reference as seen from a folder, as a path of the repository; raises PathOutsideCheckout when it leaves it."""
    if reference.startswith("/"):
        raise PathOutsideCheckout(
            f"{reference} is an absolute path", hint="write it relative to the file that names it"
        )
    path = posixpath.normpath(posixpath.join(folder, reference))
    if path == ".":
        return ""
    if path == ".." or path.startswith("../"):
        raise PathOutsideCheckout(
            f"{reference} leads out of the repository", hint="keep what is used in the repository"
        )
    return path


def is_below(path: str, folder: str) -> bool:
    """Whether a path is this folder or something in it."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def resolve(tree: Tree, path: str, *, within: str = "") -> Resolved:
    """Follow the links in `path`.

    Raises PathOutsideCheckout when a link leads out of the folder `within` (by default, of the repository), and
    GitError for a loop of links.
    """
    entry = tree.entry(path)
    if entry is not None and entry.kind is not EntryKind.SYMLINK:
        return Resolved(entry=entry)
    return _walk(tree, path, within)


def _walk(tree: Tree, path: str, within: str) -> Resolved:
    names = path.split("/")
    links: list[Entry] = []
    at = ""
    while names:
        name = names.pop(0)
        if name in ("", "."):
            continue
        is_out = name == ".." and not at
        if links and (is_out or not is_below(joined(at, name), within)):
            raise _escape(links[-1], within)
        at = joined(at, name)
        entry = tree.entry(at)
        if entry is None or (names and entry.kind in (EntryKind.FILE, EntryKind.SUBMODULE)):
            return Resolved(entry=None, links=tuple(links))
        if entry.kind is EntryKind.SYMLINK:
            links.append(entry)
            names = [*_target(tree, entry, hops=len(links)), *names]
            at = posixpath.dirname(at)
    return Resolved(entry=tree.entry(at), links=tuple(links))


def _target(tree: Tree, link: Entry, *, hops: int) -> list[str]:
    if hops > MAX_HOPS:
        raise GitError(f"the symlink {link.path} is part of a loop", hint="point it at a file or folder")
    target = tree.read(link, limit_bytes=MAX_TARGET_BYTES).decode("utf-8", "surrogateescape")
    if target.startswith("/"):
        raise PathOutsideCheckout(
            f"the symlink {link.path} has an absolute target", hint="use a relative one inside the repository"
        )
    return target.split("/")


def _escape(link: Entry, within: str) -> PathOutsideCheckout:
    return PathOutsideCheckout(
        f"the symlink {link.path} leads out of {within or 'the repository'}",
        hint="keep what is used in the repository",
    )
