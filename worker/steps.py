"""The steps in which a revision is brought: one wave after another, each healthy before the next; hooks before and after.

In: a checked plan, the hooks that are due, and what the record says of the steps before. Out: the first step that has
something to do; `go_on` has the next one taken. No worker is held in between: a sync takes one step, records what is still to come (`status.pending`) and
ends, and `conclude` has it continued when that step is healthy. Each attempt plans anew, so what was applied is simply left,
and steps with nothing to write cost nothing.

Killed at any line: before the record the same step is taken again; after it, whoever judges the release next goes on. A wish
names the attempt whose step was found healthy, so that no other attempt takes a step too early.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from towline.shared.controls import wave
from towline.shared.model import Moment, Trigger
from towline.shared.pending import Pending
from towline.shared.release import Release
from towline.shared.wanted import Wanted
from towline.worker.hooks import moment_of
from towline.worker.order import Rank, rank_of
from towline.worker.plan import Plan
from towline.worker.policy import Placed
from towline.worker.state import Standing
from towline.worker.tools import Tools

ORDER = tuple(Moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one attempt does, either by the plan or by starting hooks; `left` more steps are to come once that is healthy."""

    plan: Plan
    hooks: tuple[Placed, ...] = ()
    moment: Moment = Moment.APPLY
    wave: int = 0
    left: int = 0

    def is_after(self, pending: Pending) -> bool:
        """Whether this step comes after the one that was taken last."""
        return (ORDER.index(self.moment), self.wave) > (ORDER.index(pending.moment), pending.wave)


def first_step(plan: Plan, hooks: Sequence[Placed] = (), *, before: Pending | None = None) -> Step:
    """The first wave with something to start or to write; everything, where there are not several.

    `hooks`: those that are still to run. `before`: the step of this revision that was taken last; without one the objects
    are a step also where nothing of them changes, since it is recorded.
    """
    steps = [_hook_step(plan, hooks, Moment.PRE_SYNC, wave) for wave in _waves(hooks, Moment.PRE_SYNC)]
    after = [_hook_step(plan, hooks, Moment.POST_SYNC, wave) for wave in _waves(hooks, Moment.POST_SYNC)]
    waves = plan.waves()
    is_applied = plan.is_empty and before is not None and before.moment is not Moment.PRE_SYNC
    if not (is_applied and after):
        first = waves[0] if waves else 0
        steps.append(Step(plan=_narrowed(plan, first) if len(waves) > 1 else plan, wave=first))
    left = len(steps) + len(after) + max(0, len(waves) - 1) - 1
    return replace((steps + after)[0], left=left)


def _hook_step(plan: Plan, hooks: Sequence[Placed], moment: Moment, number: int) -> Step:
    now = tuple(item for item in hooks if moment_of(item.object) is moment and wave(item.object) == number)
    return Step(plan=plan, hooks=now, moment=moment, wave=number)


def _waves(hooks: Sequence[Placed], moment: Moment) -> list[int]:
    return sorted({wave(item.object) for item in hooks if moment_of(item.object) is moment})


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


def pending_after(step: Step, known: Pending) -> Pending | None:
    """What the record says is still to come, None after the last step; `known`: the same before this step, and its time."""
    if not step.left:
        return None
    counts = {"left": step.left, "of": max(known.of, step.left + 1)}
    return known.model_copy(update={"moment": step.moment, "wave": step.wave, **counts})


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
            wanted = wanted.model_copy(update={"goes_on": release.status.claim, "waits_since": 0.0})
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
