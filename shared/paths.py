"""Paths inside a repository, as people write them in configuration; pure."""

from __future__ import annotations

LENGTH_LIMIT = 1024  # characters


def is_inside(path: str) -> bool:
    """Whether a path (or a pattern of paths) stays below the root by its names alone: relative, without `..`."""
    if not path or len(path) > LENGTH_LIMIT or path.startswith("/") or not path.isprintable():
        return False
    return ".." not in path.split("/")
