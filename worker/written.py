"""What one attempt wrote to a cluster, before it is recorded. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from towline.shared.errors import Refused
from towline.shared.pending import HookRun, Pending
from towline.shared.release import AppliedObject, Release, StoredRevision
from towline.worker.apply import Applied
from towline.worker.outcome import Counts
from towline.worker.plan import Plan
from towline.worker.prune import Pruned, recorded_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Everything that one attempt wrote; `pruned` is None when it did not get that far."""

    release: Release
    stored: StoredRevision
    plan: Plan
    applied: Applied
    pruned: Pruned | None
    pending: Pending | None = None  # what is still to come of the revision
    hooks: tuple[HookRun, ...] = ()

    @property
    def counts(self) -> Counts:
        """For the history."""
        applied = self.applied
        notes = [str(taken) for taken in applied.taken_over]
        notes += [f"{key}: deleted and made anew" for key in applied.recreated]
        notes += [f"{key}: could only be checked after others were applied" for key in applied.deferred]
        notes += [f"{key}: could not be checked before" for key in applied.unverified]
        notes += [str(kept) for kept in self.pruned.kept] if self.pruned else []
        return Counts(
            created=len(applied.created),
            changed=len(applied.changed),
            left=len(applied.left),
            pruned=len(self.pruned.pruned) if self.pruned else 0,
            notes=tuple(notes),
        )

    @property
    def error(self) -> Refused | None:
        """What was refused half-way, if anything."""
        problems = [*self.applied.problems, *(self.pruned.problems if self.pruned else ())]
        return Refused("the API server refused a part of it", problems=problems) if problems else None

    @property
    def objects(self) -> tuple[AppliedObject, ...]:
        """The objects of the release as the record names them from now on."""
        recorded = recorded_after(self.plan, self.applied, self.pruned)
        return tuple(sorted(recorded, key=lambda one: one.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What bringing a stored revision back wrote, and what of it could not be brought back, one line each."""

    written: Written
    not_reverted: tuple[str, ...]
