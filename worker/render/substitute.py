"""`${NAME}` in rendered objects, for the names that .towline.yaml lists and no others.

In: an object and the values. Out: a new object. Pure.

Objects are values by now, not text: whether `${PORT}` was quoted is not known any more. So a value that is a whole
`${NAME}` becomes a number or a truth value when its text is one, except in the places where Kubernetes takes only
text (labels, annotations, data, environment variables, arguments, names). A part of a longer text stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from towline.shared.documents import load_documents
from towline.shared.errors import ConfigError
from towline.shared.model import Object

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What stands below one of these keys is text, however it looks.
MAPPINGS = "labels annotations matchLabels nodeSelector data stringData binaryData parameters"
FIELDS = "name namespace value image args command apiVersion kind host"
TEXT = frozenset(f"{MAPPINGS} {FIELDS}".split())


def substituted(value: Object, values: Mapping[str, str]) -> Object:
    """The object with the listed names replaced; `$${NAME}` gives `${NAME}`. Keys are left as they are."""
    if not values:
        return value
    names = "|".join(sorted(map(re.escape, values), key=len, reverse=True))
    return _Substitution(re.compile(rf"(\$?)\$\{{({names})\}}"), values).mapping(value, is_text=False)


class _Substitution:
    def __init__(self, pattern: re.Pattern[str], values: Mapping[str, str]) -> None:
        self._pattern = pattern
        self._values = values

    def of(self, value: object, *, is_text: bool) -> object:
        """`is_text`: only text may stand here."""
        if isinstance(value, str):
            return self._scalar(value, is_text=is_text) if "${" in value else value
        if isinstance(value, dict):
            return self.mapping(value, is_text=is_text)
        if isinstance(value, list):
            return [self.of(item, is_text=is_text) for item in value]
        return value

    def mapping(self, value: Object, *, is_text: bool) -> Object:
        """The same for all values of a mapping."""
        return {key: self.of(item, is_text=is_text or key in TEXT) for key, item in value.items()}

    def _scalar(self, text: str, *, is_text: bool) -> object:
        whole = self._pattern.fullmatch(text)
        if whole and not whole[1]:
            replacement = self._values[whole[2]]
            return replacement if is_text else _typed(replacement)
        return self._pattern.sub(lambda match: self._part(match), text)

    def _part(self, match: re.Match[str]) -> str:
        return match[0][1:] if match[1] else self._values[match[2]]


def _typed(text: str) -> object:
    """The text as YAML reads a plain scalar, when that is a number or a truth value."""
    try:
        documents = load_documents(text.encode(), file="")
    except (ConfigError, UnicodeEncodeError):
        return text
    value = documents[0].value if len(documents) == 1 else text
    return value if isinstance(value, bool | int | float) else text
