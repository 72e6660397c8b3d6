"""What the `type` of a problem+json answer leads to: one page an error class (RFC 9457 3.1.1), and docs/errors.md.

`python -m towline.receiver.problem_types > docs/errors.md` writes the latter; a test compares the two.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict

from towline.receiver.access import page
from towline.receiver.context import Context
from towline.shared.errors import NotFound, TowlineError

PREFIX = "/problems/"


class ProblemLine(BaseModel):
    """One thing that is wrong, and where."""

    model_config = ConfigDict(extra="forbid")

    message: str
    object: str | None = None
    file: str | None = None
    line: int | None = None
    path: str | None = None
    found: str | None = None
    allowed: str | None = None


class ProblemBody(BaseModel):
    """An answer of media type application/problem+json."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = None
    release: str | None = None
    problems: list[ProblemLine] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """One class of the error tree as people read it."""

    name: str
    title: str
    status: int
    retry: bool
    below: int  # levels under TowlineError


def kebab(name: str) -> str:
    """`ClusterDown` as it stands in a URL."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def problem_types() -> list[ProblemType]:
    """The whole tree, each class under the one it derives from."""
    return list(_walk(TowlineError, 0))


def _walk(error: type[TowlineError], below: int) -> Iterator[ProblemType]:
    title = (error.__doc__ or "").strip().splitlines()[0]
    yield ProblemType(
        name=kebab(error.__name__), title=title, status=error.status, retry=error.retry, below=below
    )
    for each in error.__subclasses__():
        if each.__module__ == TowlineError.__module__:
            yield from _walk(each, below + 1)


def markdown() -> str:
    """docs/errors.md."""
    lines = [
        "# Errors",
        "",
        "Every answer of the API that is an error is `application/problem+json` (RFC 9457): `type` is one of the",
        "names below under `/problems/`, `title` its meaning, `detail` what happened to which object, `hint` what to",
        "do. `problems` lists each thing that is wrong, with file, line and path where there are any. Answers 429 and",
        "503 carry `Retry-After`. An error of a job is shown with the release, in the same words.",
        "",
        "*Tried again* says whether a job that ends so is run again by itself, with growing delays.",
        "",
        "<!-- generated: python -m towline.receiver.problem_types > docs/errors.md -->",
        "",
        "| type | status | tried again | meaning |",
        "|---|---|---|---|",
    ]
    for each in problem_types():
        indent = "&nbsp;&nbsp;" * each.below
        retry = "yes" if each.retry else "no"
        lines.append(f"| {indent}`{each.name}` | {each.status} | {retry} | {each.title} |")
    return "\n".join(lines) + "\n"


def blueprint(context: Context) -> Blueprint:
    """`/problems/<name>`, open to everybody: it says nothing about this installation."""
    routes = Blueprint("problem_types", __name__, url_prefix=PREFIX, template_folder="templates")
    known = {each.name: each for each in problem_types()}

    @routes.get("/<name>")
    def show(name: str) -> Response:
        if name not in known:
            raise NotFound("there is no such type of problem", hint="docs/errors.md lists them")
        return page("problem.html", problem=known[name])

    return routes


if __name__ == "__main__":
    sys.stdout.write(markdown())
