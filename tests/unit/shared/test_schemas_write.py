"""The published JSON Schemas: current, valid, and in agreement with the models about right and wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from towline.shared.config import parse_config
from towline.shared.documents import load_documents
from towline.shared.errors import ConfigError
from towline.shared.schemas_write import FILES, FOLDER, schema_text
from towline.shared.team_config import parse_team_config

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
PAIRS = {"towline.schema.json": "towline.yaml", "team.schema.json": ".towline.yaml"}


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return schema


def value_of(text: str) -> Any:
    return load_documents(text.encode(), file="f.yaml")[0].value


def parts_with_default(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "default" in part and "properties" not in part:
            yield part
        for inner in part.values():
            yield from parts_with_default(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from parts_with_default(inner)


def test_every_schema_of_the_folder_is_generated() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_schema_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == schema_text(FILES[name]), "run: make schemas"


@pytest.mark.parametrize("name", FILES)
def test_a_schema_is_valid_and_takes_the_example(name: str) -> None:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)

    errors = list(Draft202012Validator(schema).iter_errors(value_of((EXAMPLES / PAIRS[name]).read_text())))

    assert errors == []


@pytest.mark.parametrize("name", FILES)
def test_every_default_in_a_schema_is_one_that_may_be_written(name: str) -> None:
    schema = schema_of(name)

    wrong = [
        part
        for part in parts_with_default(schema)
        if not Draft202012Validator({**part, "$defs": schema["$defs"]}).is_valid(part["default"])
    ]

    assert wrong == []


@pytest.mark.parametrize("name", FILES)
def test_an_example_names_its_schema_for_editors(name: str) -> None:
    first = (EXAMPLES / PAIRS[name]).read_text().splitlines()[0]

    hint = first.removeprefix("# yaml-language-server: $schema=")

    assert hint != first
    assert (EXAMPLES / hint).resolve() == (FOLDER / name).resolve()


@pytest.mark.parametrize(
    "text",
    [
        "sycn: {}",
        "server: {secret_key: x}",
        "server: {secret_key: {env: A, file: B}}",
        "server: {max_body_bytes: 1}",
        "environments: {a: {cluster: c}}",
        "environments: {A: {cluster: c, namespace: n-s}}",
        "environments: {a: {cluster: c, namespace: n-s, max_prune: 101%}}",
        "environments: {a: {cluster: c, namespace: n-s, ttl: soon}}",
        "repositories: [{name: x}]",
        "repositories: {name: x}",
    ],
)
def test_schema_and_model_refuse_the_same_operators_file(text: str) -> None:
    assert not Draft202012Validator(schema_of("towline.schema.json")).is_valid(value_of(text))
    with pytest.raises(ConfigError):
        parse_config(text.encode(), file="f.yaml", folder=Path())


@pytest.mark.parametrize(
    "text",
    [
        "service: {}",
        "services: {a: {}}",
        "services: {a: {path: x, timeout: 5}}",
        "services: {a: {path: x, y: z}}",
    ],
)
def test_schema_and_model_refuse_the_same_team_file(text: str) -> None:
    assert not Draft202012Validator(schema_of("team.schema.json")).is_valid(value_of(text))
    with pytest.raises(ConfigError):
        parse_team_config(text.encode())


def test_the_documentation_names_every_key() -> None:
    text = (EXAMPLES.parent / "configure.md").read_text(encoding="utf-8")
    parts = [part for name in FILES for part in [schema_of(name), *schema_of(name)["$defs"].values()]]
    keys = {key for part in parts for key in part.get("properties", {})}

    missing = {
        key
        for key in keys
        if f"`{key}`" not in text and f"### {key}\n" not in text and f"{{{key}: " not in text
    }

    assert missing == set()
