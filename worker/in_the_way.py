"""What an attempt comes to that meets objects of its release which are still being deleted: it is tried again later.

In: what was applied of a revision; nothing else is wrong with it. Out: the Outcome that leaves it wanted, or None when the
service's `timeout` is over, and it has failed. Nothing is pruned, no status is written, and no worker waits between two
tries. State: when the first try began, in the wish (`Wanted.waits_since`); a newer wish takes its place. Killed at any
line, the Release is claimed without a status, so that the next try compares every object.
"""

from __future__ import annotations

from towline.shared.model import Result
from towline.shared.wanted import Wanted
from towline.worker.dependants import show_waiting
from towline.worker.outcome import Outcome, announce, superseded
from towline.worker.stages import Stages
from towline.worker.state import Standing
from towline.worker.tools import Tools
from towline.worker.written import Written

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0  # below the queue's DUE_HORIZON_SECONDS
PAUSE_SHARE = 0.25  # of the time that was waited already


def left_for_later(
    tools: Tools, place: Standing, wanted: Wanted, written: Written, stages: Stages, timeout_seconds: float
) -> Outcome | None:
    """The outcome of an attempt that waits for what is being deleted; None for one that does not, or not any more."""
    if not written.applied.is_in_the_way:
        return None
    release, since = written.release, place.began(wanted, stages).timestamp()
    pause = pause_seconds(place.now().timestamp() - since, limit=timeout_seconds)
    if pause is None:
        return None
    problems = written.applied.problems
    text = "; ".join(["waits for what is being deleted", *(one.message for one in problems)])
    with tools.broker.guard():
        if tools.queue.wishes.newest_sequence(wanted.release) > wanted.sequence:
            return superseded(release, "superseded while it waited for what is being deleted")
        tools.queue.wishes.again(wanted.model_copy(update={"waits_since": since}))
    show_waiting(tools, wanted, text)
    if not wanted.waits_since:
        announce(place.records, release, reason="Waiting", message=text)
    return Outcome(
        result=Result.SUPERSEDED,
        text=text,
        release=release,
        is_change=False,
        is_waiting=True,
        again_after=pause,
    )


def pause_seconds(waited: float, *, limit: float) -> float | None:
    """How long to wait before the next try, the last one when the time is over; None when it is. Pure."""
    left = limit - waited
    if left <= 0:
        return None
    return min(max(FIRST_PAUSE_SECONDS, waited * PAUSE_SHARE), LONGEST_PAUSE_SECONDS, left)
