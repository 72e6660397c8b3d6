"""Which file of a kustomization an object comes from: a good guess, for people.

In: the files of a closure. Out: a file and a line for an object. Pure but for reading the files when first asked.

Kustomize itself tells only by annotations that would be applied with the object. So the files are searched for the
object's kind and name as text; a prefix, suffix or hash that kustomize added does not hide the name. What is not found
(a generated ConfigMap) is placed at the kustomization.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right

from towline.shared.errors import GitError
from towline.worker.render.kustomization import FILE_NAMES
from towline.worker.tree import EntryKind, Tree, lasting

KIND = re.compile(rb"^kind:[ \t]*[\"']?([A-Za-z0-9]+)", re.MULTILINE)
NAME = re.compile(rb"^(?: {1,8}|metadata:[ \t]*\{[^}\n]*?\b)name:[ \t]*[\"']?([^\s\"'#,}]+)", re.MULTILINE)
SEPARATOR = re.compile(rb"^---.*$", re.MULTILINE)
MAX_BYTES = 1024 * 1024  # of one file; a larger one is not searched


class Origins:
    """Where the objects of one build come from."""

    def __init__(self, tree: Tree, folder: str, paths: frozenset[str]) -> None:
        names = (posixpath.join(folder, name) for name in FILE_NAMES)
        self._default = (next((name for name in names if name in paths), folder), 1)
        self._tree = tree
        self._paths = paths
        self._found: list[tuple[str, str, str, int]] | None = None

    def of(self, value: object) -> tuple[str, int]:
        """File and line of the object; of several, the one whose name is most alike."""
        metadata = value.get("metadata") if isinstance(value, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str):
            return self._default
        kind = value.get("kind") if isinstance(value, dict) else None
        alike = [f for f in self._all() if f[0] == kind and f[1] in name]
        best = max(alike, key=lambda found: len(found[1]), default=None)
        return (best[2], best[3]) if best else self._default

    def names(self) -> frozenset[tuple[str, str]]:
        """Kind and name of everything in the files that looks like an object."""
        return frozenset((kind, name) for kind, name, _, _ in self._all())

    def _all(self) -> list[tuple[str, str, str, int]]:
        if self._found is None:
            self._found = [found for path in sorted(self._paths) for found in self._read(path)]
        return self._found

    def _read(self, path: str) -> list[tuple[str, str, str, int]]:
        entry = self._tree.entry(path)
        if entry is None or entry.kind is not EntryKind.FILE or not path.endswith((".yaml", ".yml", ".json")):
            return []
        try:
            data = self._tree.read(entry, limit_bytes=MAX_BYTES)
        except GitError as error:
            lasting(error)
            return []
        return [(kind, name, path, line) for kind, name, line in objects_in(data)]


def objects_in(data: bytes) -> list[tuple[str, str, int]]:
    """Kind, name and line of what look like objects in YAML text."""
    starts = [0, *(match.end() + 1 for match in SEPARATOR.finditer(data))]
    lines = [match.start() for match in re.finditer(rb"\n", data)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        kind, name = KIND.search(data, start, end), NAME.search(data, start, end)
        if kind and name:
            line = bisect_right(lines, kind.start() - 1) + 1
            found.append((kind[1].decode(), name[1].decode("utf-8", "replace"), line))
    return found
