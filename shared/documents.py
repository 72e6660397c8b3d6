"""YAML and JSON files as Kubernetes reads them: the only loader in the code base.

In come bytes of a repository (hostile: capped in size, nesting and expanded nodes) and of the operator's configuration;
out come plain values with the lines they stand on. Scalars follow goyaml.v2 (`shared/scalars.py`), a stream is cut as
kubectl cuts it, and where kubectl lets the last of two equal keys win this loader names both lines. Values are built
straight from libyaml's events: nothing named by a tag is ever made, and nesting is bounded before the C code recurses.

State owned: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from towline.shared.errors import ConfigError, Problem
from towline.shared.json_stream import TooManyValues, read_json
from towline.shared.scalars import (
    MERGE_TAG,
    OTHER_THAN_TEXT,
    STR_TAG,
    TAG_PREFIX,
    Scalar,
    Unreadable,
    key_of,
    resolve,
    resolve_tagged,
    seen_by_json,
)
from towline.shared.yaml_lines import Place, read_places

Event = Any  # PyYAML's types do not say that libyaml's events have marks

SHOWN_LEVELS = 12  # of a path in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may hold at most."""

    size_bytes: int = 10 * 1024 * 1024  # the largest bundles of CRDs have 5 MB
    nodes: int = 500_000  # with aliases expanded; 5 MB of CRDs have 150,000, and this many take some seconds
    depth: int = 100  # CRD schemas reach about 40; libyaml takes quadratic time for more, Python its stack
    problems: int = 20  # listed of one file


DEFAULT = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file. `line` counts from 1; `index` counts all documents of the file from 0."""

    value: Any
    line: int
    index: int
    source: bytes = field(
        repr=False, compare=False, default=b""
    )  # read again for lines, which only errors need

    def places(self) -> Place:
        """Where everything stands; reads the file once more."""
        return read_places(self.source, index=self.index, line=self.line)

    def line_of(self, path: Sequence[str | int]) -> int:
        """The line of a place inside, `["spec", "containers", 0]`; that of the nearest known parent otherwise."""
        return self.places().line_of(path)


def load_documents(data: bytes, *, file: str, limits: Limits = DEFAULT) -> list[Document]:
    """The documents of a YAML or JSON file; empty ones are left out. Raises ConfigError with all that is wrong."""
    if len(data) > limits.size_bytes:
        message = f"{len(data):,} bytes, more than the limit of {limits.size_bytes:,}"
        raise _unreadable([Problem(message=message, file=file)], data=b"", file=file)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(message="this is not UTF-8 text", file=file, line=line)
        raise _unreadable([problem], data=b"", file=file) from error
    if data.lstrip()[:1] == b"{":
        documents = _json_documents(data, file=file, limits=limits)
        if documents is not None:
            return documents
    return _Loader(data, file=file, limits=limits).documents()


def dump(value: Any) -> str:  # noqa: ANN401 - any value that load_documents returns
    """Plain YAML for people; load_documents reads the same value from it."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096)
    return str(text)


def _json_documents(data: bytes, *, file: str, limits: Limits) -> list[Document] | None:
    try:
        read = read_json(data.decode("utf-8"), depth=limits.depth, nodes=limits.nodes)
    except TooManyValues as error:
        problem = Problem(message=f"more than {limits.nodes:,} values", file=file)
        raise _unreadable([problem], data=b"", file=file) from error
    if read is None:
        return None
    return [Document(value=v, line=line, index=index, source=data) for index, (line, v) in enumerate(read)]


