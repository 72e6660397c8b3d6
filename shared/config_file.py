"""The form of `towline.yaml`, key by key: what may stand there, before anything is looked up or resolved.

The published JSON Schema is generated from these models; `shared/config.py` makes of them what the programs use.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from towline.shared.durations import Seconds
from towline.shared.model import Forge
from towline.shared.prune_limit import ALLOWED as PRUNE_ALLOWED
from towline.shared.prune_limit import USUAL, PruneLimit, parse_prune_limit
from towline.shared.validation import ALLOWED

BRANCH = "{branch}"  # in a namespace: makes the environment a template

LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
KIND = r"^[A-Z][A-Za-z0-9]*(\.[a-z0-9][-a-z0-9.]*)?$"

LABEL_IN_WORDS = "lower-case letters, digits and `-`, at most 63 characters"

Label = Annotated[str, Field(pattern=LABEL, max_length=63, json_schema_extra={ALLOWED: LABEL_IN_WORDS})]
Kind = Annotated[
    str,
    Field(
        pattern=KIND, max_length=253, json_schema_extra={ALLOWED: "Kind or Kind.group, such as Deployment"}
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=2048)]


class Part(BaseModel):
    """A mapping of the file: strict, and nothing but the keys that are named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class SecretSource(Part):
    """Where a secret is: an environment variable or a file, which is read again when it changes."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["env"]}, {"required": ["file"]}]},
        title="SecretSource",
    )

    env: (
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
                max_length=255,
                json_schema_extra={ALLOWED: "the name of an environment variable"},
            ),
        ]
        | None
    ) = Field(default=None, description="Name of an environment variable.")
    file: Text | None = Field(
        default=None, description="Path of a file; relative to the folder of towline.yaml."
    )

    @model_validator(mode="after")
    def _is_one(self) -> SecretSource:
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError(
                "secret", "must name one place", {"allowed": "{env: NAME} or {file: PATH}"}
            )
        return self


def _one_or_more(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _prune_limit(value: Any) -> PruneLimit:  # noqa: ANN401 - as above
    limit = parse_prune_limit(value)
    if limit is None:
        raise PydanticCustomError("prune_limit", "is not a limit", {"allowed": PRUNE_ALLOWED})
    return limit


def _listen(value: Any) -> tuple[str, int]:  # noqa: ANN401 - as above
    match = (
        re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):([0-9]{1,5})", value)
        if isinstance(value, str)
        else None
    )
    if match is None or int(match[2]) > 65535:
        raise PydanticCustomError(
            "listen", "is not an address", {"allowed": "host:port, such as 127.0.0.1:8080"}
        )
    return match[1].strip("[]"), int(match[2])


Listen = Annotated[
    tuple[str, int], PlainValidator(_listen), WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]{1,5}$"})
]
MaxPrune = Annotated[
    PruneLimit,
    PlainValidator(_prune_limit),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"}]}
    ),
]
OneOrMoreNames = Annotated[
    tuple[Label, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]


class RedisPart(Part):
    """The Redis (or Valkey) that holds work in flight."""

    url: (
        Annotated[
            str,
            Field(
                pattern=r"^(rediss?|unix)://",
                max_length=2048,
                json_schema_extra={ALLOWED: "redis://host:port/db, rediss://..., unix:///path"},
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Without it `towline up` starts a Redis of its own.",
        examples=[
            "redis://localhost:6379/0",
            "rediss://redis.example.com:6380/0",
            "unix:///run/redis.sock?db=0",
        ],
    )
    password: SecretSource | None = Field(default=None, description="Password, when Redis asks for one.")


class ServerPart(Part):
    """The receiver."""

    listen: Listen = Field(
        default=("127.0.0.1", 8080), description="Address to listen on.", examples=["127.0.0.1:8080"]
    )
    public_url: (
        Annotated[
            str,
            Field(
                pattern=r"^https?://[^/@\s]+", max_length=2048, json_schema_extra={ALLOWED: "https://host"}
            ),
        ]
        | None
    ) = Field(default=None, description="Address under which people and forges reach the receiver.")
    secret_key: SecretSource | None = Field(
        default=None,
        description="Signs tokens, sessions and jobs. Without it one is made and kept in data_dir.",
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=1024**3)] = Field(
        default=25 * 1024 * 1024, description="Largest body of a delivery; GitHub's own limit by default."
    )


class ClusterPart(Part):
    """A Kubernetes API server and how to sign in there."""

    kubeconfig: Text | None = Field(
        default=None, description="Path of a kubeconfig; the usual place by default."
    )
    context: Text | None = Field(default=None, description="Context in it; the current one by default.")
    in_cluster: bool = Field(
        default=False, description="Use the service account of the pod that Towline runs in."
    )

    @model_validator(mode="after")
    def _is_one(self) -> ClusterPart:
        if self.in_cluster and (self.kubeconfig or self.context):
            raise PydanticCustomError(
                "cluster", "in_cluster: true leaves no room for kubeconfig or context", {}
            )
        return self


class EnvironmentPart(Part):
    """Where a branch is deployed, and the limits there."""

    cluster: Text = Field(description="Name of one of the clusters.")
    namespace: Annotated[
        str,
        Field(
            pattern=r"^[-a-z0-9]*(\{branch\})?[-a-z0-9]*$",
            min_length=1,
            max_length=63,
            json_schema_extra={
                ALLOWED: "lower-case letters, digits and `-`, with {branch} once in a template"
            },
        ),
    ] = Field(
        description="Namespace of its own. One with {branch} makes a template: an environment a branch."
    )
    service_account: Label | None = Field(
        default=None, description="Act as this service account of the namespace instead of as Towline itself."
    )
    allowed_kinds: tuple[Kind, ...] | None = Field(
        default=None, description="Kinds that may be applied, `Kind` or `Kind.group`; all by default."
    )
    allowed_namespaces: tuple[Label, ...] = Field(
        default=(), description="Further namespaces that objects may name."
    )
    cluster_scoped: bool | None = Field(
        default=None,
        description="Whether cluster-scoped objects may be applied; yes by default, no in a template.",
    )
    max_prune: MaxPrune = Field(
        default=USUAL,
        description="What one sync may delete without an operator's word: a number or a share of objects.",
    )
    prune_kinds: tuple[Literal["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"], ...] = (
        Field((), description="Kinds that are never deleted unless they are listed here.")
    )
    create_namespace: bool = Field(default=True, description="Make the namespace when it is missing.")
    unverified: bool = Field(
        default=False, description="Go on where an admission webhook cannot do a dry run."
    )
    drift: Literal["heal", "report", "off"] | None = Field(
        default=None,
        description="What is done about changes made in the cluster, where a service does not say.",
    )
    ttl: Seconds | None = Field(
        default=None, description="How long an environment of a template lives after its last push."
    )


class WebhookPart(Part):
    """How the forge calls."""

    forge: Forge = Field(description="The software that hosts the repository.")
    secrets: Annotated[tuple[SecretSource, ...], Field(min_length=1, max_length=10)] = Field(
        description="Any of these may have signed; several while a secret is being changed."
    )
    sha1: bool = Field(default=False, description="Accept signatures by SHA-1 alone, which old forges send.")
    rate_limit: Annotated[
        str,
        Field(
            pattern=r"^[1-9][0-9]{0,6}/(second|minute|hour)$",
            json_schema_extra={ALLOWED: "a number per second, minute or hour, such as 600/minute"},
        ),
    ] = Field(default="6000/minute", description="Deliveries accepted in a time; more are answered 429.")


class CredentialsPart(Part):
    """How Towline signs in at the Git server."""

    username: Text | None = Field(default=None, description="User for https.")
    password: SecretSource | None = Field(default=None, description="Password or token for https.")
    ssh_key: SecretSource | None = Field(default=None, description="Private key for ssh.")
    passphrase: SecretSource | None = Field(default=None, description="Passphrase of the private key.")
    known_hosts: SecretSource | None = Field(
        default=None, description="Host keys as in OpenSSH's known_hosts; ~/.ssh/known_hosts by default."
    )
    ca_file: Text | None = Field(default=None, description="Certificates to trust instead of the system's.")

    @model_validator(mode="after")
    def _is_one(self) -> CredentialsPart:
        allowed = {"allowed": "username and password for https, or ssh_key for ssh"}
        if self.ssh_key is not None and (self.username or self.password):
            raise PydanticCustomError("credentials", "has credentials for both https and ssh", allowed)
        if (self.username is None) != (self.password is None):
            raise PydanticCustomError("credentials", "has half of what https asks for", allowed)
        return self


class RepositoryPart(Part):
    """A Git repository that deploys."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
            json_schema_extra={ALLOWED: "letters, digits, `.`, `_` and `-`, at most 63 characters"},
        ),
    ] = Field(description="Its name here, and the last part of its webhook's address: /webhooks/<name>.")
    url: Text = Field(description="Where it is fetched from, by https or ssh.")
    aliases: tuple[Text, ...] = Field(default=(), description="Further addresses that deliveries may name.")
    allow_insecure: bool = Field(default=False, description="Allow http:// and file:// addresses.")
    webhook: WebhookPart
    credentials: CredentialsPart | None = None
    branches: Annotated[dict[Text, OneOrMoreNames], Field(min_length=1)] = Field(
        description="Branch or pattern to environments: exact names first, then patterns in order; "
        "`*` stops at `/`, `**` does not."
    )
    services: tuple[Text, ...] = Field(
        default=(),
        description="Patterns of folders that are services, where the repository has no .towline.yaml.",
    )


