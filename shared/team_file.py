"""The form of `.towline.yaml`, key by key; the published JSON Schema is generated from these models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from towline.shared.config_values import Label, Part, Variable
from towline.shared.durations import Seconds, parse_seconds
from towline.shared.health_rules import HealthRules
from towline.shared.paths import is_inside
from towline.shared.validation import ALLOWED

USUAL_TIMEOUT_SECONDS = 300
POINTER = r"^(/([^~/]|~[01])*)+$"  # RFC 6901
ROLLBACK = "true, false, or {watch: 10m}"
INSIDE = "a relative path inside the repository, without `..`"


class RenderWith(StrEnum):
    """How files become objects."""

    PLAIN = "plain"
    KUSTOMIZE = "kustomize"
    HELM = "helm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What happens to a bad revision; `watch_seconds`: how long one that was stable may still turn bad."""

    enabled: bool
    watch_seconds: int | None = None


def _inside(path: str) -> str:
    if not is_inside(path):
        raise PydanticCustomError("path", "leads out of the repository", {"allowed": INSIDE})
    return path


def _rollback(value: Any) -> Rollback:  # noqa: ANN401 - whatever stands in the file
    if isinstance(value, bool):
        return Rollback(enabled=value)
    watch = value.get("watch") if isinstance(value, dict) and len(value) == 1 else None
    seconds = parse_seconds(watch) if isinstance(watch, str) else None
    if seconds is None:
        raise PydanticCustomError("rollback", "is not understood", {"allowed": ROLLBACK})
    return Rollback(enabled=True, watch_seconds=seconds)


Path = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_inside)]
Pointer = Annotated[
    str,
    Field(
        pattern=POINTER,
        max_length=1024,
        json_schema_extra={ALLOWED: "a JSON pointer, such as /spec/replicas"},
    ),
]
RollbackChoice = Annotated[
    Rollback,
    PlainValidator(_rollback),
    PlainSerializer(asdict),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "object",
                    "properties": {"watch": {"type": "string"}},
                    "required": ["watch"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class ServiceEntry(Part):
    """One service."""

    path: Path = Field(description="Folder (or single file) that it is rendered from.")
    render: RenderWith | None = Field(default=None, description="Found out by itself when left out.")
    overlays: dict[Label, Path] = Field(
        default_factory=dict,
        description="Another path for an environment.",
        examples=[{"production": "a/prod"}],
    )
    values: tuple[Path, ...] = Field(
        default=(), description="Values files of a chart, `{environment}` filled in; later ones win."
    )
    substitute: dict[Variable, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict,
        description="Values for ${NAME} in the rendered objects; no other name is replaced.",
    )
    depends_on: tuple[Label, ...] = Field(
        default=(), description="Services that are synced and healthy first when both change."
    )
    timeout_seconds: Seconds = Field(
        default=USUAL_TIMEOUT_SECONDS,
        alias="timeout",
        json_schema_extra={"default": "5m"},
        description="How long it may take to become healthy.",
    )
    rollback: RollbackChoice = Field(
        default=Rollback(enabled=True),
        json_schema_extra={"default": True},
        description="false: report only. {watch: 10m}: also for what fails after it was stable.",
    )
    drift: Literal["heal", "report", "off"] | None = Field(
        default=None, description="What is done about changes made in the cluster."
    )
    ignore_drift: tuple[Pointer, ...] = Field(default=(), description="Fields whose changes do not count.")
    health: HealthRules = Field(
        default_factory=dict,
        description="Health of kinds that Towline does not know, as CEL over `self`; before the operator's.",
    )


class ServicesPart(Part):
    """Services by name; `discover` finds more by pattern, so no service can have that name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ServiceEntry] = Field(init=False)

    discover: tuple[Path, ...] = Field(
        default=(), description="Patterns of folders that are services.", examples=[["services/*"]]
    )


class TeamFile(Part):
    """How a repository's services are delivered."""

    model_config = ConfigDict(title=".towline.yaml")

    services: ServicesPart = Field(default_factory=ServicesPart)
    groups: dict[Label, Annotated[tuple[Label, ...], Field(min_length=1)]] = Field(
        default_factory=dict, description="Services that are verified and rolled back together."
    )
    config: Path | None = Field(
        default=None, description="Folder of central settings, layered base, environment, service."
    )
