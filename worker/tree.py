"""What a renderer sees of a revision: names, ids and bytes, whether they come from a mirror or from a local folder.

A path is always relative to the root of the repository, with `/` between names, never `..`, never absolute;
the root itself is "". Reading follows no symlink: who wants that resolves the link and asks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from towline.shared.errors import GitError


class EntryKind(StrEnum):
    """What stands at a path."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in a folder: `id` changes exactly when the content below it does; `size_bytes` is 0 for folders."""

    path: str
    kind: EntryKind
    id: str
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class Tree(Protocol):
    """The files of one revision."""

    def entry(self, path: str) -> Entry | None:
        """What stands at this path, or None. Raises PathOutsideCheckout for a path that is not of the form above."""
        ...

    def children(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder, by name; empty when it is not a folder."""
        ...

    def read(self, entry: Entry, *, limit_bytes: int) -> bytes:
        """The bytes of a file (of a symlink: its target). Raises GitError when it is larger than the limit."""
        ...

    def edited(self, root: str) -> frozenset[str] | None:
        """The files that differ from those of another tree, by the id of its root, if they differ in their bytes alone.

        None where anything else differs (a name, a link, a submodule), where it is too much, or where nobody can say.
        """
        ...


def lasting(error: GitError) -> str:
    """The message of what is wrong with a repository; an error that may pass says nothing about it and is raised on."""
    if error.retry:
        raise error
    return error.message
