"""The steps in which a revision is brought: one wave after another, each healthy before the next.

In: a checked plan, and what the record says of the steps before. Out: the first step that has something to do; `go_on` has
the next one taken. No worker is held in between: a sync takes one step, records what is still to come (`status.pending`) and
ends, and `conclude` has it continued when that step is healthy. Each attempt plans anew, so what was applied is simply left,
and steps with nothing to write cost nothing.

Killed at any line: before the record the same step is taken again; after it, whoever judges the release next goes on. A wish
names the attempt whose step was found healthy, so that no other attempt takes a step too early.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from towline.shared.controls import wave
from towline.shared.model import Moment, Trigger
from towline.shared.release import Pending, Release, Verification
from towline.shared.wanted import Wanted
from towline.worker.order import Rank, rank_of
from towline.worker.plan import Plan
from towline.worker.policy import Placed
from towline.worker.state import Standing
from towline.worker.tools import Tools

ORDER = tuple(Moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one attempt does; `left` more steps are to come once that is healthy."""

    plan: Plan
    moment: Moment = Moment.APPLY
    wave: int = 0
    left: int = 0

    def is_after(self, pending: Pending) -> bool:
        """Whether this step comes after the one that was taken last."""
        return (ORDER.index(self.moment), self.wave) > (ORDER.index(pending.moment), pending.wave)


def first_step(plan: Plan) -> Step:
    """The first wave with something to write; everything, where there are not several."""
    waves = plan.waves()
    if len(waves) <= 1:
        return Step(plan=plan, wave=waves[0] if waves else 0)
    return Step(plan=_narrowed(plan, waves[0]), wave=waves[0], left=len(waves) - 1)


def _narrowed(plan: Plan, first: int) -> Plan:
    """The plan that writes no wave after this one, and deletes nothing yet."""
    create, after_create = _divided(plan.create, first)
    change, after_change = _divided(plan.change, first)
    return replace(plan, create=create, change=change, later=after_create + after_change)


def _divided(items: Sequence[Placed], first: int) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    now = [rank_of(item.key) is Rank.FOUNDATION or wave(item.object) <= first for item in items]
    return (
        tuple(item for item, is_now in zip(items, now, strict=True) if is_now),
        tuple(item for item, is_now in zip(items, now, strict=True) if not is_now),
    )


def pending_after(
    step: Step,
    wanted: Wanted,
    verification: Verification,
    *,
    before: Pending | None,
    digest: str,
    now: datetime,
) -> Pending | None:
    """What the record says is still to come, None after the last step. `before`: of this revision, `digest`: its inputs'."""
    if not step.left:
        return None
    known = before.of if before else 0
    return Pending(
        revision=wanted.revision,
        ref=wanted.ref,
        inputs_digest=digest,
        moment=step.moment,
        wave=step.wave,
        left=step.left,
        of=max(known, step.left + 1),
        since=now,
        timeout_seconds=verification.timeout_seconds,
    )


def go_on(tools: Tools, place: Standing, release: Release) -> str:
    """Have the next step taken: what was wanted is to be done again, unless something newer is wanted by now.

    The caller has a sync job enqueued for what is wanted (`let_others_go_on`).
    """
    pending = release.status.pending
    assert pending is not None  # that is what there is to go on with
    name = str(place.name)
    wishes = tools.queue.wishes
    with tools.broker.guard():
        if wishes.get(name) is None:
            newest = wishes.newest(name)
            wanted = (
                newest
                if newest is not None and newest.revision == pending.revision
                else _wanted(place, pending, sequence=newest.sequence if newest else 0)
            )
            wanted = wanted.model_copy(
                update={"goes_on": release.status.claim, "rollback": False, "pin": False}
            )
            wishes.again(wanted)
    return f"healthy so far; {pending.text}"


def _wanted(place: Standing, pending: Pending, *, sequence: int) -> Wanted:
    """The wish for the rest of a revision, where the one it came with is gone: Redis was wiped, or a newer one refused."""
    return Wanted(
        release=str(place.name),
        repository=place.repository.name,
        ref=pending.ref,
        revision=pending.revision,
        sequence=sequence,
        trigger=Trigger.CLOCK,
        received_at=time.time(),
    )
