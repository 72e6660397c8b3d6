"""The OpenAPI 3.1 description, made from the table of operations and their pydantic models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from towline import __version__
from towline.receiver.api_models import Input
from towline.receiver.calls import Operation
from towline.receiver.problem_types import ProblemBody

Json = dict[str, Any]
MODELS = "#/components/schemas/"
PARAMETER = re.compile(r"<(\w+)>")

ERRORS = {
    "401": "No token, or one that is wrong, expired or revoked",
    "403": "The token does not have the scope",
    "404": "It does not exist, or not for this token",
    "409": "It is in a state that does not allow this",
    "422": "The input is not of this form",
    "503": "Redis does not answer",
}


def description(operations: Sequence[Operation], *, prefix: str) -> Json:
    """The whole document."""
    schemas = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        path = prefix + PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Towline", "version": __version__, "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "made by `towline token create`",
                }
            },
            "responses": {code: _problem(text) for code, text in ERRORS.items()},
            "schemas": schemas,
        },
    }


def _schemas(operations: Sequence[Operation]) -> Json:
    answers: set[type[BaseModel]] = {operation.answer for operation in operations} | {ProblemBody}
    inputs: set[type[BaseModel]] = {operation.takes for operation in operations if operation.takes}
    ordered = sorted(answers, key=lambda model: model.__name__)
    _, given = models_json_schema(
        [(model, "serialization") for model in ordered], ref_template=MODELS + "{model}"
    )
    ordered = sorted(inputs, key=lambda model: model.__name__)
    _, taken = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=MODELS + "{model}"
    )
    return dict(sorted({**taken.get("$defs", {}), **given.get("$defs", {})}.items()))


def _operation(operation: Operation, schemas: Json) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PARAMETER.findall(operation.path)
    ]
    found: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`.",
        "parameters": parameters,
        "responses": {
            str(operation.status): {
                "description": (operation.answer.__doc__ or "").strip(),
                "content": _content("application/json", operation.answer),
            },
            **{code: {"$ref": f"#/components/responses/{code}"} for code in ERRORS},
        },
    }
    if operation.takes and operation.method == "GET":
        parameters += _query(operation.takes, schemas)
    elif operation.takes:
        found["requestBody"] = {"content": _content("application/json", operation.takes)}
    return found


def _query(model: type[Input], schemas: Json) -> list[Json]:
    properties: dict[str, Json] = schemas[model.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _content(media_type: str, model: type[BaseModel]) -> Json:
    return {media_type: {"schema": {"$ref": MODELS + model.__name__}}}


def _problem(text: str) -> Json:
    return {"description": text, "content": _content("application/problem+json", ProblemBody)}
