"""What a Release says: the models of its status, and the pure rules that keep it bounded and readable.

In: a Release as an API server answers it. Out: Release and ReleaseStatus, and the status as it is written. No state.
Unknown fields are ignored, so that two versions of Towline can read one Release while one replaces the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, Field, ValidationError

from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError
from towline.shared.model import DriftMode, Health, Object, ObjectKey, Phase, Result, Trigger, short
from towline.shared.objects import GROUP, annotations_of, key_of, metadata_of
from towline.shared.pending import HookRun, Pending
from towline.shared.record import Record
from towline.shared.team_file import USUAL_TIMEOUT_SECONDS

RELEASE = Resource(group=GROUP, version="v1alpha1", kind="Release", plural="releases", namespaced=True)

# Annotations: the attempt that holds, or last held, the release; whose it is, from the first request on.
CLAIM = f"{GROUP}/claim"
REPOSITORY = f"{GROUP}/repository"
ENVIRONMENT = f"{GROUP}/environment"

# An etcd entry is at most 1.5 MB, and a Release is read on every sync: what is kept for people is bounded.
MESSAGE_LENGTH = 1_000
NOTES = 50
NOTE_LENGTH = 300
LOG_LINES = 20
DRIFT_LINES = 3  # in a condition
LOG_LENGTH = 500


class AppliedObject(Record):
    """An object of the release: the digest of what was applied, and a hash of the fields owned after that.

    Without a digest it is as an earlier revision left it: a later step of this one changes or deletes it.
    """

    group: str = ""
    kind: str
    namespace: str = ""
    name: str
    digest: str = ""
    owned: str = ""

    @property
    def key(self) -> ObjectKey:
        """Which object."""
        return ObjectKey(group=self.group, kind=self.kind, namespace=self.namespace, name=self.name)

    @classmethod
    def of(cls, key: ObjectKey, *, digest: str, owned: str) -> AppliedObject:
        """The record of one object."""
        return cls(
            group=key.group, kind=key.kind, namespace=key.namespace, name=key.name, digest=digest, owned=owned
        )


class Verification(Record):
    """How the service of the last sync is verified and kept, as its repository and its environment said then.

    It stands in the record so that nobody needs Git to judge a release, to roll it back or to repair it.
    """

    timeout_seconds: float = USUAL_TIMEOUT_SECONDS
    rollback: bool = True
    watch_seconds: float | None = None  # how long a stable revision that turns bad is still rolled back
    health: Mapping[str, str] = {}  # `group/Kind` -> CEL
    drift: DriftMode = DriftMode.HEAL
    ignore_drift: tuple[str, ...] = ()  # JSON pointers
    depends_on: tuple[str, ...] = ()
    group: tuple[str, ...] = ()  # the services that are verified and rolled back together with this one


class StoredRevision(Record):
    """Where the objects of a revision are stored: a Secret for each of `uids`, the first named `name`.

    `stable_at`: when it was found healthy, None for one that never was. The other fields are what the status of the
    release says when it is brought back.
    """

    revision: str
    name: str
    sha256: str
    uids: tuple[str, ...] = ()
    ref: str = ""
    inputs_digest: str = ""
    stable_at: AwareDatetime | None = None
    verification: Verification = Field(default_factory=Verification)  # a default value would be copied deeply

    def part_names(self) -> tuple[str, ...]:
        """The names of the Secrets, in order."""
        parts = range(1, len(self.uids) + 1)
        return tuple(self.name if part == 1 else f"{self.name}-{part}" for part in parts)


class Quarantine(Record):
    """The revision that is not applied again, and why.

    `reverted_at`: when the stable objects were applied in its place, None while they are not; `not_reverted`: what could
    not be brought back.
    """

    revision: str
    inputs_digest: str = ""
    cause: str = ""
    since: AwareDatetime | None = None
    reverted_at: AwareDatetime | None = None
    not_reverted: tuple[str, ...] = ()


class Condition(Record):
    """A condition as Kubernetes has them."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: AwareDatetime
    observed_generation: int = 0


class Failure(Record):
    """What was seen of a revision that failed: the object that decided, its container, and what the cluster said of it."""

    object: str = ""
    container: str = ""
    reason: str = ""
    exit_code: int | None = None
    message: str = ""
    events: tuple[str, ...] = ()


class HistoryEntry(Record):
    """One attempt."""

    revision: str
    ref: str = ""
    author: str = ""
    subject: str = ""
    trigger: Trigger | None = None
    triggered_by: str = ""
    result: Result
    cause: str = ""
    received_at: AwareDatetime | None = None  # when the push, or the operator's word, came in
    started_at: AwareDatetime | None = None
    stages: Mapping[str, float] = {}
    created: int = 0
    changed: int = 0
    left: int = 0
    pruned: int = 0
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    logs: tuple[str, ...] = ()


