"""Plain manifests: which files of a folder are read, and what objects are in them.

In: a tree and a path. Out: the files in the order they are read, and objects from their bytes. State: what a
folder holds is remembered by the folder's id, and what is read at a path by the path. The rules for people stand in
docs/render.md.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from towline.shared.documents import Document, load_documents
from towline.shared.errors import ConfigError, GitError, Problem
from towline.worker.remembered import Remembered
from towline.worker.render.kustomization import FILE_NAMES
from towline.worker.render.rendered import Loaded
from towline.worker.resolve import resolve
from towline.worker.tree import Entry, EntryKind, Tree, lasting

SUFFIXES = (".yaml", ".yml", ".json")
CHART = "Chart.yaml"
SKIP_MARKS = (b"# towline: skip", b"# +argocd:skip-file-rendering")
MARK_BYTES = 4096  # a mark stands at the head of a file

MAX_FILES = 2_000  # manifests of one service
MAX_ENTRIES = 20_000  # names looked at to find them
MAX_DEPTH = 32  # folders, links included
MAX_FILE_BYTES = 8 * 1024 * 1024  # five times the largest object that etcd takes
MAX_TOTAL_BYTES = 32 * 1024 * 1024  # parsed in the worker: some ten times this in memory
MAX_PROBLEMS = 20

# A document with none of these at its top is no manifest, and a file that has no other is left out.
MANIFEST_FIELDS = frozenset(("apiVersion", "kind", "metadata", "spec"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to read: `path` as it appears in the service's folder, `entry` what is read, links followed."""

    path: str
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The manifests of a folder, with every path that led to them."""

    files: tuple[Source, ...] = ()
    digest: str = ""
    paths: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What a folder's id tells: manifests below it, and links, which only the whole tree can follow."""

    files: tuple[Entry, ...]  # paths relative to the folder
    links: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    digest: str


_LISTINGS: Remembered[str, _Listing] = Remembered(256)
# By path, as it was last: with the id of the folder, which has no links.
_SOURCES: Remembered[str, tuple[str, Sources]] = Remembered(16_384)


def sources_of(tree: Tree, path: str) -> Sources:
    """The manifests at a path: a folder with all below it, or one file."""
    found = _Found(tree)
    folder = found.folder(path)
    known = _SOURCES.known(path)
    if folder is not None and known is not None and known[0] == folder.id:
        return known[1]
    found.add(path, depth=0, ways=())
    sources = found.sources()
    if folder is not None and not found.links:  # where a link leads, the folder's id does not tell
        _SOURCES.keep(path, (folder.id, sources))
    return sources


