"""What Git would leave out of a commit of a folder on disk, as `git add -A` does.

In: a folder, anywhere in a work tree. Out: a question that says of a path below it whether it is ignored. Reads the
index and the ignore files (also the user's own, since this is for commands on a person's machine); no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import pygit2

IsIgnored = Callable[[str, bool], bool]


def ignored_by_git(root: Path) -> IsIgnored:
    """Asks with a path relative to `root` and whether it is a folder; outside a repository nothing is ignored."""
    try:
        found = pygit2.discover_repository(str(root))
        git = pygit2.Repository(found) if found else None
        if git is None or git.workdir is None:
            return _nothing
        prefix = root.relative_to(Path(git.workdir).resolve()).as_posix()
        tracked = _with_parents(entry.path for entry in git.index)
    except (pygit2.GitError, OSError, ValueError):
        return _nothing
    repository, below = git, "" if prefix == "." else f"{prefix}/"

    def is_ignored(path: str, is_folder: bool) -> bool:
        whole = below + path
        return whole not in tracked and repository.path_is_ignored(f"{whole}/" if is_folder else whole)

    return is_ignored


def _nothing(path: str, is_folder: bool) -> bool:
    return False


def _with_parents(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        found.add(path)
        found.update(str(parent) for parent in PurePosixPath(path).parents)
    return frozenset(found)
