"""How every call of the API is answered: one Operation says what it needs, takes and gives.

Order of checks: token (401), input (422), scope (403); whether the thing exists for this caller (404) is for the
operation itself. What lies in an environment that the token does not cover is answered as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, request
from pydantic import BaseModel, ValidationError

from towline.receiver.access import Access
from towline.receiver.api_models import Input
from towline.receiver.caller import Caller
from towline.receiver.context import Context
from towline.receiver.tokens import Scope
from towline.shared.errors import InvalidInput, Problem, TooLarge

BODY_LIMIT = 16 * 1024  # bytes; the longest input has two fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of the API: what it needs, takes and gives, and the function that answers it."""

    name: str
    method: str
    path: str
    scope: Scope
    summary: str
    answer: type[BaseModel]
    run: Callable[[Caller, dict[str, str], Any], BaseModel]
    takes: type[Input] | None = None  # as query of a GET, as JSON body of a POST
    status: int = 200


def view_of(context: Context, access: Access, operation: Operation) -> Callable[..., Response]:
    """The Flask view of an operation."""

    def answer(**path: str) -> Response:
        grant = access.bearer(request)
        given = _given(operation)
        grant.require(operation.scope)
        model = operation.run(Caller(context=context, grant=grant), path, given)
        return Response(
            model.model_dump_json(by_alias=True),
            status=operation.status,
            mimetype="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return answer


def _given(operation: Operation) -> Input | None:
    """The query or body of this call, checked; raises InvalidInput with every problem of it, or TooLarge."""
    if operation.takes is None:
        return None
    try:
        if operation.method == "GET":
            return operation.takes.model_validate_strings(_query())
        body = request.stream.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"the body is longer than {BODY_LIMIT} bytes")
        return operation.takes.model_validate_json(body or b"{}")
    except ValidationError as error:
        problems = [
            Problem(message=each["msg"], path=".".join(map(str, each["loc"])) or None)
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise _invalid(problems) from error


def _query() -> dict[str, str]:
    """The parameters of this call; raises InvalidInput for one that is there twice, of which one would be dropped."""
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        raise _invalid([Problem(message="is there twice", path=name) for name in twice])
    return request.args.to_dict()


def _invalid(problems: Sequence[Problem]) -> InvalidInput:
    return InvalidInput(
        "the call is not of the documented form", hint="see /api/v1/openapi.json", problems=problems
    )
