"""The files and folders that a kustomization is built from, found without running kustomize.

In: a tree and the folder of a kustomization. Out: the paths that a build may read, one digest over their ids, and
every problem. State: what was read of a folder is remembered by the folder's id (worker/remembered.py), and a whole
closure by the ids of the few folders near the root that it lies in, so a push costs what it changed.

Two steps, since only the first depends on the folder alone: a *part* is what one kustomization reads in its own
folder (kustomize reads files nowhere else), and the walk goes from part to part along bases and components.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from towline.shared.documents import Document
from towline.shared.errors import GitError, PathOutsideCheckout, Problem
from towline.worker.remembered import Remembered
from towline.worker.render.kustomization import (
    FILE_NAMES,
    Lines,
    Reference,
    References,
    Wants,
    plugin_references_of,
    references_of,
)
from towline.worker.resolve import joined, resolve
from towline.worker.tree import Entry, EntryKind, Tree, lasting

MAX_DEPTH = 32  # kustomizations on top of each other; real ones have five
MAX_VISITS = 1_000  # kustomizations that kustomize would build, counted as often as it would build them
MAX_FILES = 5_000  # in one closure
MAX_CLOSURE_BYTES = 32 * 1024 * 1024  # of all files of one closure: they are written and parsed
MAX_KUSTOMIZATION_BYTES = 1024 * 1024  # kustomizations and plugin configurations are parsed here
MAX_PROBLEMS = 20  # told at once

OUTSIDE = "is outside the kustomization's own folder, where kustomize reads no files"

ROOT_LEVELS = 2  # of the folders by whose ids a closure is known again: `services/orders`; their parents are read anyway

_PARTS: Remembered[str, Part] = Remembered(4_096)
_PLUGINS: Remembered[str, References] = Remembered(1_024)
_CLOSURES: Remembered[str, _Known] = Remembered(16_384)  # by folder, as it was last


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one kustomization reads in its own folder; true wherever a folder of this id stands."""

    name: str  # of the kustomization file
    digest: str
    files: tuple[str, ...]  # relative to the folder
    folders: tuple[Reference, ...]  # where the walk goes on
    resources: tuple[Entry, ...]  # files that are rendered, or configure plugins, as the parent says
    problems: tuple[Problem, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Everything that one build reads."""

    digest: str
    paths: frozenset[str]
    problems: tuple[Problem, ...]


def closure_of(tree: Tree, folder: str) -> Closure:
    """The closure of the kustomization in `folder`; what is wrong with it is in its problems, nothing is raised."""
    known = _CLOSURES.known(folder)
    if known is not None and all(_id_at(tree, path) == id for path, id in known.roots.items()):
        return known.closure
    walk = _Walk(tree)
    walk.go(folder, (), None)
    walk.check_limits()
    closure = walk.closure()
    if not walk.is_cut_off:
        roots = sorted({_root_of(path) for path in (folder, *walk.looked_at)})
        _CLOSURES.keep(folder, _Known(roots={path: _id_at(tree, path) for path in roots}, closure=closure))
    return closure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A closure, true while these folders have these ids: all that was looked at lies below one of them."""

    roots: Mapping[str, str | None]
    closure: Closure


def _root_of(path: str) -> str:
    return "/".join(path.split("/")[:ROOT_LEVELS])


def _id_at(tree: Tree, path: str) -> str | None:
    try:
        entry = tree.entry(path)
    except PathOutsideCheckout:
        return None
    return entry.id if entry else None


def part_of(tree: Tree, folder: Entry) -> Part:
    """The part of a folder, from memory if a folder of this id was read before."""
    return _PARTS.get(folder.id, lambda: _Scan(tree, folder.path).part())


class _Scan:
    """Reads the kustomization of one folder and looks up the files it names."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self._tree = tree
        self._folder = folder
        self._files: dict[str, Entry] = {}
        self._folders: list[Reference] = []
        self._resources: list[Entry] = []
        self._problems: list[Problem] = []
        self._name = FILE_NAMES[0]

    def part(self) -> Part:
        names = [e.name for e in self._tree.children(self._folder) if e.name in FILE_NAMES]
        if len(names) == 1:
            self._name = names[0]
            self._read()
        else:
            what = f"has {len(names)} of them: {', '.join(names)}" if names else "holds none of them"
            self._problems.append(
                Problem(
                    message=f"a folder to build {what}",
                    file=self._folder or ".",
                    allowed=" or ".join(FILE_NAMES),
                )
            )
        ids = [(self._relative(path), entry.id) for path, entry in sorted(self._files.items())]
        return Part(
            name=self._name,
            digest=_digest(f"{path}\0{id}" for path, id in ids),
            files=tuple(path for path, _ in ids),
            folders=tuple(self._folders),
            resources=tuple(replace(entry, path=self._relative(entry.path)) for entry in self._resources),
            problems=tuple(self._problems),
            size_bytes=sum(entry.size_bytes for entry in self._files.values()),
        )

    def _read(self) -> None:
        lines = Lines(Document(value=None, line=1, index=0))
        entry = self._file(Reference(text=self._name, wants=Wants.FILE, place=(), lines=lines))
        if entry is None:
            return
        references = self._parsed(entry)
        for reference in references.found:
            found = self._file(reference)
            if found is not None and reference.is_plugin:
                self._plugin(found)
            elif found is not None and reference.place[0] == "resources":
                self._resources.append(found)

    def _parsed(self, entry: Entry) -> References:
        try:
            references = references_of(self._tree.read(entry, limit_bytes=MAX_KUSTOMIZATION_BYTES))
        except GitError as error:
            references = References(problems=(Problem(message=lasting(error)),))
        self._problems += (replace(problem, file=self._name) for problem in references.problems)
        return references

    def _plugin(self, entry: Entry) -> None:
        references = plugin_references(self._tree, entry)
        name = self._relative(entry.path)
        self._problems += (replace(problem, file=name) for problem in references.problems)
        for reference in references.found:
            self._file(reference)

    def _file(self, reference: Reference) -> Entry | None:
        """The file at a reference, which becomes part of the closure; a folder is kept for the walk."""
        text = posixpath.normpath(reference.text)
        if text.startswith("/"):
            self._problem(reference, f"{reference.text} is an absolute path", "a path in the repository")
            return None
        if text == ".." or text.startswith("../"):
            self._outside(reference)
            return None
        try:
            resolved = resolve(self._tree, joined(self._folder, text), within=self._folder)
        except PathOutsideCheckout:
            self._outside(reference)
            return None
        except GitError as error:
            self._problem(reference, lasting(error))
            return None
        entry = resolved.entry
        if entry is not None and entry.kind is EntryKind.FOLDER and reference.wants is not Wants.FILE:
            self._folders.append(reference)
        elif entry is None or entry.kind is not EntryKind.FILE or reference.wants is Wants.FOLDER:
            self._problem(reference, _missing(reference, entry))
        else:
            self._files.update((link.path, link) for link in resolved.links)
            self._files[entry.path] = entry
            return entry
        return None

    def _outside(self, reference: Reference) -> None:
        """What leaves this folder is decided by the walk, which knows the rest of the tree; a file never may."""
        if reference.wants is Wants.FILE:
            self._problem(
                reference,
                f"{reference.text} {OUTSIDE}",
                "a file in or below the folder; a folder of its own as a base or component",
            )
        else:
            self._folders.append(reference)

    def _problem(self, reference: Reference, message: str, allowed: str | None = None) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            return
        field_name = reference.field or None
        self._problems.append(
            Problem(message=message, file=self._name, line=reference.line, path=field_name, allowed=allowed)
        )

    def _relative(self, path: str) -> str:
        return path[len(self._folder) + 1 :] if self._folder else path


def plugin_references(tree: Tree, entry: Entry) -> References:
    """What a plugin's configuration names, remembered by the id of its bytes."""

    def parse() -> References:
        try:
            return plugin_references_of(tree.read(entry, limit_bytes=MAX_KUSTOMIZATION_BYTES))
        except GitError as error:
            return References(problems=(Problem(message=lasting(error)),))

    return _PLUGINS.get(entry.id, parse)


@dataclass(slots=True)
class _Walk:
    """From part to part, each read once; knows the way it came, so that a circle is seen."""

    tree: Tree
    parts: dict[str, Part] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)  # folder -> builds it stands for
    links: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    looked_at: set[str] = field(default_factory=set)
    is_cut_off: bool = False  # something could not be followed to its end, so not all is in `looked_at`

    def go(self, path: str, way: tuple[str, ...], reference: Reference | None) -> int:
        """Visit a folder; how many builds it costs."""
        folder = self._folder(path, way, reference)
        if folder is None:
            return 0
        if folder.path in self.visits:
            part = self.parts[folder.path]
            self._plugins(folder.path, part, reference)
            return self.visits[folder.path]
        try:
            part = part_of(self.tree, folder)
        except GitError as error:
            self.is_cut_off = True
            self._problem(reference, way, lasting(error))
            return 0
        self.parts[folder.path] = part
        self.problems += (_placed(problem, folder.path) for problem in part.problems)
        self._plugins(folder.path, part, reference)
        visits = 1
        for further in part.folders:
            visits += self._on(folder.path, further, (*way, folder.path))
        self.visits[folder.path] = visits
        return visits

    def _on(self, folder: str, reference: Reference, way: tuple[str, ...]) -> int:
        try:
            path = joined(folder, reference.text)
        except PathOutsideCheckout as error:
            self._problem(reference, way, error.message)
            return 0
        return self.go(path, way, reference)

    def _folder(self, path: str, way: tuple[str, ...], reference: Reference | None) -> Entry | None:
        """The real folder at a path, unless it is missing, a circle or too deep."""
        try:
            resolved = resolve(self.tree, path)
        except GitError as error:
            self.is_cut_off = True
            self._problem(reference, way, lasting(error))
            return None
        self.links.update((link.path, link) for link in resolved.links)
        entry = resolved.entry
        self.looked_at |= {path, *(link.path for link in resolved.links), *([entry.path] if entry else ())}
        if entry is None or entry.kind is not EntryKind.FOLDER:
            self.missing.append(path)
            self._problem(reference, way, _missing(reference, entry))
        elif entry.path in way:
            circle = " -> ".join(step or "." for step in (*way[way.index(entry.path) :], entry.path))
            self._problem(reference, way, f"is a circle: {circle}")
        elif len(way) >= MAX_DEPTH:
            self._problem(reference, way, f"is more than {MAX_DEPTH} kustomizations deep")
        else:
            return entry
        return None

    def _plugins(self, folder: str, part: Part, reference: Reference | None) -> None:
        """A folder of plugin configurations: its resources are read as such."""
        if reference is None or not reference.is_plugin:
            return
        for entry in part.resources:
            references = plugin_references(self.tree, replace(entry, path=posixpath.join(folder, entry.path)))
            problems = [*references.problems]
            problems += (
                Problem(
                    message="a plugin in a folder of plugins cannot name files", line=r.line, path=r.field
                )
                for r in references.found
            )
            self.problems += (_placed(replace(p, file=entry.path), folder) for p in problems)

    def _problem(self, reference: Reference | None, way: tuple[str, ...], message: str) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            return
        if reference is None:
            self.problems.append(Problem(message=message))
            return
        file = posixpath.join(way[-1], self.parts[way[-1]].name)
        self.problems.append(Problem(message=message, file=file, line=reference.line, path=reference.field))

    def check_limits(self) -> None:
        visits = max(self.visits.values(), default=0)
        files = sum(len(part.files) for part in self.parts.values())
        size_bytes = sum(part.size_bytes for part in self.parts.values())
        for what, count, limit in (
            ("kustomizations to build", visits, MAX_VISITS),
            ("files", files, MAX_FILES),
            ("bytes", size_bytes, MAX_CLOSURE_BYTES),
        ):
            if count > limit:
                self.problems.append(Problem(message=f"reads {count} {what}", allowed=f"at most {limit}"))

    def closure(self) -> Closure:
        problems = tuple(self.problems[:MAX_PROBLEMS])
        seed = [f"{path}\0{part.digest}" for path, part in self.parts.items()]
        seed += [f"{link.path}\0{link.id}" for link in self.links.values()]
        seed += [f"{path}\0missing" for path in self.missing]
        seed += [str(problem) for problem in problems]
        paths = {
            f"{path}/{name}" if path else name for path, part in self.parts.items() for name in part.files
        }
        paths.update(self.links)
        return Closure(digest=_digest(seed), paths=frozenset(paths), problems=problems)


def _placed(problem: Problem, folder: str) -> Problem:
    file = (
        posixpath.join(folder, problem.file)
        if problem.file and problem.file != (folder or ".")
        else problem.file
    )
    return replace(problem, file=file)


def _missing(reference: Reference | None, entry: Entry | None) -> str:
    text = reference.text if reference else "the folder"
    if entry is None:
        return f"{text} does not exist"
    if entry.kind is EntryKind.SUBMODULE:
        return f"{text} is a submodule, which is not fetched"
    if entry.kind is EntryKind.FILE and reference is not None and reference.wants is Wants.EITHER:
        return f"{text} {OUTSIDE}"  # one inside was taken already
    return f"{text} is a {entry.kind}, where a {reference.wants if reference else 'folder'} is needed"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
