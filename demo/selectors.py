"""Label and field selectors of list and watch requests: terms of equality, inequality and existence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from towline.demo.request import Object


@dataclass(frozen=True, slots=True)
class Term:
    """One condition; `value` None: anything, as long as it is there."""

    name: str
    value: str | None
    is_equal: bool = True

    def holds(self, found: str | None) -> bool:
        """Whether what was found under the name is as wanted."""
        if self.value is None:
            return found is not None
        return (found == self.value) is self.is_equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which objects of a kind are meant; the fields of any kind may be named, by their path."""

    labels: tuple[Term, ...] = ()
    fields: tuple[Term, ...] = ()

    def matches(self, object: Object) -> bool:
        """Whether an object is meant."""
        labels = object["metadata"].get("labels") or {}
        return all(term.holds(labels.get(term.name)) for term in self.labels) and all(
            term.holds(_field(object, term.name)) for term in self.fields
        )


def selector(labels: str, fields: str) -> Selector:
    """What `labelSelector` and `fieldSelector` say."""
    return Selector(labels=tuple(_terms(labels)), fields=tuple(_terms(fields)))


def _terms(text: str) -> Iterator[Term]:
    for term in filter(None, text.split(",")):
        if "!=" in term:
            name, _, value = term.partition("!=")
            yield Term(name, value, is_equal=False)
        elif "=" in term:
            name, _, value = term.replace("==", "=").partition("=")
            yield Term(name, value)
        else:
            yield Term(term, None)


def _field(object: Object, path: str) -> str:
    value: Any = object
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)