def has_suffix(name: str) -> bool:
    """Whether a file of this name is read as a manifest."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


@dataclass(slots=True)
class _Found:
    tree: Tree
    files: list[Source] = field(default_factory=list)
    links: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seed: list[str] = field(default_factory=list)

    def folder(self, path: str) -> Entry | None:
        """The folder that stands at a path without following a link; None for anything else."""
        try:
            entry = self.tree.entry(path)
        except GitError as error:
            lasting(error)
            return None
        return entry if entry is not None and entry.kind is EntryKind.FOLDER else None

    def add(self, path: str, *, depth: int, ways: tuple[str, ...]) -> None:
        """Add what stands at a path; `ways`: real folders above it, so that a link to one of them is seen."""
        try:
            resolved = resolve(self.tree, path)
        except GitError as error:
            self.problem(path, lasting(error))
            return
        self.links += resolved.links
        entry = resolved.entry
        if entry is None or entry.kind is EntryKind.SUBMODULE:
            what = "is a submodule, which is not fetched" if entry else "does not exist"
            self.problem(resolved.links[-1].path if resolved.links else path, what)
        elif entry.kind is EntryKind.FILE:
            self.files.append(Source(path=path, entry=entry))
            self.seed.append(f"{path}\0{entry.id}")
        elif entry.path in ways or depth > MAX_DEPTH:
            self.problem(path, "is a link to a folder that it stands in")
        else:
            self._folder(entry, path, depth=depth, ways=(*ways, entry.path))

    def _folder(self, folder: Entry, path: str, *, depth: int, ways: tuple[str, ...]) -> None:
        try:
            listing = _LISTINGS.get(folder.id, lambda: _listing(self.tree, folder))
        except GitError as error:
            self.problem(path, lasting(error))
            return
        self.seed.append(f"{path}\0{listing.digest}")
        self.problems += (replace(p, file=posixpath.join(path, p.file or "")) for p in listing.problems)
        for file in listing.files:
            real = replace(file, path=_under(folder.path, file.path))
            self.files.append(Source(path=_under(path, file.path), entry=real))
        for link in listing.links:
            self.add(_under(path, link.path), depth=depth + 1, ways=ways)

    def problem(self, path: str, message: str) -> None:
        """Note what is wrong at a path."""
        self.problems.append(Problem(message=message, file=path or "."))

    def sources(self) -> Sources:
        """The result, files in the order of their paths."""
        files = sorted(self.files, key=lambda source: source.path)
        size_bytes = sum(source.entry.size_bytes for source in files)
        if len(files) > MAX_FILES:
            self.problems.append(
                Problem(message=f"{len(files)} manifests", allowed=f"at most {MAX_FILES} a service")
            )
        if size_bytes > MAX_TOTAL_BYTES:
            self.problems.append(
                Problem(message=f"{size_bytes} bytes of manifests", allowed=f"{MAX_TOTAL_BYTES}")
            )
        problems = tuple(self.problems[:MAX_PROBLEMS])
        seed = [*self.seed, *(f"{link.path}\0{link.id}" for link in self.links), *map(str, problems)]
        paths = frozenset([source.entry.path for source in files] + [link.path for link in self.links])
        digest = hashlib.sha256("\n".join(seed).encode("utf-8", "surrogateescape")).hexdigest()
        return Sources(files=tuple(files), digest=digest, paths=paths, problems=problems)


def _under(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _listing(tree: Tree, folder: Entry) -> _Listing:
    files: list[Entry] = []
    links: list[Entry] = []
    problems: list[Problem] = []
    try:
        for entry in _below(tree, folder, problems):
            entry = replace(entry, path=_relative(entry.path, folder.path))
            if entry.kind is EntryKind.FILE:
                files.append(entry)
            elif entry.kind is EntryKind.SYMLINK:
                links.append(entry)
    except OverflowError as error:
        problems.append(Problem(message=str(error), allowed="a folder of manifests alone"))
    seed = "\n".join(f"{entry.path}\0{entry.id}" for entry in files)
    digest = hashlib.sha256(seed.encode("utf-8", "surrogateescape")).hexdigest()
    return _Listing(files=tuple(files), links=tuple(links), problems=tuple(problems), digest=digest)


def _below(tree: Tree, folder: Entry, problems: list[Problem]) -> Iterator[Entry]:
    """The manifests and links below a folder; what renders by itself in there is a problem."""
    looked_at = 0
    waiting = [(folder.path, 0)]
    while waiting:
        path, depth = waiting.pop()
        children = tree.children(path)
        looked_at += len(children)
        if looked_at > MAX_ENTRIES or depth > MAX_DEPTH:
            raise OverflowError(f"holds more than {MAX_ENTRIES} names, or folders more than {MAX_DEPTH} deep")
        for entry in children:
            if entry.name.startswith("."):
                continue
            if entry.kind is EntryKind.FOLDER:
                waiting.append((entry.path, depth + 1))
            elif problem := _problem(entry, is_top=path == folder.path):
                problems.append(replace(problem, file=_relative(entry.path, folder.path)))
            elif _is_read(entry):
                yield entry


def _is_read(entry: Entry) -> bool:
    """By its name: a manifest, or a link that may lead to a folder of them."""
    if entry.kind is EntryKind.SYMLINK and "." not in entry.name:
        return True
    return has_suffix(entry.name) and entry.name not in (*FILE_NAMES, CHART)


def _problem(entry: Entry, *, is_top: bool) -> Problem | None:
    allowed = "manifests alone; or name the folder to render, as `path` or in `overlays`"
    if entry.kind is EntryKind.SUBMODULE:
        return Problem(message="is a submodule, which is not fetched", allowed=allowed)
    if entry.name in (*FILE_NAMES, CHART) and not is_top:
        return Problem(message="renders by itself, inside a folder of plain manifests", allowed=allowed)
    return None


def _relative(path: str, folder: str) -> str:
    return path[len(folder) + 1 :] if folder else path


def read(tree: Tree, source: Source, problems: list[Problem]) -> list[Loaded]:
    """The documents of one manifest, unless it is none; what is wrong with it goes to `problems`."""
    try:
        data = tree.read(source.entry, limit_bytes=MAX_FILE_BYTES)
        if _is_skipped(data):
            return []
        documents = load_documents(data, file=source.path)
    except ConfigError as error:
        problems += _hinted(error.problems or (Problem(message=error.message, file=source.path),), data)
        return []
    except GitError as error:
        problems.append(Problem(message=lasting(error), file=source.path))
        return []
    if not any(_may_be_manifest(document) for document in documents):
        return []
    return [Loaded(value=d.value, file=source.path, line=d.line, document=d) for d in documents]


def _is_skipped(data: bytes) -> bool:
    head = data[:MARK_BYTES]
    return any(mark in head for mark in SKIP_MARKS)


def _may_be_manifest(document: Document) -> bool:
    value = document.value
    if isinstance(value, list):
        return any(isinstance(item, dict) and "kind" in item and "apiVersion" in item for item in value)
    return isinstance(value, dict) and not MANIFEST_FIELDS.isdisjoint(value)


def _hinted(problems: tuple[Problem, ...], data: bytes) -> list[Problem]:
    """A template is the usual reason for YAML that is none; say so."""
    if b"{{" not in data:
        return list(problems)
    return [replace(problem, message=f"{problem.message}; it looks like a template") for problem in problems]
