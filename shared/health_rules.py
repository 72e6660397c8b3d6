"""Health rules of users, as both configuration files hold them: a kind, and a CEL expression over `self`.

In: what stands in a file. Out: the same, checked: an expression that does not compile is a problem of the file.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from towline.shared import cel
from towline.shared.validation import ALLOWED

GROUP_KIND = r"^([a-z0-9][-a-z0-9.]*/)?[A-Z][A-Za-z0-9]*$"
GIVES = "a CEL expression over self that gives true, false, or the name of a health"


def _compiles(expression: str) -> str:
    problem = cel.problem_of(expression)
    if problem is not None:
        # Not a template of the message: an expression may hold braces.
        raise PydanticCustomError(
            "cel", "is no health rule: {problem}", {"problem": problem, "allowed": GIVES}
        )
    return expression


GroupKind = Annotated[
    str,
    Field(
        pattern=GROUP_KIND,
        max_length=253,
        json_schema_extra={ALLOWED: "Kind or group/Kind, without a version"},
    ),
]
Expression = Annotated[
    str, Field(min_length=1, max_length=cel.EXPRESSION_CHARACTERS), AfterValidator(_compiles)
]
HealthRules = dict[GroupKind, Expression]
