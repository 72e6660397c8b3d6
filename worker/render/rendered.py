"""What a render yields: objects, each with the place in the repository that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from towline.shared.documents import Document
from towline.shared.model import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One object: `file` and `line` (from 1) say where a person finds it."""

    object: Object
    file: str
    line: int

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A document, or an item of the list in it, before anybody knows that it is an object."""

    value: Any
    file: str
    line: int
    document: Document | None = None  # where the lines of what is inside are those of `file`
