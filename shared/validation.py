"""Holds a YAML document against a pydantic model, and says all that is wrong with it in words of the file.

In: a document and a model (strict, unknown keys refused). Out: the model, or one ConfigError with a problem for each
fault: line, path, what was found, what is allowed, the nearest name for a typo. What stands where a secret belongs is
never repeated.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from towline.shared.documents import Document, Limits, load_documents
from towline.shared.errors import ConfigError, Problem

SECRET_SCHEMA = "SecretSource"  # the title of the model that stands wherever a secret is named
ALLOWED = "x-allowed"  # a keyword of our schemas: what a pattern means, in words
MOST = 50  # problems of a kind that are listed of one file, which a stranger may have written
COMPARED = 1000  # names that a typo is compared with
SHOWN = 60  # characters of what was found
KEY = "[key]"  # pydantic's mark for a fault of a key itself

MESSAGES = {
    "missing": "is missing",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "too_short": "has too few valid entries",
    "too_long": "has too many entries",
    "string_too_short": "is empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "has a form that is not allowed",
}
CONTAINERS = {"object": "a mapping", "array": "a list"}
TYPES = {
    **CONTAINERS,
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "number": "a number",
}

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
# A place in the file, what is wrong there, what is allowed.
Fault = tuple[Location, str, str | None]


def read_single(data: bytes, *, file: str, limits: Limits) -> Document:
    """The only document of a configuration file; an empty file is an empty mapping."""
    documents = load_documents(data, file=file, limits=limits)
    if len(documents) > 1:
        problem = Problem(message="a second document; one file holds one", file=file, line=documents[1].line)
        raise invalid(file, [problem])
    return documents[0] if documents else Document(value={}, line=1, index=0, source=data)


def validated(
    model: type[Model], document: Document, *, file: str, check: Callable[[Any], Iterable[Fault]]
) -> Model:
    """The document as this model; raises ConfigError with all problems, those that `check` finds among them."""
    faults = list(islice(check(document.value), MOST))
    details: list[ErrorDetails] = []
    try:
        result = model.model_validate_json(json.dumps(document.value))
        if not faults:
            return result
    except ValidationError as error:
        details = error.errors(include_url=False)[:MOST]
    places = document.places()
    schema = model.model_json_schema()
    found = [_problem(each, schema) for each in details] + [_of_fault(fault) for fault in faults]
    problems = [replace(p, file=file, line=places.line_of(place)) for place, p in found]
    # No cause is chained: pydantic's own error repeats what it found, secrets included.
    raise invalid(file, problems)


def as_mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever the file holds
    """A mapping; empty when it is something else, which its form's check names."""
    return value if isinstance(value, dict) else {}


def as_texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever the file holds
    """The texts of a list; other things in it are passed over as above."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def invalid(file: str, problems: Sequence[Problem]) -> ConfigError:
    """The error for a file with these problems."""
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    count = "a problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return ConfigError(f"{file} has {count}", problems=ordered, hint="docs/configure.md describes every key")


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean x?` when there is a name close to this one, else nothing."""
    close = difflib.get_close_matches(name[:SHOWN], list(islice(names, COMPARED)), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _of_fault(fault: Fault) -> tuple[Location, Problem]:
    place, message, allowed = fault
    return place, Problem(message=message, path=_path(place), allowed=allowed)


def _problem(error: ErrorDetails, schema: dict[str, Any]) -> tuple[Location, Problem]:
    place = tuple(step for step in error["loc"] if step != KEY)
    if error["type"] == "extra_forbidden":
        parent, _ = _schema_at(schema, place[:-1])
        names = list(parent.get("properties", {}))
        message = f"unknown key{nearest(str(place[-1]), names)}"
        return place, Problem(message=message, path=_path(place), allowed=", ".join(names))
    expected, is_secret = _schema_at(schema, place)
    if KEY in error["loc"]:  # the fault is the key's own
        expected = _schema_at(schema, place[:-1])[0].get("propertyNames", {})
    problem = Problem(
        message=_message(error, expected, is_secret=is_secret),
        path=_path(place),
        found=_found(error, expected, is_secret=is_secret),
        allowed=error.get("ctx", {}).get("allowed") or _allowed(expected, is_secret=is_secret),
    )
    return place, problem


def _path(place: Location) -> str | None:
    return ".".join(str(step) for step in place) or None


def _message(error: ErrorDetails, expected: dict[str, Any], *, is_secret: bool) -> str:
    kind, value = error["type"], error["input"]
    if is_secret and kind != "missing" and not isinstance(value, dict):
        return "a secret is never written in the file itself"
    if "enum" in expected and isinstance(value, str):
        return f"is not one of the names that are known{nearest(value, expected['enum'])}"
    if kind.endswith("_type"):
        wanted = TYPES.get(expected.get("type", ""), "of another form")
        quotes = "; put it in quotes" if wanted == "text" and isinstance(value, int | float) else ""
        return f"must be {wanted}{quotes}"
    return MESSAGES.get(kind) or error["msg"]


def _found(error: ErrorDetails, expected: dict[str, Any], *, is_secret: bool) -> str | None:
    """What stands there; only its kind where more than a single value, or a secret, is expected."""
    value = error["input"]
    if error["type"] == "missing":
        return None
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if is_secret or expected.get("type") in CONTAINERS:
        return "text" if isinstance(value, str) else "a number"
    text = json.dumps(value, ensure_ascii=False)
    if "@" in text:  # may be an address with a password in it
        return "text"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _allowed(expected: Mapping[str, Any], *, is_secret: bool) -> str | None:
    if is_secret:
        return "{env: NAME} or {file: PATH}"
    if "enum" in expected:
        return ", ".join(str(name) for name in expected["enum"])
    if "minimum" in expected:
        return f"{expected['minimum']:,} to {expected['maximum']:,}"
    if ALLOWED in expected:
        return str(expected[ALLOWED])
    return TYPES.get(expected.get("type", ""))


def _schema_at(schema: dict[str, Any], location: Location) -> tuple[dict[str, Any], bool]:
    """The part of a JSON Schema that a place must satisfy, and whether the place is (in) a secret."""
    part = _resolved(schema, schema)
    is_secret = False
    for step in location:
        is_secret = is_secret or part.get("title") == SECRET_SCHEMA
        if isinstance(step, int):
            part = part.get("items", {})
        else:
            others = (part.get("additionalProperties"), *part.get("patternProperties", {}).values())
            part = part.get("properties", {}).get(step) or next((other for other in others if other), {})
        part = _resolved(schema, part)
    return part, is_secret or part.get("title") == SECRET_SCHEMA


def _resolved(schema: dict[str, Any], part: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema: also a bool
    while isinstance(part, dict):
        choices = [each for each in part.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        elif choices and "type" not in part:
            part = choices[-1]
        else:
            return part
    return {}
