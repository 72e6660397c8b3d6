"""The operator's configuration as the programs use it: `towline.yaml`, read once when a process starts.

In: the file's bytes and, for two values, the environment (TOWLINE_CONFIG, TOWLINE_REDIS_URL). Out: frozen values; all
problems of the file in one ConfigError. Secrets are looked up when they are used, not here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from towline.shared import branches
from towline.shared.config_check import check
from towline.shared.config_file import (
    ClusterPart,
    CredentialsPart,
    EnvironmentPart,
    RepositoryPart,
    SecretSource,
    TowlineFile,
    VerifyPart,
)
from towline.shared.config_values import BRANCH
from towline.shared.documents import Limits
from towline.shared.errors import ConfigError, NotFound, UnknownRepository
from towline.shared.model import Forge
from towline.shared.pod_limits import USUAL as USUAL_PODS
from towline.shared.pod_limits import PodLimits
from towline.shared.prune_limit import PruneLimit
from towline.shared.secret import Secret
from towline.shared.validation import nearest, read_single, validated

CONFIG_VARIABLE = "TOWLINE_CONFIG"
REDIS_VARIABLE = "TOWLINE_REDIS_URL"
FILE_NAME = "towline.yaml"
LIMITS = Limits(size_bytes=8 * 1024 * 1024, depth=30)  # 10,000 repositories have about 2 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """`url` is None for an embedded Redis; the password is not in it."""

    url: str | None
    password: Secret | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The receiver."""

    listen: tuple[str, int]
    public_url: str | None
    secret_key: Secret | None
    max_body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """A Kubernetes API server; without a kubeconfig the official client's usual place counts."""

    kubeconfig: Path | None
    context: str | None
    in_cluster: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a branch is deployed, and the limits there; `template` names what it was made from."""

    name: str
    cluster: str
    namespace: str
    service_account: str | None
    allowed_kinds: frozenset[str] | None
    allowed_namespaces: tuple[str, ...]
    cluster_scoped: bool
    max_prune: PruneLimit
    prune_kinds: frozenset[str]
    create_namespace: bool
    unverified: bool
    drift: str | None
    ttl_seconds: int | None
    pod_limits: PodLimits = USUAL_PODS
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """How the forge calls."""

    forge: Forge
    secrets: tuple[Secret, ...]
    sha1: bool
    rate_limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to sign in at the Git server."""

    username: str | None
    password: Secret | None
    ssh_key: Secret | None
    passphrase: Secret | None
    known_hosts: Secret | None
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A Git repository that deploys; `branches` maps names and patterns, in order, to names of environments."""

    name: str
    url: str
    aliases: tuple[str, ...]
    allow_insecure: bool
    webhook: Webhook
    credentials: Credentials | None
    branches: Mapping[str, tuple[str, ...]]
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncConfig:
    """How work is done."""

    workers: int
    requests_parallel: int
    clock_interval_seconds: int
    history: int
    stored_revisions: int


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration. `environments` are those that stand by themselves, `templates` make one a branch.

    `health`: CEL expressions by `group/Kind`, for kinds that Towline does not know.
    """

    redis: RedisConfig
    data_dir: Path
    server: ServerConfig
    clusters: Mapping[str, ClusterConfig]
    environments: Mapping[str, Environment]
    templates: Mapping[str, Environment]
    repositories: tuple[Repository, ...]
    health: Mapping[str, str]
    sync: SyncConfig
    all_secrets: tuple[Secret, ...]

    @cached_property
    def repositories_by_name(self) -> Mapping[str, Repository]:
        """Each repository under its name."""
        return {repository.name: repository for repository in self.repositories}

    def redis_url(self) -> str:
        """The address to connect to, password included; that of `towline up` for the programs it starts."""
        url = os.environ.get(REDIS_VARIABLE) or self.redis.url
        if url is None:
            raise ConfigError(
                "no Redis is configured", hint=f"run `towline up`, or set redis.url or {REDIS_VARIABLE}"
            )
        if self.redis.password is None or url != self.redis.url:
            return url
        scheme, _, rest = url.partition("://")
        user, at, place = rest.rpartition("@")
        return f"{scheme}://{user if at else ''}:{quote(self.redis.password.value(), safe='')}@{place}"

    def repository(self, name: str) -> Repository:
        """The repository of this name; raises UnknownRepository."""
        found = self.repositories_by_name.get(name)
        if found is None:
            raise UnknownRepository(f"there is no repository {name!r}", hint="name it in towline.yaml")
        return found

    def environment(self, name: str) -> Environment:
        """The environment of this name, not a template nor one made of it; raises NotFound."""
        found = self.environments.get(name)
        if found is None:
            close = nearest(name, self.environments)
            raise NotFound(f"there is no environment {name!r}{close}", hint="name it in towline.yaml")
        return found

    def environments_for(self, repository: Repository, ref: str) -> tuple[Environment, ...]:
        """The environments a ref is deployed to, made from their templates; none for a tag or an unmapped branch."""
        branch = ref.removeprefix(branches.HEADS)
        if branch == ref or not branches.is_branch_name(branch) or branches.is_pattern(branch):
            return ()
        name = branches.best_match(branch, repository.branches)
        targets = repository.branches[name] if name is not None else ()
        return tuple(
            _made(self.templates[each], branch) if each in self.templates else self.environments[each]
            for each in targets
        )

    def secrets(self) -> Iterator[str]:
        """Every value of every secret that this process used, for redaction."""
        for secret in self.all_secrets:
            yield from secret.known()
        if password := urlsplit(os.environ.get(REDIS_VARIABLE, "")).password:
            yield unquote(password)


