"""The description of the API agrees with its routes and models."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from towline.receiver.api import OPERATIONS, PREFIX
from towline.receiver.openapi import description


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return description(OPERATIONS, prefix=PREFIX)


def test_every_operation_is_described_once(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path): operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "security" not in operation
    }

    assert described == {
        (operation.method, PREFIX + re.sub(r"<(\w+)>", r"{\1}", operation.path)): operation.name
        for operation in OPERATIONS
    }


def test_every_parameter_in_a_path_is_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


def test_a_body_is_required_where_a_field_of_it_is(document: dict[str, Any]) -> None:
    required = {
        operation["operationId"]: operation["requestBody"]["required"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }

    optional = dict.fromkeys(["syncRelease", "rollbackRelease", "pinRelease"], False)
    assert required == {**optional, "push": True, "receive": True}


def test_who_is_to_wait_is_told_so(document: dict[str, Any]) -> None:
    responses = document["paths"]["/webhooks/{repository}"]["post"]["responses"]

    assert {code for code, answer in responses.items() if "Retry-After" in answer.get("headers", {})} == {
        "429",
        "503",
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))

    assert references
    for reference in references:
        place = document
        for step in reference.split("/"):
            place = place[step]


def test_every_model_is_a_valid_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_names_in_json_are_those_of_the_release_status(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["ReleaseDetail"]["properties"]

    assert {
        "environment",
        "service",
        "repository",
        "ref",
        "revision",
        "stableRevision",
        "quarantined",
        "phase",
        "health",
        "message",
        "history",
        "objects",
        "syncedAt",
        "conditions",
    } <= set(properties)
