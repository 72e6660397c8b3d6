"""Named points at which a test can have a process die, stop or fail: nothing at all unless TOWLINE_FAULTS names a folder.

In: the name of a point that a process passes; with the variable set, files `<folder>/<point>` that hold an Action. Out:
nothing, or that action, once: who passes first renames the file to `<point>.met`, so of many processes exactly one is
hit, and a test arms the next fault while they run. No state. `worker/stages.py` has a point before and after each stage.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

from towline.shared.errors import Unavailable

VARIABLE = "TOWLINE_FAULTS"


class Stage(StrEnum):
    """The stages of jobs, in the order in which a push meets them."""

    FETCH = "fetch"
    CHANGES = "changes"
    ENQUEUE = "enqueue"
    FIND = "find"
    RENDER = "render"
    PLAN = "plan"
    CHECK = "check"
    CLAIM = "claim"
    APPLY = "apply"
    PRUNE = "prune"
    RECORD = "record"
    JUDGE = "judge"
    CAUSE = "cause"
    CONCLUDE = "conclude"
    LOAD = "load"


class Point(StrEnum):
    """The points that are no stage's begin or end."""

    DELIVERY_ENQUEUED = "delivery.enqueued"  # by the receiver, and not answered yet
    JOB_TAKEN = "job.taken"
    OBJECT_SENT = "object.sent"  # one object of several was applied
    SPEC_WRITTEN = "spec.written"  # an operator's word is in the Release, and not carried out yet
    JOB_ENDING = "job.ending"  # everything is done, and the books are still open
    JOB_ENDED = "job.ended"  # the books are closed, and RQ does not know it yet


class Action(StrEnum):
    """What happens to who passes."""

    KILL = "kill"
    STOP = "stop"  # until SIGCONT
    DOWN = "down"  # something that may pass, as when a server does not answer
    BUG = "bug"


POINTS = frozenset([*Point, *(f"{stage}.{edge}" for stage in Stage for edge in ("begin", "end"))])


def _nothing(point: str) -> None:
    """No folder is named: pass."""


def _look(folder: Path, point: str) -> None:
    """Do what the folder asks of the first who passes this point."""
    met = folder / f"{point}.met"
    try:
        (folder / point).rename(met)
    except FileNotFoundError:
        return
    _act(point, Action(met.read_text().strip()))


def _act(point: str, action: Action) -> None:
    if action is Action.DOWN:
        raise Unavailable(f"the test has {point} fail", hint="unset TOWLINE_FAULTS outside of tests")
    if action is Action.BUG:
        raise RuntimeError(f"the test has {point} fail")
    os.kill(os.getpid(), signal.SIGKILL if action is Action.KILL else signal.SIGSTOP)


def _chosen() -> Callable[[str], None]:
    folder = os.environ.get(VARIABLE)
    return partial(_look, Path(folder)) if folder else _nothing


fault = _chosen()
