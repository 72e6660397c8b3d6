"""Records a step of hooks: what runs now, for which revision, and what is still to come of it.

In: the hooks that were started, or what was refused of them. Out: an Outcome. State: the status of the Release, written once
an attempt, with the claim as precondition. Before anything else of a revision is applied, the record goes on to say what is
applied: the revision before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from towline.shared.errors import Problem, Refused
from towline.shared.model import Health, Moment, Phase, Result, short
from towline.shared.pending import HookRun, Pending
from towline.shared.release import HistoryEntry, Release, ReleaseStatus
from towline.shared.wanted import Wanted
from towline.worker.decision import failed, hook_failed
from towline.worker.history import with_step
from towline.worker.outcome import Counts, Outcome, announce, put_on_record
from towline.worker.record import entry_with_commit, stable_until
from towline.worker.stages import Stages
from towline.worker.state import State
from towline.worker.steps import Step
from towline.worker.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a step of hooks did: `runs` are all of the revision's by now, `problems` what was refused."""

    release: Release
    step: Step
    pending: Pending | None
    runs: tuple[HookRun, ...]
    problems: tuple[Problem, ...]


def record_hooks(tools: Tools, state: State, wanted: Wanted, started: Started, stages: Stages) -> Outcome:
    """The status after starting hooks: they are judged now; where one was refused, the revision has failed."""
    now = state.now()
    entry = entry_with_commit(state, wanted, Result.SYNCED, Counts(), stages)
    status = _running(state, wanted, started, entry, now)
    is_before = started.step.moment is Moment.PRE_SYNC
    if started.problems:
        cause = f"half-way: {Refused('a hook was refused', problems=started.problems)}"
        running = replace(started.release, status=status)
        status = (
            hook_failed(running, cause, now=now)
            if is_before
            else failed(running, cause, now=now, health=Health.UNKNOWN)
        )
    release = put_on_record(tools, state, started.release, status)
    if started.problems:
        announce(state.records, release, reason="Failed")
    return Outcome(
        result=Result.FAILED if started.problems else Result.SYNCED,
        text=status.message,
        release=release,
        is_partial=True,
        is_waiting=is_before and not started.problems,
    )


def _running(
    state: State, wanted: Wanted, started: Started, entry: HistoryEntry, now: datetime
) -> ReleaseStatus:
    before, step = started.release.status, started.step
    revision = short(wanted.revision)
    to_come = f"; {started.pending.text}" if started.pending else ""
    update: dict[str, object] = {
        **state.identity,
        "pending": started.pending,
        "hooks": started.runs,
        "message": f"runs {step.moment} hooks of {revision}{to_come}",
        "history": with_step(before.history, entry, is_applied=step.moment is not Moment.PRE_SYNC),
    }
    if step.moment is Moment.POST_SYNC:
        update |= {"phase": Phase.VERIFYING, "health": Health.PROGRESSING, "synced_at": now}
    elif not before.revision:
        update |= {"phase": Phase.VERIFYING, "health": Health.PROGRESSING}
    if not state.continued:
        until = stable_until(before, entry, is_known=state.knows_what_ran(wanted))
        update |= {"history": (entry, *before.history), "stable_until": until}
    return before.model_copy(update=update)
