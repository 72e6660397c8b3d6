"""The words of the design as frozen types: what a push, a release and an object are called everywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, NewType

from towline.shared.errors import NotFound

# Kubernetes objects are plain dicts, and are never changed in place.
Object = dict[str, Any]

# A commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
Revision = NewType("Revision", str)

REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# RFC 1123 label, which Kubernetes asks of names of namespaces and Services.
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

SHORT = 10  # digits of a revision shown to people


class Forge(StrEnum):
    """Software that hosts repositories and sends webhooks."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"
    GOGS = "gogs"
    BITBUCKET = "bitbucket"
    BITBUCKET_SERVER = "bitbucket-server"


class Phase(StrEnum):
    """Where a release stands (`status.phase`)."""

    VERIFYING = "Verifying"
    HEALTHY = "Healthy"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class Health(StrEnum):
    """What an object or a release looks like in the cluster."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    FAILED = "failed"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


WELL = (Health.HEALTHY, Health.SUSPENDED)  # a declared pause or suspension is what was asked for


class Result(StrEnum):
    """How one sync ended."""

    SYNCED = "synced"  # applied, or nothing to change; not known to be healthy yet
    HEALTHY = "healthy"  # applied and found healthy
    REMOVED = "removed"  # the service is gone from Git, its objects were pruned
    SUPERSEDED = "superseded"  # something newer is wanted
    REFUSED = "refused"  # nothing was written
    QUARANTINED = "quarantined"  # it failed before, and nothing of the service changed since
    FAILED = "failed"  # half-way, never healthy, or retries used up
    ROLLED_BACK = "rolled back"  # it failed, and the stable revision was brought back


class Moment(StrEnum):
    """When in a sync something is done."""

    PRE_SYNC = "pre-sync"
    APPLY = "apply"
    POST_SYNC = "post-sync"


class HookState(StrEnum):
    """What came of a hook."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DriftMode(StrEnum):
    """What is done when the cluster differs from what was applied."""

    HEAL = "heal"
    REPORT = "report"
    OFF = "off"


class Trigger(StrEnum):
    """Who or what asked for a sync."""

    WEBHOOK = "webhook"
    CLOCK = "clock"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A ref moved to a revision: `before` is None for a new ref, `after` None for a deleted one.

    `after` is what the payload says; it is shown, never trusted: the push job takes the ref's tip as fetched.
    """

    ref: str
    before: Revision | None
    after: Revision | None


@dataclass(frozen=True, slots=True, order=True)
class ReleaseName:
    """One service in one environment, written `environment/service`."""

    environment: str
    service: str

    def __str__(self) -> str:
        return f"{self.environment}/{self.service}"

    @classmethod
    def parse(cls, text: str) -> ReleaseName:
        """Read `environment/service`; raises NotFound for anything else, since such a release cannot exist."""
        environment, slash, service = text.partition("/")
        if not (slash and DNS_LABEL.fullmatch(environment) and DNS_LABEL.fullmatch(service)):
            raise NotFound(f"{text!r} is not the name of a release", hint="write it as environment/service")
        return cls(environment, service)


class ObjectKey(NamedTuple):
    """Which object: its kind without the version, as two versions of one kind are the same object.

    A tuple, since it is made and looked up for every object in every judgement.
    """

    group: str
    kind: str
    namespace: str  # "" for a cluster-scoped object
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


def is_revision(text: str) -> bool:
    """Whether this is a whole commit id (hexadecimal, 40 or 64 digits), so that it may be looked up by id."""
    return REVISION.fullmatch(text) is not None


def short(revision: str) -> str:
    """The first digits of a revision, for people."""
    return revision[:SHORT]
