"""Whether an object differs from what the last sync applied, told by its metadata alone.

In: the record of an object, and the object as it was seen. Out: a Drift, or None. Pure, but for `drifted`, which tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog

from towline.shared.metrics import DRIFT, Metrics
from towline.shared.model import ObjectKey, ReleaseName
from towline.shared.release import AppliedObject
from towline.worker.sightings import Sighting

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


def drifted(metrics: Metrics, name: ReleaseName, drift: Drift) -> None:
    """Tell of it."""
    metrics.count(DRIFT, environment=name.environment, service=name.service)
    log.info("release.drifted", release=str(name), object=str(drift.key), how=drift.how)
