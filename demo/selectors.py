"""Label and field selectors of list and watch requests: terms of equality and inequality, the only ones Towline uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from towline.demo.request import Object

Term = tuple[str, str, bool]  # what, its value, whether it is to be equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which objects of a kind are meant; the fields of any kind may be named, by their path."""

    labels: tuple[Term, ...] = ()
    fields: tuple[Term, ...] = ()

    def matches(self, object: Object) -> bool:
        """Whether an object is meant."""
        labels = object["metadata"].get("labels") or {}
        return all((labels.get(name) == value) is equal for name, value, equal in self.labels) and all(
            (_field(object, path) == value) is equal for path, value, equal in self.fields
        )


def selector(labels: str, fields: str) -> Selector:
    """What `labelSelector` and `fieldSelector` say."""
    return Selector(labels=tuple(_terms(labels)), fields=tuple(_terms(fields)))


def _terms(text: str) -> Iterator[Term]:
    for term in filter(None, text.split(",")):
        if "!=" in term:
            name, _, value = term.partition("!=")
            yield name, value, False
        else:
            name, _, value = term.replace("==", "=").partition("=")
            yield name, value, True


def _field(object: Object, path: str) -> str:
    value: Any = object
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)