def load_config(path: Path | None = None) -> Config:
    """Read `path`, else TOWLINE_CONFIG, else ./towline.yaml; raises ConfigError with all problems."""
    path = path or Path(os.environ.get(CONFIG_VARIABLE) or FILE_NAME)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            hint=f"name the file by --config or {CONFIG_VARIABLE}, or run where {FILE_NAME} is",
        ) from error
    return parse_config(data, file=str(path), folder=path.resolve().parent)


def parse_config(data: bytes, *, file: str, folder: Path) -> Config:
    """The configuration in these bytes; relative paths in it start at `folder`."""
    document = read_single(data, file=file, limits=LIMITS)
    written = validated(TowlineFile, document, file=file, check=check)
    return _resolved(written, folder)


def _resolved(written: TowlineFile, folder: Path) -> Config:
    known = _Secrets(folder)
    every = {name: _environment(name, part) for name, part in written.environments.items()}
    return Config(
        redis=RedisConfig(url=written.redis.url, password=known.secret(written.redis.password)),
        data_dir=known.path(written.data_dir),
        server=ServerConfig(
            listen=written.server.listen,
            public_url=written.server.public_url.rstrip("/") if written.server.public_url else None,
            secret_key=known.secret(written.server.secret_key),
            max_body_bytes=written.server.max_body_bytes,
        ),
        clusters={name: _cluster(part, known) for name, part in written.clusters.items()},
        environments={name: each for name, each in every.items() if BRANCH not in each.namespace},
        templates={name: each for name, each in every.items() if BRANCH in each.namespace},
        repositories=tuple(_repository(part, known) for part in written.repositories),
        health=written.health,
        sync=SyncConfig(
            workers=written.sync.workers,
            requests_parallel=written.sync.requests_parallel,
            clock_interval_seconds=written.sync.clock_interval,
            history=written.sync.history,
            stored_revisions=written.sync.stored_revisions,
        ),
        all_secrets=tuple(known.secrets),
    )


class _Secrets:
    """Makes secrets and paths of one file, and keeps the list of the secrets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.secrets: list[Secret] = []

    def path(self, text: str) -> Path:
        return self._folder / Path(text).expanduser()

    def secret(self, source: SecretSource | None) -> Secret | None:
        return self.needed(source) if source is not None else None

    def needed(self, source: SecretSource) -> Secret:
        secret = Secret(env=source.env, file=self.path(source.file) if source.file is not None else None)
        self.secrets.append(secret)
        return secret

    def public(self, source: SecretSource | None) -> Secret | None:
        """What is named like a secret and is none: it may well stand in a log."""
        if source is None:
            return None
        return Secret(env=source.env, file=self.path(source.file) if source.file is not None else None)


def _cluster(part: ClusterPart, known: _Secrets) -> ClusterConfig:
    kubeconfig = known.path(part.kubeconfig) if part.kubeconfig is not None else None
    return ClusterConfig(kubeconfig=kubeconfig, context=part.context, in_cluster=part.in_cluster)


def _environment(name: str, part: EnvironmentPart) -> Environment:
    is_template = BRANCH in part.namespace
    return Environment(
        name=name,
        cluster=part.cluster,
        namespace=part.namespace,
        service_account=part.service_account,
        allowed_kinds=frozenset(part.allowed_kinds) if part.allowed_kinds is not None else None,
        allowed_namespaces=part.allowed_namespaces,
        # Whoever can push any branch must not reach beyond its namespace unless somebody said so.
        cluster_scoped=not is_template if part.cluster_scoped is None else part.cluster_scoped,
        max_prune=part.max_prune,
        prune_kinds=frozenset(part.prune_kinds),
        create_namespace=part.create_namespace,
        unverified=part.unverified,
        drift=part.drift,
        ttl_seconds=part.ttl,
        pod_limits=_pod_limits(part.verify),
    )


def _pod_limits(part: VerifyPart) -> PodLimits:
    return PodLimits(
        image_pull_tries=part.image_pull_tries,
        crash_restarts=part.crash_restarts,
        unschedulable_seconds=part.unschedulable,
        start_error_seconds=part.start_error,
        mount_error_seconds=part.mount_error,
        create_refused_seconds=part.create_refused,
    )


def _repository(part: RepositoryPart, known: _Secrets) -> Repository:
    return Repository(
        name=part.name,
        url=part.url,
        aliases=part.aliases,
        allow_insecure=part.allow_insecure,
        webhook=Webhook(
            forge=part.webhook.forge,
            secrets=tuple(known.needed(source) for source in part.webhook.secrets),
            sha1=part.webhook.sha1,
            rate_limit=part.webhook.rate_limit,
        ),
        credentials=_credentials(part.credentials, known) if part.credentials is not None else None,
        branches=part.branches,
        services=part.services,
    )


def _credentials(part: CredentialsPart, known: _Secrets) -> Credentials:
    return Credentials(
        username=part.username,
        password=known.secret(part.password),
        ssh_key=known.secret(part.ssh_key),
        passphrase=known.secret(part.passphrase),
        known_hosts=known.public(part.known_hosts),
        ca_file=known.path(part.ca_file) if part.ca_file is not None else None,
    )


def _made(template: Environment, branch: str) -> Environment:
    """The environment of a template for one branch."""
    fixed = max(len(template.name) + 1, len(template.namespace) - len(BRANCH))
    label = branches.label_of(branch, length=branches.LABEL_LENGTH - fixed)
    return replace(
        template,
        name=f"{template.name}-{label}",
        namespace=template.namespace.replace(BRANCH, label),
        template=template.name,
    )
