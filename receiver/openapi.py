"""The OpenAPI 3.1 description: the API from its table of operations, and the calls beside it; all bodies from models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from towline import __version__
from towline.receiver.api_models import Input, NothingToDo, Probe, PushAccepted
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
    "413": "The body is too long",
    "422": "The input is not of this form",
    "503": "Redis does not answer",
}

DELIVERY_ERRORS = {
    "400": "Signed right, and not what this forge sends",
    "401": "The signature is missing or wrong, or its time is too far away",
    "404": "There is no repository of this name",
    "408": "The body did not arrive in time",
    "413": "The body is above `server.max_body_bytes`",
    "429": "More deliveries than the repository's `webhook.rate_limit`",
    "503": "Redis does not answer, or none of the repository's secrets can be read; nothing was claimed",
}
WAITING = frozenset({"429", "503"})  # these say when to come again


def description(operations: Sequence[Operation], *, prefix: str) -> Json:
    """The whole document."""
    schemas = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        path = prefix + PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, schemas)
    paths |= _beside(prefix)
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
            "responses": {code: _problem(code, text) for code, text in ERRORS.items()},
            "schemas": schemas,
        },
    }


def _schemas(operations: Sequence[Operation]) -> Json:
    answers: set[type[BaseModel]] = {ProblemBody, PushAccepted, NothingToDo, Probe}
    answers |= {operation.answer for operation in operations}
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
        found["requestBody"] = {
            "required": any(field.is_required() for field in operation.takes.model_fields.values()),
            "content": _content("application/json", operation.takes),
        }
    return found


def _beside(prefix: str) -> dict[str, Json]:
    """What needs no token: deliveries prove themselves, the rest is open."""
    ready = _open("ready", "Whether deliveries can be taken now", _content("application/json", Probe))
    ready["responses"]["503"] = {"$ref": "#/components/responses/503"}
    return {
        "/webhooks/{repository}": {"post": _receive()},
        f"{prefix}/openapi.json": {"get": _open("openapi", "This description", {"application/json": {}})},
        "/healthz": {"get": _open("alive", "This process answers", _content("application/json", Probe))},
        "/readyz": {"get": ready},
        "/metrics": {
            "get": _open("metrics", "Prometheus' text format", {"text/plain": {"schema": {"type": "string"}}})
        },
    }


def _open(name: str, summary: str, content: Json) -> Json:
    answer = {"description": summary, "content": content}
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": answer}}


def _receive() -> Json:
    """The call that forges make; what they send is theirs to describe."""
    body = {"schema": {"type": "object"}}
    return {
        "operationId": "receive",
        "summary": "A delivery of a forge, in the form and with the signature of `webhook.forge`",
        "security": [],
        "parameters": [
            {"name": "repository", "in": "path", "required": True, "schema": {"type": "string"}},
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": body, "application/x-www-form-urlencoded": body},
        },
        "responses": {
            "202": {
                "description": "Recorded and enqueued",
                "content": _content("application/json", PushAccepted),
            },
            "200": {
                "description": "Understood, nothing to do",
                "content": _content("application/json", NothingToDo),
            },
            **{code: _problem(code, text) for code, text in DELIVERY_ERRORS.items()},
        },
    }


def _query(model: type[Input], schemas: Json) -> list[Json]:
    properties: dict[str, Json] = schemas[model.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _content(media_type: str, model: type[BaseModel]) -> Json:
    return {media_type: {"schema": {"$ref": MODELS + model.__name__}}}


def _problem(code: str, text: str) -> Json:
    answer: Json = {"description": text, "content": _content("application/problem+json", ProblemBody)}
    if code in WAITING:
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return answer
