"""What the API takes and gives, as pydantic models: the OpenAPI description is generated from these.

The names in JSON are those of the Release's status. Input is strict and unknown keys are refused; what comes out of
Redis is read leniently, so that a view written by another version of Towline is still shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from towline.receiver.long_poll import LONGEST_SECONDS
from towline.receiver.verdicts import Whole, Word
from towline.shared.durations import Seconds
from towline.shared.ledger import Delivery, Verdict
from towline.shared.release import AppliedObject, Condition, HistoryEntry, Quarantine
from towline.shared.views import ReleaseView

DELIVERIES_LIMIT = 500  # in one answer; about 250 kB
DELIVERIES_DEFAULT = 50

Time = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T12:00:00Z"])]


Digits = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{7,64}$"),
    Field(description="a commit id, or its first 7 digits or more where the release knows it"),
]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Input(BaseModel):
    """Base of all inputs."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", strict=True, frozen=True
    )


class ReleaseFilter(Input):
    """Which releases; left out means all."""

    environment: str | None = None
    service: str | None = None
    phase: str | None = Field(None, description="as in the answer, upper or lower case")


class DeliveryFilter(Input):
    """Which deliveries; left out means all."""

    repository: str | None = None
    verdict: Verdict | None = Field(None, strict=False)
    limit: int = Field(DELIVERIES_DEFAULT, ge=1, le=DELIVERIES_LIMIT, description="the newest ones")
    before: str | None = Field(
        None,
        pattern=r"^[0-9]{1,10}(\.[0-9]{1,9})?$",
        description="`next` of an earlier answer: the older ones",
    )


class SyncInput(Input):
    """What to sync to."""

    revision: Digits | None = Field(None, description="left out: the tip of the release's branch")
    allow_prune: bool = Field(False, description="the operator's word for a prune above the limit")


class RollbackInput(Input):
    """Where to go back to."""

    revision: Digits | None = Field(None, description="left out: the one that was stable before")
    pin: bool = Field(True, description="stay there, whatever is pushed, until it is unpinned")


class PinInput(Input):
    """Where to stay."""

    revision: Digits | None = Field(None, description="left out: where the release is now")


class RevisionFilter(Input):
    """How long to wait for an answer that is final."""

    wait: Seconds | None = Field(
        None,
        description=f"`30s`; {LONGEST_SECONDS} s at most, and less when many wait: the answer may not be final",
    )


class PushInput(Input):
    """What moved."""

    ref: str = Field(
        min_length=1, max_length=255, description="a branch (`main`) or a whole ref (`refs/heads/main`)"
    )
    allow_prune: bool = Field(False, description="the operator's word for removals above the limit")


class Release(Answer):
    """One service in one environment."""

    environment: str
    service: str
    repository: str = ""
    ref: str = ""
    revision: str = Field("", description="what was applied last")
    stable_revision: str = Field("", description="the newest one that ended healthy")
    quarantined: Quarantine | None = Field(
        None, description="the revision that failed and is not applied again, and why"
    )
    phase: str = Field(
        "", description="Syncing, Verifying, Healthy, RollingBack, RolledBack, Failed or Suspended"
    )
    health: str = ""
    message: str = ""
    error: str = Field("", description="why the last attempt failed before it could be recorded")
    drift: list[str] = Field(
        default=[], description="what differs from what was applied and is not put back, and who changed it"
    )
    suspended: bool = False
    pinned: str = ""
    cluster: str = ""
    namespace: str = ""
    synced_at: Time | None = None
    updated_at: Time | None = None


class ReleaseDetail(Release):
    """One release with its history."""

    conditions: list[Condition] = []
    objects: list[AppliedObject] = Field(default=[], description="what the last sync applied")
    history: list[HistoryEntry] = Field(default=[], description="the newest attempt first")


class Releases(Answer):
    """Releases by name."""

    releases: list[Release]


class JobStarted(Answer):
    """Work that was enqueued."""

    job: str = Field(description="id of the job, as the RQ dashboard shows it")
    message: str = Field("", description="what follows from it, and how it is undone")
    revision: str = Field("", description="the revision that is meant; empty: the tip of the branch")
    received_at: Time = Field(description="as `receivedAt` of the attempt in the release's history")


class MovedRef(Answer):
    """A ref that moved."""

    ref: str
    before: str | None
    after: str | None


class JobResult(Answer):
    """How one job of a delivery ended."""

    job: str
    ok: bool
    text: str
    at: Time