class ReleaseStatus(Record):
    """The status of a Release; `claim`, conditions, short forms and observedGeneration are set when it is written."""

    environment: str = ""
    repository: str = ""
    ref: str = ""
    revision: str = ""
    short_revision: str = ""
    stable_revision: str = ""
    short_stable_revision: str = ""
    quarantined: Quarantine | None = None
    phase: Phase | None = None
    health: Health | None = None
    message: str = ""
    inputs_digest: str = ""
    stored: tuple[StoredRevision, ...] = ()
    objects: tuple[AppliedObject, ...] = ()
    pending: Pending | None = None
    hooks: tuple[HookRun, ...] = ()
    verification: Verification = Field(default_factory=Verification)
    synced_at: AwareDatetime | None = None
    stable_until: AwareDatetime | None = None  # until when a stable revision ran, before what is judged now
    observed_generation: int = 0
    claim: str = ""
    conditions: tuple[Condition, ...] = ()
    drift: tuple[str, ...] = ()  # what differs from what was applied and is not put back, one line an object
    history: tuple[HistoryEntry, ...] = ()

    def stored_of(self, revision: str) -> StoredRevision | None:
        """Where this revision is stored, None when it is not (any more)."""
        return next((one for one in self.stored if one.revision == revision), None)

    @property
    def judged_revision(self) -> str:
        """The revision whose objects, or whose hooks, are judged now."""
        return self.pending.revision if self.pending else self.revision

    @property
    def is_newest_refused(self) -> bool:
        """Whether nothing was written of what was wanted last."""
        return bool(self.history) and self.history[0].result is Result.REFUSED

    @property
    def stable(self) -> StoredRevision | None:
        """The stable revision, where its objects are still stored."""
        return self.stored_of(self.stable_revision) if self.stable_revision else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A Release as it was read; `resource_version` fences what is written next, `is_held` says that we claimed it.

    `held_since`: a monotonic time before that claim. `rest`: its metadata and spec as they were read, also what is others'.
    """

    name: str
    namespace: str
    uid: str
    resource_version: str
    generation: int
    suspended: bool
    pinned: str
    status: ReleaseStatus
    annotations: Mapping[str, str]
    rest: Object
    is_held: bool = False
    held_since: float = field(default=0.0, compare=False)

    @property
    def claim(self) -> str:
        """The token of the attempt that holds, or last held, this release."""
        return self.annotations.get(CLAIM, "")

    @property
    def is_unfinished(self) -> bool:
        """Whether the last attempt never wrote its status: its objects may differ from `status.objects`."""
        return self.claim != self.status.claim

    @property
    def key(self) -> ObjectKey:
        """The Release itself as an object."""
        return ObjectKey(group=GROUP, kind=RELEASE.kind, namespace=self.namespace, name=self.name)


def release_of(object: Object, *, is_held: bool = False) -> Release:
    """A Release as answered. Raises ClusterError for a status that is not of our form."""
    metadata = metadata_of(object)
    spec = object.get("spec") or {}
    return Release(
        name=str(metadata.get("name") or ""),
        namespace=str(metadata.get("namespace") or ""),
        uid=str(metadata.get("uid") or ""),
        resource_version=str(metadata.get("resourceVersion") or ""),
        generation=int(metadata.get("generation") or 0),
        suspended=bool(spec.get("suspended")),
        pinned=str(spec.get("pinned") or ""),
        status=_status(object),
        annotations=dict(annotations_of(object)),
        rest={name: object[name] for name in ("metadata", "spec") if name in object},
        is_held=is_held,
    )


def _status(object: Object) -> ReleaseStatus:
    try:
        return ReleaseStatus.model_validate(object.get("status") or {})
    except ValidationError as error:
        places = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:5])
        raise ClusterError(
            f"the status of {key_of(object)} is not of the form that Towline writes: {places}",
            code=422,
            reason="Invalid",
            hint="who else may write releases/status? `kubectl delete rel` forgets the release, its objects stay",
        ) from error


def status_to_write(
    status: ReleaseStatus, release: Release, *, history: int, now: datetime
) -> dict[str, Any]:
    """The status as it is sent: bounded, with short forms, conditions, and the mark of the attempt that wrote it."""
    now = now.astimezone(UTC).replace(microsecond=0)
    message = cut(status.message, MESSAGE_LENGTH)
    complete = status.model_copy(
        update={
            "message": message,
            "short_revision": short(status.revision),
            "short_stable_revision": short(status.stable_revision),
            "quarantined": _bounded_quarantine(status.quarantined),
            "drift": bounded_notes(status.drift),
            "history": bounded_history(status.history, keep=history),
            "observed_generation": release.generation,
            # Who writes without a claim leaves the mark of an attempt that did not finish where it is.
            "claim": release.claim if release.is_held else release.status.claim,
            "conditions": conditions_of(status, message, generation=release.generation, now=now),
        }
    )
    return complete.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def bounded_history(history: Sequence[HistoryEntry], *, keep: int) -> tuple[HistoryEntry, ...]:
    """The newest entries, with log lines and Events only for the last failure."""
    kept = [_bounded_entry(entry) for entry in history[:keep]]
    failures = [index for index, entry in enumerate(kept) if entry.logs or entry.failure]
    for index in failures[1:]:
        kept[index] = kept[index].model_copy(update={"logs": (), "failure": None})
    return tuple(kept)


def _bounded_entry(entry: HistoryEntry) -> HistoryEntry:
    return entry.model_copy(
        update={
            "cause": cut(entry.cause, MESSAGE_LENGTH),
            "author": cut(entry.author, NOTE_LENGTH),
            "subject": cut(entry.subject, NOTE_LENGTH),
            "notes": bounded_notes(entry.notes),
            "failure": _bounded_failure(entry.failure),
            "logs": tuple(cut(line, LOG_LENGTH) for line in entry.logs[-LOG_LINES:]),
        }
    )


def _bounded_failure(failure: Failure | None) -> Failure | None:
    if failure is None:
        return None
    events = bounded_notes(failure.events)
    return failure.model_copy(update={"message": cut(failure.message, MESSAGE_LENGTH), "events": events})


def _bounded_quarantine(quarantine: Quarantine | None) -> Quarantine | None:
    if quarantine is None:
        return None
    not_reverted = bounded_notes(quarantine.not_reverted)
    cause = cut(quarantine.cause, MESSAGE_LENGTH)
    return quarantine.model_copy(update={"cause": cause, "not_reverted": not_reverted})


def bounded_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes as they are kept: not too many, none too long."""
    kept = [cut(note, NOTE_LENGTH) for note in notes[:NOTES]]
    if len(notes) > NOTES:
        kept[-1] = f"and {len(notes) - NOTES + 1} more"
    return tuple(kept)


