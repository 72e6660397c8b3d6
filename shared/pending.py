"""What a Release says of a revision that is brought in steps: which was the last one, and what came of its hooks.

In: parts of a status. Out: Pending and HookRun. Pure, no state.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import AwareDatetime

from towline.shared.model import HookState, Moment, ObjectKey
from towline.shared.record import Record
from towline.shared.team_file import USUAL_TIMEOUT_SECONDS


class Pending(Record):
    """A revision that is being brought in steps: its last step, after which `left` more are to come once it is healthy.

    `revision` is the one of the release, but while its hooks run before anything else of it is written; `over_half`: the one
    before it was only half brought then. `run` marks its hooks. `since`: when this step was taken, from which its
    `timeout_seconds` count. `group`: as in Verification, which is of the revision before while its hooks run.
    """

    revision: str
    ref: str = ""
    inputs_digest: str = ""
    run: str = ""
    over_half: bool = False
    moment: Moment = Moment.APPLY
    wave: int = 0
    left: int = 0
    of: int = 0
    since: AwareDatetime
    timeout_seconds: float = USUAL_TIMEOUT_SECONDS
    group: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is still to come, for people."""
        return f"{self.left} of {self.of} steps are still to be taken"


class HookRun(Record):
    """A hook that was started for a revision; `delete_on`: after which outcomes it is deleted."""

    group: str = ""
    kind: str
    namespace: str = ""
    name: str
    moment: Moment
    revision: str
    state: HookState = HookState.RUNNING
    finished_at: AwareDatetime | None = None
    delete_on: tuple[HookState, ...] = ()

    @property
    def key(self) -> ObjectKey:
        """Which object it is."""
        return ObjectKey(group=self.group, kind=self.kind, namespace=self.namespace, name=self.name)


def runs_of(runs: Iterable[HookRun], revision: str) -> tuple[HookRun, ...]:
    """The hooks of one revision."""
    return tuple(one for one in runs if one.revision == revision)


def ended_runs(
    runs: Iterable[HookRun], revision: str, state: HookState, *, now: datetime
) -> tuple[HookRun, ...]:
    """The same, where the hooks of this revision that ran have come to this."""
    told = {"state": state, "finished_at": now}
    return tuple(
        one.model_copy(update=told) if (one.revision, one.state) == (revision, HookState.RUNNING) else one
        for one in runs
    )