class DeliveryLine(Answer):
    """One delivery and what came of it."""

    id: str
    repository: str
    forge: str
    event: str
    trigger: str
    verdict: Verdict
    reason: str
    pushes: list[MovedRef]
    jobs: list[str]
    results: list[JobResult]
    received_at: Time
    seconds: float = Field(description="until it was answered")
    repeats: int = Field(description="how often the forge sent it again")


class Deliveries(Answer):
    """Deliveries, the newest first."""

    deliveries: list[DeliveryLine]
    next: str | None = Field(description="give it as `before` for older ones; null at the end")


class PushAccepted(Answer):
    """A push that was recorded and enqueued."""

    delivery: str
    pushes: list[MovedRef]
    jobs: list[str]


class NothingToDo(Answer):
    """A delivery that was understood and asks for nothing."""

    delivery: str
    reason: str = Field(description="ping, event, branch, tag, repository, duplicate or empty")


class Probe(Answer):
    """All is well."""

    status: Literal["ok"] = "ok"


class RevisionVerdict(Answer):
    """How far a revision got with one release that it touches."""

    environment: str
    service: str
    verdict: Word
    message: str
    at: Time
    applied: bool = Field(
        description="whether the release was brought to this revision, whatever came afterwards"
    )
    live: bool = Field(
        description="whether what it brought runs and is healthy, at a newer revision or at this one"
    )
    final: bool = Field(description="false while this may still become live by itself")
    superseded_by: str = Field("", description="the revision that stands in its place")
    superseded_by_verdict: Word | None = Field(
        None, description="and what became of that one, when it is known"
    )


class NotDeployed(Answer):
    """An environment of the repository in which a revision changes nothing."""

    environment: str
    why: str


class RevisionAnswer(Answer):
    """What a revision means to the releases that it touches."""

    repository: str
    revision: str
    verdict: Whole = Field(description="over all releases; failed as soon as it is for one")
    final: bool = Field(description="false while the verdict may still change by itself")
    message: str = Field("", description="why the verdict is unknown, or what the push failed of")
    applied: bool = Field(description="whether it was applied to every release it touches, be it to none")
    releases: list[RevisionVerdict] = Field(
        description="empty: it touches none of them (live), or it was not read yet"
    )
    not_deployed: list[NotDeployed] = Field(
        default=[], description="environments in which it changes nothing"
    )


R = TypeVar("R", bound=Release)


def release_of(view: ReleaseView) -> Release:
    """One line of the list."""
    return _read(Release, view)


def detail_of(view: ReleaseView) -> ReleaseDetail:
    """One release with its history."""
    return _read(ReleaseDetail, view)


def _read(model: type[R], view: ReleaseView) -> R:
    """The Release's status under its own names; what the view itself says goes first. A status that is not of our
    form hides nothing but itself."""
    facts: dict[str, object] = {
        "environment": view.environment,
        "service": view.service,
        "phase": view.phase,
        "error": view.error,
        "suspended": view.suspended,
        "pinned": view.pinned,
        "cluster": view.cluster,
        "namespace": view.namespace,
        "updatedAt": time_of(view.updated_at),
    }
    try:
        return model.model_validate({**view.status, **facts})
    except ValidationError:
        return model.model_validate(
            {**facts, "error": "its recorded status is not of the form Towline writes"}
        )


def delivery_line(delivery: Delivery) -> DeliveryLine:
    """One delivery as the API tells it."""
    return DeliveryLine(
        id=delivery.id,
        repository=delivery.repository,
        forge=delivery.forge,
        event=delivery.event,
        trigger=delivery.trigger.value,
        verdict=delivery.verdict,
        reason=delivery.reason,
        pushes=moved(delivery),
        jobs=list(delivery.jobs),
        results=[
            JobResult(job=job, ok=end.ok, text=end.text, at=time_of(end.at))
            for job, end in delivery.ends.items()
        ],
        received_at=time_of(delivery.received_at),
        seconds=delivery.seconds,
        repeats=delivery.repeats,
    )


def moved(delivery: Delivery) -> list[MovedRef]:
    """The refs of a delivery."""
    return [MovedRef(ref=push.ref, before=push.before, after=push.after) for push in delivery.pushes]


def accepted(delivery: Delivery) -> PushAccepted:
    """The answer for a push that was recorded and enqueued."""
    return PushAccepted(delivery=delivery.id, pushes=moved(delivery), jobs=list(delivery.jobs))


def time_of(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