class _Refused(Exception):
    """The file is not read any further; the text says why, `line` where (counted from 0)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Enough(Exception):
    """As many problems as are listed."""


OPEN = object()  # the value of an anchor whose node has not ended, so that an alias inside itself is found


class _Loader:
    """Reads one file, once."""

    def __init__(self, data: bytes, *, file: str, limits: Limits) -> None:
        self.data, self.file, self.limits = data, file, limits
        self.take: Callable[[], Event] = CParser(data).get_event
        self.nodes = 0
        self.anchors: dict[str, tuple[Any, int]] = {}  # name -> value, number of nodes in it
        self.path: list[str | int] = []
        self.problems: list[Problem] = []

    def documents(self) -> list[Document]:
        """All of them; raises ConfigError."""
        found: list[Document] = []
        try:
            for index, (line, value) in enumerate(self._stream()):
                if value is not None:
                    found.append(Document(value=value, line=line + 1, index=index, source=self.data))
        except _Refused as error:
            self.problems.append(self._problem(str(error), error.line))
        except _Enough:
            pass
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error, data=self.data, file=self.file))
        except RecursionError:
            self.problems.append(Problem(message="nested too deep to be read here", file=self.file))
        if self.problems:
            raise _unreadable(self.problems, data=self.data, file=self.file)
        return found

    def _stream(self) -> Iterator[tuple[int, Any]]:
        self.take()  # the stream's start
        while isinstance(self.take(), DocumentStartEvent):
            self.anchors = {}
            root = self.take()
            yield root.start_mark.line, self._value(root)
            self.take()  # the document's end

    def _value(self, event: Event) -> Any:  # noqa: ANN401 - whatever the file holds
        self.nodes += 1
        kind = type(event)
        if kind is AliasEvent:
            return self._aliased(event)
        if self.nodes > self.limits.nodes:
            raise _Refused(f"more than {self.limits.nodes:,} values", event.start_mark.line)
        before = self.nodes
        if kind is ScalarEvent:
            value: Any = self._scalar(event)
        else:
            value = self._container(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes - before + 1)
        return value

    def _container(self, event: Event) -> Any:  # noqa: ANN401 - a dict or a list
        if len(self.path) >= self.limits.depth:
            raise _Refused(f"nested more than {self.limits.depth} levels deep", event.start_mark.line)
        if event.anchor is not None:
            self.anchors[event.anchor] = (OPEN, 0)
        self.path.append("")
        value = self._mapping() if type(event) is MappingStartEvent else self._sequence()
        self.path.pop()
        return value

    def _sequence(self) -> list[Any]:
        result: list[Any] = []
        while type(event := self.take()) is not SequenceEndEvent:
            self.path[-1] = len(result)
            result.append(self._value(event))
        return result

    def _mapping(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}  # of the keys written here, as merged ones may be written again
        while type(event := self.take()) is not MappingEndEvent:
            if _is_merge(event):
                self._merge(result, event)
                continue
            key = self._key(event)
            self.path[-1] = key
            line = event.start_mark.line
            if key in lines:
                self._note(f"the key {key!r} is here twice: lines {lines[key] + 1} and {line + 1}", line)
            lines[key] = line
            result[key] = self._value(self.take())
        return result

    def _key(self, event: Event) -> str:
        """The key as text; the first test settles nearly all."""
        if type(event) is not ScalarEvent or event.tag is not None or event.anchor is not None:
            return self._odd_key(event)
        self.nodes += 1
        text: str = event.value
        if not event.implicit[0] or (text and text[0] not in OTHER_THAN_TEXT):
            return text
        return self._key_text(resolve(text), event)

    def _odd_key(self, event: Event) -> str:
        if type(event) in (MappingStartEvent, SequenceStartEvent):
            raise _Refused("a mapping or a list as a key: a key must be text", event.start_mark.line)
        return self._key_text(self._value(event), event)

    def _key_text(self, value: Any, event: Event) -> str:  # noqa: ANN401 - whatever stands as a key
        try:
            if isinstance(value, dict | list):
                raise Unreadable("a mapping or a list as a key")
            return key_of(value)
        except Unreadable as error:
            self._note(f"{error}: a key must be text", event.start_mark.line)
            return ""

    def _merge(self, into: dict[str, Any], key: Event) -> None:
        """`<<`, in the order of the file as goyaml.v2 does it: a key above it is overwritten too."""
        event = self.take()
        value = self._value(event)
        maps = value[::-1] if type(event) is SequenceStartEvent else [value]
        for each in maps:
            if not isinstance(each, dict):
                self._note("`<<` needs a mapping, or a list of mappings", key.start_mark.line)
                return
            into.update(each)

    def _scalar(self, event: Event) -> Scalar:
        text: str = event.value
        try:
            if event.tag is not None:
                return seen_by_json(resolve_tagged(event.tag, text))
            if not event.implicit[0] or (text and text[0] not in OTHER_THAN_TEXT):
                return text
            return seen_by_json(resolve(text))
        except Unreadable as error:
            self._note(str(error), event.start_mark.line)
            return None

    def _aliased(self, event: Event) -> Any:  # noqa: ANN401 - whatever the anchor names
        line = event.start_mark.line
        value, size = self.anchors.get(event.anchor, (None, 0))
        if size == 0:
            what = "contains itself" if value is OPEN else "is not known here"
            raise _Refused(f"the anchor {event.anchor!r} {what}", line)
        self.nodes += size
        if self.nodes > self.limits.nodes:
            raise _Refused(f"more than {self.limits.nodes:,} values once aliases are expanded", line)
        return self._copied(value, len(self.path), line)

    def _copied(self, value: Any, depth: int, line: int) -> Any:  # noqa: ANN401 - as above
        """A value of its own for each alias, so that whoever changes one copy changes no other."""
        if not isinstance(value, dict | list):
            return value
        if depth >= self.limits.depth:
            raise _Refused(f"nested more than {self.limits.depth} levels deep by aliases", line)
        if isinstance(value, dict):
            return {key: self._copied(item, depth + 1, line) for key, item in value.items()}
        return [self._copied(item, depth + 1, line) for item in value]

    def _note(self, message: str, line: int) -> None:
        """Keep a problem; enough of them end the reading."""
        self.problems.append(self._problem(message, line))
        if len(self.problems) >= self.limits.problems:
            raise _Enough

    def _problem(self, message: str, line: int) -> Problem:
        path = ".".join(str(step) for step in self.path[:SHOWN_LEVELS]) or None
        return Problem(message=message, file=self.file, line=line + 1, path=path)


def _is_merge(key: Event) -> bool:
    is_sign = type(key) is ScalarEvent and key.value == "<<"
    return is_sign and (key.implicit[0] or key.tag == MERGE_TAG)


def _syntax_problem(error: yaml.YAMLError, *, data: bytes, file: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        text = ", ".join(part for part in (error.context, error.problem) if part)
        if error.context_mark is not None and mark is not None and error.context_mark.line != mark.line:
            text += f" (what began in line {error.context_mark.line + 1})"
        return Problem(message=text, file=file, line=mark.line + 1 if mark is not None else None)
    if isinstance(error, yaml.reader.ReaderError):
        line = data.count(b"\n", 0, error.position) + 1
        return Problem(message=str(error.reason), file=file, line=line)
    return Problem(message=str(error), file=file)


def _unreadable(problems: Sequence[Problem], *, data: bytes, file: str) -> ConfigError:
    hint = "correct the file"
    if b"{{" in data:
        hint = "this looks like a template, which has to be rendered first"
    return ConfigError(f"{file} cannot be read as YAML", problems=problems, hint=hint)


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that Kubernetes, or a YAML 1.1 reader elsewhere, would take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        """Two equal parts are written twice: people read `&id001` badly."""
        return True

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:  # noqa: ANN401 - PyYAML's signature
        """The tag that a reader would give to this text without quotes."""
        usual = str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        if (
            kind is yaml.ScalarNode
            and implicit[0]
            and usual == STR_TAG
            and not isinstance(resolve(value), str)
        ):
            return TAG_PREFIX + "null"  # any tag that is not the string's makes the emitter quote
        return usual
