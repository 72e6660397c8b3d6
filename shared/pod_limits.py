"""How much trouble at the pods of a new revision is borne before the revision counts as failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLimits:
    """The limits of one environment.

    The kubelet tries again what fails, so each limit leaves room for at least one more try, and no limit is longer than
    it must be: until it is reached, the bad revision stays.
    """

    image_pull_tries: int = 2  # a registry may fail once
    crash_restarts: int = 2  # a container may crash until what it needs is there
    unschedulable_seconds: float = 30  # pods of an older revision may have to leave first
    start_error_seconds: float = 10  # the kubelet's next try comes after 10 to 15 s
    mount_error_seconds: float = 15  # with at least MOUNT_TRIES (worker/health/pods.py) in that time
    create_refused_seconds: float = 3  # controllers try to create a refused pod some ten times in that time


USUAL = PodLimits()
