"""The form of `towline.yaml`, key by key: what may stand there, before anything is looked up or resolved.

The published JSON Schema is generated from these models; `shared/config.py` makes of them what the programs use.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from towline.shared.config_values import (
    Kind,
    Label,
    Listen,
    MaxPrune,
    Namespace,
    OneOrMoreNames,
    Part,
    PublicUrl,
    RateLimit,
    RedisUrl,
    RepositoryName,
    Text,
    Variable,
)
from towline.shared.durations import Seconds
from towline.shared.health_rules import HealthRules
from towline.shared.model import Forge
from towline.shared.pod_limits import USUAL as PODS
from towline.shared.prune_limit import USUAL

# These are pruned only by name: with them goes what nobody can bring back.
ProtectedKind = Literal["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"]


class SecretSource(Part):
    """Where a secret is: an environment variable, or a file, which is read again when it changes."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["env"]}, {"required": ["file"]}]}, title="SecretSource"
    )

    env: Variable | None = Field(default=None, description="Name of an environment variable.")
    file: Text | None = Field(
        default=None, description="Path of a file; relative to the folder of towline.yaml."
    )

    @model_validator(mode="after")
    def _is_one(self) -> SecretSource:
        if (self.env is None) == (self.file is None):
            allowed = {"allowed": "{env: NAME} or {file: PATH}"}
            raise PydanticCustomError("secret", "must name one place", allowed)
        return self


class RedisPart(Part):
    """The Redis (or Valkey) that holds work in flight."""

    url: RedisUrl | None = Field(
        default=None,
        description="Without it `towline up` starts a Redis of its own.",
        examples=["redis://localhost:6379/0", "rediss://redis.example.com:6380/0", "unix:///run/redis.sock"],
    )
    password: SecretSource | None = Field(default=None, description="Password, when Redis asks for one.")


class ServerPart(Part):
    """The receiver."""

    listen: Listen = Field(
        default=("127.0.0.1", 8080),
        description="Address to listen on.",
        json_schema_extra={"default": "127.0.0.1:8080"},
    )
    public_url: PublicUrl | None = Field(
        default=None, description="Address under which people and forges reach the receiver."
    )
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
            message = "in_cluster: true leaves no room for kubeconfig or context"
            raise PydanticCustomError("cluster", message)
        return self


class VerifyPart(Part):
    """How much trouble at the pods of a new revision is borne before it counts as failed."""

    image_pull_tries: Annotated[int, Field(ge=1, le=20)] = Field(
        default=PODS.image_pull_tries, description="Tries to pull an image."
    )
    crash_restarts: Annotated[int, Field(ge=0, le=20)] = Field(
        default=PODS.crash_restarts, description="Restarts of a container that crashes."
    )
    unschedulable: Seconds = Field(
        default=int(PODS.unschedulable_seconds),
        description="How long a pod may fit on no node, unless an autoscaler says that one comes.",
        json_schema_extra={"default": "30s"},
    )
    start_error: Seconds = Field(
        default=int(PODS.start_error_seconds),
        description="How long a container may fail to be created or started.",
        json_schema_extra={"default": "10s"},
    )
    mount_error: Seconds = Field(
        default=int(PODS.mount_error_seconds),
        description="How long a volume may fail to be mounted.",
        json_schema_extra={"default": "15s"},
    )
    create_refused: Seconds = Field(
        default=int(PODS.create_refused_seconds),
        description="How long quota or admission may refuse to let a pod be created.",
        json_schema_extra={"default": "3s"},
    )


class EnvironmentPart(Part):
    """Where a branch is deployed, and the limits there."""

    cluster: Text = Field(description="Name of one of the clusters.")
    namespace: Namespace = Field(
        description="A namespace of its own. One with {branch} makes a template: an environment a branch."
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
        description="Whether cluster-scoped objects may be applied: yes by default, no in a template.",
    )
    max_prune: MaxPrune = Field(
        default_factory=lambda: USUAL,
        description="What one sync may delete without an operator's word: a number, or a share of the release's "
        "objects. Left out: 5 objects or half of them, whichever is more.",
        examples=["50%", 3],
    )
    prune_kinds: tuple[ProtectedKind, ...] = Field(
        default=(), description="Kinds that are never deleted unless they are listed here."
    )
    create_namespace: bool = Field(default=True, description="Make the namespace when it is missing.")
    unverified: bool = Field(
        default=False, description="Go on where an admission webhook cannot do a dry run."
    )
    drift: Literal["heal", "report", "off"] | None = Field(
        default=None,
        description="What is done about changes made in the cluster, where a service does not say.",
    )
    verify: VerifyPart = Field(
        default_factory=VerifyPart, description="When trouble at the pods of a new revision makes it fail."
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
    rate_limit: RateLimit = Field(
        default="6000/minute", description="Deliveries accepted in a time; more are answered 429."
    )


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

    name: RepositoryName = Field(
        description="Its name here, and the last part of its webhook's address: /webhooks/<name>."
    )
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
        default=(), description="Patterns of folders that are services; a repository's .towline.yaml wins."
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
        default=180,
        description="How often every repository's refs are looked at.",
        json_schema_extra={"default": "3m"},
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
    clusters: dict[Label, ClusterPart] = Field(default_factory=dict, description="By name.")
    environments: dict[Label, EnvironmentPart] = Field(default_factory=dict, description="By name.")
    repositories: tuple[RepositoryPart, ...] = Field(default=(), description="What deploys.")
    health: HealthRules = Field(
        default_factory=dict,
        description="Health of kinds that Towline does not know, as CEL over `self`.",
        examples=[{"db.example.com/Database": "self.status.phase == 'Ready'"}],
    )
    sync: SyncPart = Field(default_factory=SyncPart)
