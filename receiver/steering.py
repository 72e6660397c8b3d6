"""What an operator may tell one release: sync, roll back, pin, unpin, suspend, resume; by API or page.

In: a caller, a release as it is shown, and what was asked for. Out: the job that was enqueued, on `urgent`, and what follows
from it in words. Each is one Redis transaction; killed before it nothing was accepted, killed after it the work is done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from towline.receiver.caller import Caller, operator_delivery, unusable
from towline.receiver.verdicts import status_of
from towline.shared.choice import NAMED, PREFIX, beginning_with, known_revisions, previous_stable, stored_text
from towline.shared.errors import Conflict
from towline.shared.jobs import QueueName, SteerArguments, Steering, steer_call, sync_call
from towline.shared.model import Trigger, is_revision, short
from towline.shared.release import ReleaseStatus
from towline.shared.views import ReleaseView
from towline.shared.wanted import Wanted

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The job for an operator's word; `revision` is "" for the tip of the branch."""

    job: str
    message: str
    received_at: float
    revision: str = ""


def start_sync(caller: Caller, view: ReleaseView, *, revision: str | None, allow_prune: bool) -> Started:
    """Have a release brought to a revision, or to the tip of its branch; raises Conflict for a suspended one."""
    repository, ref = _free_to_move(view)
    if revision is None:
        log.info("api.sync", release=str(view.name), operator=caller.grant.name)
        new = operator_delivery(caller, repository=repository, ref=ref, allow_prune=allow_prune)
        delivery = caller.context.ledger.push_release(new, release=str(view.name))
        text = f"goes to the tip of {ref.removeprefix('refs/heads/')}"
        return Started(job=delivery.jobs[0], message=text, received_at=new.received_at)
    meant = resolved(view, status_of(view), revision)
    wanted = _wanted(caller, view, revision=meant, allow_prune=allow_prune, full=True)
    return _enqueued(caller, wanted, f"goes to {short(meant)}; the next push moves it on")


def start_rollback(caller: Caller, view: ReleaseView, *, revision: str | None, pin: bool) -> Started:
    """Have a release brought back; raises Conflict for a suspended one, and where there is nothing to go back to."""
    _free_to_move(view)
    status = status_of(view)
    meant = _previous(view, status) if revision is None else resolved(view, status, revision)
    wanted = _wanted(caller, view, revision=meant, rollback=True, pin=pin)
    how = "" if status.stored_of(meant) else "; it is not stored any more, so it is rendered again"
    return _enqueued(caller, wanted, f"goes back to {short(meant)}{how}; {_follows(view, meant, pin=pin)}")


def start_steering(
    caller: Caller, view: ReleaseView, action: Steering, *, revision: str | None = None
) -> Started:
    """Have an operator's word written into the Release; raises Conflict for a pin of a release that is nowhere yet."""
    status = status_of(view)
    meant = ""
    if action is Steering.PIN:
        meant = resolved(view, status, revision) if revision else status.revision
        if not meant:
            raise Conflict(
                f"{view.name} is at no revision yet", hint="name the revision", release=str(view.name)
            )
    operator = caller.grant.name
    log.info("api.steer", release=str(view.name), action=action, revision=meant, operator=operator)
    arguments = SteerArguments(release=str(view.name), action=action, revision=meant, operator=operator)
    (job,) = caller.context.queue.enqueue([steer_call(arguments)])
    return Started(job=job, message=_meaning(view, action, meant), received_at=time.time(), revision=meant)


def resolved(view: ReleaseView, status: ReleaseStatus, digits: str) -> str:
    """The whole id that these first digits stand for; raises InvalidInput unless the release knows exactly one."""
    if is_revision(digits):
        return digits
    fitting = beginning_with(digits, known_revisions(status, pinned=view.pinned))
    if PREFIX.fullmatch(digits) and len(fitting) == 1:
        return fitting[0]
    found = f"{digits}, which fits {', '.join(fitting[:NAMED])}" if fitting else digits
    raise unusable(
        "revision",
        found=found,
        allowed=f"a whole commit id, or the first digits of one revision that {view.name} knows",
    )


def _previous(view: ReleaseView, status: ReleaseStatus) -> str:
    previous = previous_stable(status)
    if previous is None:
        raise Conflict(
            f"{view.name} has no revision that was stable before {short(status.revision) or 'now'}"
            f" (stored: {stored_text(status)})",
            hint="name a revision; one that is not stored is rendered again",
            release=str(view.name),
        )
    return previous.revision


def _free_to_move(view: ReleaseView) -> tuple[str, str]:
    """Repository and ref of a release; raises Conflict for one that is suspended or has none."""
    if view.suspended:
        raise Conflict(f"{view.name} is suspended", hint="resume it first", release=str(view.name))
    repository, ref = str(view.status.get("repository", "")), str(view.status.get("ref", ""))
    if not (repository and ref):
        raise Conflict(
            f"{view.name} has no recorded branch yet", hint="push to its repository", release=str(view.name)
        )
    return repository, ref


def _wanted(caller: Caller, view: ReleaseView, *, revision: str, **how: object) -> Wanted:
    context = caller.context
    with context.broker.guard():
        sequence = context.queue.wishes.next_sequence()
    wanted = Wanted(
        release=str(view.name),
        repository=str(view.status.get("repository", "")),
        ref=str(view.status.get("ref", "")),
        revision=revision,
        sequence=sequence,
        trigger=Trigger.OPERATOR,
        operator=caller.grant.name,
        received_at=time.time(),
    )
    return wanted.model_copy(update=how)


def _enqueued(caller: Caller, wanted: Wanted, message: str) -> Started:
    log.info(
        "api.rollback" if wanted.rollback else "api.sync",
        release=wanted.release,
        revision=wanted.revision,
        pin=wanted.pin,
        operator=wanted.operator,
    )
    call = sync_call(
        wanted.release, revision=wanted.revision, trigger=Trigger.OPERATOR, queue=QueueName.URGENT
    )
    (job,) = caller.context.queue.enqueue([call], [wanted])
    return Started(job=job, message=message, received_at=wanted.received_at, revision=wanted.revision)


def _follows(view: ReleaseView, revision: str, *, pin: bool) -> str:
    if pin:
        return f"pinned there: `towline unpin {view.name}` follows the branch again"
    if view.pinned and view.pinned != revision:
        return f"still pinned to {short(view.pinned)}: what is pushed waits until `towline unpin {view.name}`"
    return "not pinned: the next push that changes the service moves it on"


def _meaning(view: ReleaseView, action: Steering, revision: str) -> str:
    name = view.name
    match action:
        case Steering.SUSPEND:
            return f"suspended: nothing is synced or rolled back until `towline resume {name}`"
        case Steering.RESUME:
            return "resumed: it is judged anew, and its branch is looked at"
        case Steering.PIN:
            return f"pinned to {short(revision)}: `towline unpin {name}` follows the branch again"
        case Steering.UNPIN:
            return "unpinned: it follows its branch again"
