"""The closed table of jobs: what a worker may be asked to do, with which arguments, under which id.

A job's only argument is a signed text, so that whoever can write to Redis cannot make a worker act: the signature
covers the job's id, its name and its arguments. Ids and descriptions are shown by the RQ dashboard; neither they
nor the arguments carry a secret or content of a repository.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from towline.shared.errors import AccessError
from towline.shared.model import Trigger, short
from towline.shared.stamp import Stamp

LABEL_LIMIT = 120  # characters of an id before its number
NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")  # RQ allows letters, digits, `_` and `-` only
NOT_IN_A_DESCRIPTION = re.compile(
    r"[^A-Za-z0-9 _./:@#,+=()-]"
)  # a ref may hold `<script>`, and dashboards show it


class QueueName(StrEnum):
    """The queues, the most pressing first."""

    URGENT = "urgent"  # rollbacks and operators
    PUSHES = "pushes"
    SYNCS = "syncs"
    BACKGROUND = "background"  # clock, drift, clean-up


class JobName(StrEnum):
    """What a worker can do."""

    PUSH = "push"
    SYNC = "sync"
    CONCLUDE = "conclude"
    STEER = "steer"
    HEAL = "heal"
    REFS = "refs"


class Arguments(BaseModel):
    """Base of all arguments: strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PushArguments(Arguments):
    """A ref moved in a repository. With `release` only that one is synced, even when its inputs did not change."""

    repository: str
    ref: str
    sequence: int
    trigger: str
    delivery: str
    operator: str = ""
    release: str | None = None
    allow_prune: bool = False
    received_at: float


class SyncArguments(Arguments):
    """Bring this release to what is wanted for it; what that is stands in `wanted`, not here."""

    release: str


class ConcludeArguments(Arguments):
    """Judge this release now, and record it when that is final; `revision` is shown only."""

    release: str
    revision: str


class Steering(StrEnum):
    """What an operator may say to a release beside sync and rollback."""

    SUSPEND = "suspend"
    RESUME = "resume"
    PIN = "pin"
    UNPIN = "unpin"


class SteerArguments(Arguments):
    """Write an operator's word into the spec of a release; `revision` is for a pin, "" where it is now."""

    release: str
    action: Annotated[Steering, Field(strict=False)]
    revision: str = ""
    operator: str


class HealArguments(Arguments):
    """Look whether the objects of this release are as they were applied, and do what its drift mode says."""

    release: str


class RefsArguments(Arguments):
    """Look whether a ref of this repository moved without a webhook."""

    repository: str


ARGUMENTS: dict[JobName, type[Arguments]] = {
    JobName.PUSH: PushArguments,
    JobName.SYNC: SyncArguments,
    JobName.CONCLUDE: ConcludeArguments,
    JobName.STEER: SteerArguments,
    JobName.HEAL: HealArguments,
    JobName.REFS: RefsArguments,
}

TIMEOUT_SECONDS: dict[JobName, int] = {
    JobName.PUSH: 300,
    JobName.SYNC: 900,
    JobName.CONCLUDE: 300,  # with a rollback in it
    JobName.STEER: 120,
    JobName.HEAL: 300,
    JobName.REFS: 120,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One job to be enqueued; `label` is its id without the number that makes it unique."""

    job: JobName
    arguments: Arguments
    queue: QueueName
    label: str
    description: str


def push_call(arguments: PushArguments, *, queue: QueueName) -> Call:
    """The job for one moved ref."""
    only = f" for {arguments.release}" if arguments.release else ""
    text = f"push {arguments.repository} {arguments.ref}{only} ({arguments.trigger})"
    label = f"push_{arguments.delivery}"
    return Call(job=JobName.PUSH, arguments=arguments, queue=queue, label=label, description=text)


def sync_call(release: str, *, revision: str, trigger: Trigger, queue: QueueName) -> Call:
    """The job that brings a release to what is wanted; the revision is shown only."""
    environment, _, service = release.partition("/")
    label = f"sync_{environment}_{service}_{short(revision)}"
    text = f"sync {release} to {short(revision)} ({trigger})"
    arguments = SyncArguments(release=release)
    return Call(job=JobName.SYNC, arguments=arguments, queue=queue, label=label, description=text)


def conclude_call(release: str, *, revision: str, queue: QueueName = QueueName.BACKGROUND) -> Call:
    """The job that judges a release; `urgent` where it is known to have failed."""
    environment, _, service = release.partition("/")
    return Call(
        job=JobName.CONCLUDE,
        arguments=ConcludeArguments(release=release, revision=revision),
        queue=queue,
        label=f"conclude_{environment}_{service}_{short(revision)}",
        description=f"conclude {release} at {short(revision)}",
    )


def steer_call(arguments: SteerArguments) -> Call:
    """The job that writes an operator's word into a release."""
    return Call(
        job=JobName.STEER,
        arguments=arguments,
        queue=QueueName.URGENT,
        label=_steer_label(arguments.release, arguments.action),
        description=f"{arguments.action} {arguments.release} for {arguments.operator}",
    )


def steer_labels(release: str) -> list[str]:
    """The labels of all jobs that write an operator's word into a release."""
    return [_steer_label(release, action) for action in Steering]


def _steer_label(release: str, action: Steering) -> str:
    environment, _, service = release.partition("/")
    return f"{action}_{environment}_{service}"


def heal_call(release: str, *, queue: QueueName) -> Call:
    """The job that looks after the drift of a release."""
    environment, _, service = release.partition("/")
    return Call(
        job=JobName.HEAL,
        arguments=HealArguments(release=release),
        queue=queue,
        label=f"heal_{environment}_{service}",
        description=f"heal {release}",
    )


def job_id(label: str, number: int) -> str:
    """A readable id that RQ accepts and that is never used twice: what it refuses is hashed, length is capped."""
    clean = NOT_IN_AN_ID.sub("-", label)
    if clean != label or len(clean) > LABEL_LIMIT:
        digest = hashlib.sha256(label.encode()).hexdigest()[:8]
        clean = f"{clean[: LABEL_LIMIT - 9]}-{digest}"
    return f"{clean}_{number}"


def readable(text: str) -> str:
    """A description without any character that a page or a terminal could take for more than text."""
    return NOT_IN_A_DESCRIPTION.sub("?", text)[:200]


def refs_call(repository: str) -> Call:
    """The job that looks at the refs of a repository."""
    return Call(
        job=JobName.REFS,
        arguments=RefsArguments(repository=repository),
        queue=QueueName.BACKGROUND,
        label=f"refs_{repository}",
        description=f"look at the refs of {repository}",
    )


class Seal:
    """Signs and opens the argument of a job with a key derived from the installation's secret key."""

    def __init__(self, secret_key: str) -> None:
        self._stamp = Stamp(secret_key, purpose="job")

    def close(self, identifier: str, name: JobName, arguments: Arguments) -> str:
        """The signed text for one job."""
        body = {"id": identifier, "job": name.value, "arguments": arguments.model_dump(mode="json")}
        return self._stamp.on(json.dumps(body, separators=(",", ":")))

    def open(self, identifier: str, sealed: object) -> tuple[JobName, Arguments]:
        """What a job asks for; raises AccessError unless we signed exactly this for exactly this job."""
        try:
            body = json.loads(self._stamp.off(sealed))
            if body["id"] != identifier:
                raise ValueError("signed for another job")
            name = JobName(body["job"])
            return name, ARGUMENTS[name].model_validate(body["arguments"])
        except (AccessError, ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AccessError(
                f"job {identifier} was not made by this installation",
                hint="somebody else writes to this Redis, or the secret key differs between receiver and worker",
            ) from error
