"""Whether an object differs from what the last sync applied, told by its metadata alone; and what the record says of it.

In: the record of an object, and the object as it was seen. Out: a Drift, or None. Pure, but for `drifted`, which tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog

from towline.shared.metrics import DRIFT, Metrics
from towline.shared.model import DriftMode, ObjectKey, ReleaseName
from towline.shared.release import AppliedObject, ReleaseStatus
from towline.worker.decision import UNDER_WAY
from towline.worker.history import is_judged_anew
from towline.worker.sightings import Sighting

WAS_DELETED = "was deleted"  # how a line of `status.drift` says it, after the object

log = structlog.get_logger(__name__)


class How(StrEnum):
    """What somebody did to an object."""

    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One object that is not as it was applied."""

    key: ObjectKey
    how: How


def drift_of(recorded: AppliedObject, seen: Sighting | None) -> Drift | None:
    """What was done to an object of a release since it was recorded."""
    if seen is None:
        return Drift(key=recorded.key, how=How.DELETED)
    if seen.is_gone or not recorded.owned or seen.owned == recorded.owned:
        return None
    return Drift(key=recorded.key, how=How.CHANGED)


def is_about(line: str, key: ObjectKey) -> bool:
    """Whether a line of `status.drift` is about this object."""
    return line.startswith(f"{key} ")


def is_said(status: ReleaseStatus, key: ObjectKey) -> bool:
    """Whether the record says that this object differs, and is not put back."""
    return any(is_about(line, key) for line in status.drift)


def is_missed(status: ReleaseStatus, key: ObjectKey) -> bool:
    """Whether somebody must have deleted this object, which is not there, and nobody puts it back.

    Where drift is put back, the record says first that this object is not. A Job's TTL may be over, and what is verified may
    never have come to be.
    """
    is_applied = any(one.key == key and one.digest for one in status.objects)
    is_new = status.phase in UNDER_WAY and not is_judged_anew(status)
    if not is_applied or key.kind == "Job" or is_new:
        return False
    is_healed = status.verification.drift is DriftMode.HEAL and status.stored_of(status.revision) is not None
    return not is_healed or any(line.startswith(f"{key} {WAS_DELETED}") for line in status.drift)


def drifted(metrics: Metrics, name: ReleaseName, drift: Drift) -> None:
    """Tell of it."""
    metrics.count(DRIFT, environment=name.environment, service=name.service)
    log.info("release.drifted", release=str(name), object=str(drift.key), how=drift.how)
