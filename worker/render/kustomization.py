"""What a kustomization names: files, folders and plugin configurations, found by reading it as data.

In: the bytes of a kustomization or of a plugin's configuration. Out: references, or problems with the line: what
cannot be read, and what Towline never runs (remote bases, charts, plugins). Pure; no state.

Kustomize reads these files through Go's JSON decoder, which takes `RESOURCES` for `resources`. So a field is used
only when it is written exactly as kustomize documents it, and every other one is refused: what this module does not
understand cannot name a file behind its back (https://kubectl.docs.kubernetes.io/references/kustomize/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from towline.shared.documents import Document, load_documents
from towline.shared.errors import ConfigError, Problem
from towline.shared.yaml_lines import Place

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")  # kustomize's own list

Path = tuple[str | int, ...]


class Wants(StrEnum):
    """What may stand at a reference."""

    FILE = "file"
    FOLDER = "folder"
    EITHER = "file or folder"


class Lines:
    """The lines of one document; the first question reads it once more, the others cost nothing."""

    __slots__ = ("_document", "_places")

    def __init__(self, document: Document) -> None:
        self._document = document
        self._places: Place | None = None

    def of(self, path: Path) -> int:
        """The line of a place, or of the nearest parent that has one."""
        if self._places is None:
            self._places = self._document.places()
        return self._places.line_of(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A path as written, with its place; `is_plugin`: what stands there configures a plugin."""

    text: str
    wants: Wants
    place: Path
    lines: Lines
    is_plugin: bool = False

    @property
    def field(self) -> str:
        """The place as people write it."""
        return _dotted(self.place)

    @property
    def line(self) -> int:
        """Where it stands; looked for only when somebody is told."""
        return self.lines.of(self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What one file names; a problem's `file` is left to the caller, who knows where the file stands."""

    found: tuple[Reference, ...] = ()
    problems: tuple[Problem, ...] = ()


LISTS = {
    "resources": Wants.EITHER,
    "bases": Wants.FOLDER,
    "components": Wants.FOLDER,
    "crds": Wants.FILE,
    "configurations": Wants.FILE,
}
PLUGIN_LISTS = ("generators", "transformers", "validators")
PATH_LISTS = ("patches", "patchesJson6902", "replacements")
GENERATORS = ("configMapGenerator", "secretGenerator")
CHARTS = ("helmCharts", "helmChartInflationGenerator")
WITHOUT_PATHS = frozenset(
    [
        "apiVersion",
        "kind",
        "metadata",
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "labels",
        "commonAnnotations",
        "images",
        "imageTags",
        "replicas",
        "vars",
        "sortOptions",
        "generatorOptions",
        "helmGlobals",
        "buildMetadata",
        "inventory",
    ]
)
KNOWN = (
    frozenset((*LISTS, *PLUGIN_LISTS, *PATH_LISTS, *GENERATORS, *CHARTS, "openapi", "patchesStrategicMerge"))
    | WITHOUT_PATHS
)

# Fields that hold paths inside the entries above, and inside the configuration of a built-in plugin.
PATH_FIELDS = frozenset(
    ("path", "paths", "files", "env", "envs", "replacements", "patches", "targetFilePath")
)

# All forms that kustomize takes for something to fetch, today's and those of older releases: URLs, `git::`, `gh:`,
# scp-like `user@host:path`, `github.com/...`, Azure's `_git/`, and a query as in `host/path?ref=main`.
REMOTE = re.compile(
    r"^(git::|gh:|[a-z0-9+.-]+://|[a-z0-9_.-]+@[^/]+[:/]|(www\.)?github\.com[:/])|://|_git/|\.git(/|\?|$)|\?[a-z]+=",
    re.IGNORECASE,
)

MAX_PROBLEMS = 20  # told of one file
MAX_REFERENCES = 10_000  # in one file; twice as many files as a closure may have

FUNCTION_ANNOTATIONS = ("config.kubernetes.io/function", "config.k8s.io/function")


def is_remote(text: str) -> bool:
    """Whether kustomize would take this for something to fetch."""
    return REMOTE.search(text) is not None


def references_of(data: bytes) -> References:
    """What a kustomization names."""
    try:
        documents = load_documents(data, file="")
    except ConfigError as error:
        return References(problems=_of(error))
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        line = documents[1].line if len(documents) > 1 else 1
        return References(problems=(Problem(message="a kustomization is exactly one mapping", line=line),))
    reader = _Reader(documents[0])
    reader.kustomization()
    return reader.result()


def plugin_references_of(data: bytes) -> References:
    """What the configuration of generators, transformers or validators names."""
    try:
        documents = load_documents(data, file="")
    except ConfigError as error:
        return References(problems=_of(error))
    found: list[Reference] = []
    problems: list[Problem] = []
    for document in documents:
        reader = _Reader(document)
        reader.plugin((), document.value)
        result = reader.result()
        found += result.found
        problems += result.problems
    return References(found=tuple(found), problems=tuple(problems))


def _of(error: ConfigError) -> tuple[Problem, ...]:
    return error.problems or (Problem(message=error.message),)


class _Reader:
    """Reads one document, collecting references and problems."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._lines = Lines(document)
        self._found: list[Reference] = []
        self._problems: list[Problem] = []

    def result(self) -> References:
        return References(found=tuple(self._found), problems=tuple(self._problems))

    def kustomization(self) -> None:
        fields = self._document.value
        for field, value in fields.items():
            if field not in KNOWN:
                self._unknown((field,), KNOWN)
            elif field in CHARTS:
                self._problem(
                    (field,), "a chart inside a kustomization is not rendered", "render: helm, as a service"
                )
            elif value is not None and field not in WITHOUT_PATHS:
                self._field(field, value)

    def _field(self, field: str, value: object) -> None:
        place: Path = (field,)
        if field == "openapi":
            self._paths_in(place, value)
        elif not isinstance(value, list):
            self._problem(place, "is not a list")
        elif field in LISTS:
            self._list(place, value, LISTS[field])
        elif field in PLUGIN_LISTS:
            self._plugins(place, value)
        elif field == "patchesStrategicMerge":
            self._patches(place, value)
        else:
            self._entries(place, value)

    def _entries(self, place: Path, entries: Sequence[object]) -> None:
        for index, entry in enumerate(entries):
            if isinstance(entry, str) and place == ("patches",):
                self._patches(place, [entry], start=index)  # the form of `patches` before kustomize 3
            else:
                self._paths_in((*place, index), entry)

    def _paths_in(self, place: Path, entry: object) -> None:
        """References in one entry of a list: `path`, and what a generator reads."""
        if not isinstance(entry, dict):
            self._problem(place, "is not a mapping")
            return
        for field, value in entry.items():
            if value is None:
                continue
            if field in ("path", "env", "targetFilePath"):
                self._add((*place, field), value, Wants.FILE)
            elif field == "files":
                self._list((*place, field), value, Wants.FILE, with_keys=True)
            elif field == "envs":
                self._list((*place, field), value, Wants.FILE)
            elif _folded(field) in PATH_FIELDS and field not in PATH_FIELDS:
                self._unknown((*place, field), PATH_FIELDS)

    def plugin(self, place: Path, config: object) -> None:
        """A plugin's configuration: only kustomize's built-in ones, and never one that runs a program."""
        if not isinstance(config, dict):
            self._problem(place, "is not the configuration of a plugin")
            return
        if config.get("apiVersion") != "builtin" or config.get("kind") == "HelmChartInflationGenerator":
            named = f"{config.get('kind')} of {config.get('apiVersion')}"
            self._problem(
                place, f"{named} is a plugin that runs a program or fetches; only built-in ones are used"
            )
            return
        annotations = (config.get("metadata") or {}).get("annotations") or {}
        if any(name in annotations for name in FUNCTION_ANNOTATIONS):
            self._problem(place, "a function in a container or a program is not run")
        self._paths_in(place, config)
        for field, wants in (("paths", None), ("replacements", Wants.FILE)):
            value = config.get(field)
            if value is not None and wants is None:
                self._patches((*place, field), value)
            elif isinstance(value, list):
                self._entries((*place, field), value)

    def _plugins(self, place: Path, entries: Sequence[object]) -> None:
        for index, entry in enumerate(entries):
            at = (*place, index)
            inline = _inline(entry)
            if inline is None:
                self._add(at, entry, Wants.EITHER, is_plugin=True)
                continue
            for document in inline:
                self.plugin(at, document)

    def _patches(self, place: Path, entries: object, *, start: int = 0) -> None:
        """Paths or inline patches, as kustomize tells them apart: what parses as a mapping is a patch."""
        if not isinstance(entries, list):
            self._problem(place, "is not a list")
            return
        for index, entry in enumerate(entries, start):
            if _inline(entry) is None:
                self._add((*place, index), entry, Wants.FILE)

    def _list(self, place: Path, entries: object, wants: Wants, *, with_keys: bool = False) -> None:
        if not isinstance(entries, list):
            self._problem(place, "is not a list")
            return
        for index, entry in enumerate(entries):
            if with_keys and isinstance(entry, str):
                entry = entry.partition("=")[2] or entry  # `key=path`
            self._add((*place, index), entry, wants)

    def _add(self, place: Path, text: object, wants: Wants, *, is_plugin: bool = False) -> None:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            self._problem(place, "is not a path")
        elif len(self._found) >= MAX_REFERENCES:
            self._problem(place, "is one path too many", f"at most {MAX_REFERENCES} in a file")
        elif is_remote(text):
            self._problem(
                place,
                f"{_shown(text)} is remote; a render reads only its own repository",
                "a path in the repository",
            )
        else:
            self._found.append(
                Reference(text=text, wants=wants, place=place, lines=self._lines, is_plugin=is_plugin)
            )

    def _unknown(self, place: Path, known: frozenset[str]) -> None:
        near = get_close_matches(str(place[-1]), known, n=1)
        self._problem(place, "is not a field that Towline knows here", near[0] if near else None)

    def _problem(self, place: Path, message: str, allowed: str | None = None) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            return
        self._problems.append(
            Problem(
                message=message,
                path=_dotted(place) or None,
                line=self._lines.of(place),
                allowed=allowed,
            )
        )


def _inline(entry: object) -> list[object] | None:
    """The documents of an inline configuration or patch, or None for what must be a path."""
    if not isinstance(entry, str) or not ("\n" in entry or entry.lstrip().startswith("{")):
        return None
    try:
        values = [document.value for document in load_documents(entry.encode(), file="")]
    except (ConfigError, UnicodeEncodeError):
        return None
    return values if values and all(isinstance(value, dict) for value in values) else None


def _folded(field: str) -> str:
    """As Go's JSON decoder compares names; `casefold` also covers its two characters outside ASCII."""
    return field.casefold()


def _shown(text: str) -> str:
    """A URL without what stands before its host, which may be a password."""
    return re.sub(r"(://)[^/@]*@", r"\1", text)[:200]


def _dotted(place: Path) -> str:
    return ".".join(str(step) for step in place)