class SyncPart(Part):
    """How work is done."""

    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2, description="General workers of a host; one more is kept for urgent work."
    )
    requests_parallel: Annotated[int, Field(ge=1, le=128)] = Field(
        default=16, description="Requests of a worker to one cluster at the same time."
    )
    clock_interval: Seconds = Field(
        default=180, description="How often every repository's refs are looked at."
    )
    history: Annotated[int, Field(ge=1, le=50)] = Field(default=10, description="Attempts kept in a Release.")
    stored_revisions: Annotated[int, Field(ge=2, le=10)] = Field(
        default=3, description="Rendered revisions kept in the cluster for rollback."
    )


class TowlineFile(Part):
    """The operator's configuration of Towline."""

    model_config = ConfigDict(title="towline.yaml")

    redis: RedisPart = Field(default_factory=RedisPart)
    data_dir: Text = Field(
        default="~/.towline", description="Folder for mirrors, which can be lost, and the secret key."
    )
    server: ServerPart = Field(default_factory=ServerPart)
    clusters: dict[Label, ClusterPart] = Field(default_factory=dict)
    environments: dict[Label, EnvironmentPart] = Field(default_factory=dict)
    repositories: tuple[RepositoryPart, ...] = ()
    sync: SyncPart = Field(default_factory=SyncPart)