def cut(text: str, length: int) -> str:
    """A text of others, without control characters and not longer than this."""
    text = "".join(char if char.isprintable() or char == "\n" else " " for char in text[: 2 * length]).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def conditions_of(
    status: ReleaseStatus, message: str, *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Ready, Synced, Healthy, and Stalled where only a commit or an operator helps, which kstatus reads as failed.

    What differs from what was applied is not synced, whatever else is the matter with it: that the others tell.
    """
    phase = status.phase
    reason = phase.value if phase else "Unknown"
    stuck = phase in (Phase.FAILED, Phase.ROLLED_BACK)
    why_not = "Refused" if phase is Phase.FAILED and status.is_newest_refused else reason
    states = {
        "Ready": (_tristate(phase is Phase.HEALTHY, stuck or phase is Phase.ROLLING_BACK), reason),
        "Synced": (_tristate(phase in (Phase.VERIFYING, Phase.HEALTHY), stuck), why_not),
        "Healthy": (
            _tristate(status.health is Health.HEALTHY, status.health is Health.FAILED),
            status.health.value.capitalize() if status.health else "Unknown",
        ),
    }
    if stuck:
        states["Stalled"] = ("True", reason)
    # A release that was rolled back, or whose newest commit was refused, may be healthy all the same.
    is_well = status.health is Health.HEALTHY and phase is not Phase.HEALTHY
    messages = {"Healthy": "all its objects are healthy"} if is_well else {}
    if status.drift:
        states["Synced"] = ("False", "Drifted")
        messages["Synced"] = cut("; ".join(status.drift[:DRIFT_LINES]), MESSAGE_LENGTH)
    before = {one.type: one for one in status.conditions}
    return tuple(
        Condition(
            type=type_,
            status=value,
            reason=why,
            message=messages.get(type_, message),
            last_transition_time=_since(before.get(type_), value, now),
            observed_generation=generation,
        )
        for type_, (value, why) in states.items()
    )


def _tristate(true: bool, false: bool) -> str:
    return "True" if true else "False" if false else "Unknown"


def _since(before: Condition | None, value: str, now: datetime) -> datetime:
    return before.last_transition_time if before is not None and before.status == value else now
