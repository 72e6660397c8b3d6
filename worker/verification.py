"""How a release is verified and kept: what its service says in .towline.yaml, else its environment, else the usual.

In: a service and an environment. Out: the Verification that the record keeps. Pure.
"""

from __future__ import annotations

from towline.shared.config import Environment
from towline.shared.model import DriftMode
from towline.shared.release import Verification
from towline.worker.services import Service


def verification_of(service: Service, environment: Environment) -> Verification:
    """What the record says of this service there."""
    entry = service.entry
    drift = DriftMode((entry and entry.drift) or environment.drift or DriftMode.HEAL)
    if entry is None:
        return Verification(drift=drift, group=service.group)
    return Verification(
        timeout_seconds=entry.timeout_seconds,
        rollback=entry.rollback.enabled,
        watch_seconds=entry.rollback.watch_seconds,
        health=entry.health,
        drift=drift,
        ignore_drift=entry.ignore_drift,
        depends_on=service.depends_on,
        group=service.group,
    )
