"""`python -m towline.shared.schemas_write`: writes the JSON Schemas of both configuration files from their models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from towline.shared.config_file import TowlineFile
from towline.shared.team_file import TeamFile

FOLDER = Path(__file__).parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES: dict[str, type[BaseModel]] = {"towline.schema.json": TowlineFile, "team.schema.json": TeamFile}


def schema_text(model: type[BaseModel]) -> str:
    """The JSON Schema of a file as text."""
    return json.dumps({"$schema": DIALECT, **_closed(model.model_json_schema())}, indent=2) + "\n"


def _closed(part: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """Where keys have a form, others are refused: pydantic leaves that to `patternProperties`, which lets them pass."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {"additionalProperties": False} if "patternProperties" in part else {}
    return {**closed, **{key: _closed(value) for key, value in part.items()}}


def write() -> None:
    """Write all of them where they are packaged."""
    for name, model in FILES.items():
        (FOLDER / name).write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    write()
