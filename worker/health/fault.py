"""What is found at the pods of a workload: nothing, a fault, or something that only time will tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from towline.shared.model import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a revision cannot become healthy.

    `object`: the pod, or what could not make one. `what` says it in words, `message` is the cluster's own and may hold
    anything, so it is masked before it is shown (worker/cause.py). `missing`: an object whose coming would heal it.
    `has_ended`: a run of the container has, and its log tells more; `is_previous`: another run has begun or will.
    """

    object: ObjectKey
    container: str = ""
    reason: str
    exit_code: int | None = None
    what: str
    message: str = ""
    missing: ObjectKey | None = None
    has_ended: bool = False
    is_previous: bool = False

    @property
    def text(self) -> str:
        """One line for people, without the workload's name."""
        named = "pod" if self.object.kind == "Pod" else self.object.kind
        subject = f"{named} {self.object.name}"
        if self.container:
            subject = f"container {self.container} of {subject}"
        said = f"{subject} {self.what}"
        return f"{said}: {self.message}" if self.message else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fault; or the time from which the same pods would be judged otherwise; or neither."""

    fault: Fault | None = None
    look_again_at: datetime | None = None


NOTHING = Finding()


def first_of(findings: Iterable[Finding]) -> Finding:
    """The first fault, else the earliest time to look again."""
    times = []
    for one in findings:
        if one.fault is not None:
            return one
        if one.look_again_at is not None:
            times.append(one.look_again_at)
    return Finding(look_again_at=min(times)) if times else NOTHING
