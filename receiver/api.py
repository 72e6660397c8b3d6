"""`/api/v1`: releases, revisions, deliveries, and what an operator may ask for.

In: HTTP calls with a bearer token. Out: JSON of `api_models.py`, or problem+json. OPERATIONS is the whole of it: the
routes, the checks before each and the OpenAPI description are made from this table. A call that writes is one Redis
transaction; killed before it nothing was accepted, killed after it the work is done though nobody was told.
"""

from __future__ import annotations

from flask import Blueprint

from towline.receiver.access import Access
from towline.receiver.api_models import (
    Deliveries,
    DeliveryFilter,
    DeliveryLine,
    JobStarted,
    PinInput,
    PushAccepted,
    PushInput,
    ReleaseDetail,
    ReleaseFilter,
    Releases,
    RevisionAnswer,
    RevisionFilter,
    RollbackInput,
    SyncInput,
    accepted,
    delivery_line,
    detail_of,
    release_of,
    time_of,
)
from towline.receiver.caller import (
    Caller,
    delivery_for,
    start_push,
    start_redelivery,
    unusable,
    view_for,
    visible_deliveries,
)
from towline.receiver.calls import Operation, view_of
from towline.receiver.context import Context
from towline.receiver.openapi import description
from towline.receiver.revisions import Question
from towline.receiver.steering import Started, start_rollback, start_steering, start_sync
from towline.receiver.tokens import Scope
from towline.shared.jobs import Steering
from towline.shared.model import ReleaseName, is_revision

PREFIX = "/api/v1"


def list_releases(caller: Caller, path: dict[str, str], given: ReleaseFilter) -> Releases:
    """All releases that the caller may see, without their histories."""
    views = caller.context.views.list(environment=given.environment, service=given.service, phase=given.phase)
    return Releases(releases=[release_of(view) for view in views if caller.grant.covers(view.environment)])


def show_release(caller: Caller, path: dict[str, str], given: None) -> ReleaseDetail:
    """One release with its history."""
    return detail_of(view_for(caller, name_in(path)))


def sync_release(caller: Caller, path: dict[str, str], given: SyncInput) -> JobStarted:
    """Bring a release to a revision, or to the tip of its branch."""
    view = view_for(caller, name_in(path))
    return started(start_sync(caller, view, revision=given.revision, allow_prune=given.allow_prune))


def roll_back_release(caller: Caller, path: dict[str, str], given: RollbackInput) -> JobStarted:
    """Bring a release back to a revision, or to the one that was stable before, and keep it there."""
    view = view_for(caller, name_in(path))
    return started(start_rollback(caller, view, revision=given.revision, pin=given.pin))


def pin_release(caller: Caller, path: dict[str, str], given: PinInput) -> JobStarted:
    """Keep a release at a revision, or where it is."""
    view = view_for(caller, name_in(path))
    return started(start_steering(caller, view, Steering.PIN, revision=given.revision))


def unpin_release(caller: Caller, path: dict[str, str], given: None) -> JobStarted:
    """Have a release follow its branch again."""
    return started(start_steering(caller, view_for(caller, name_in(path)), Steering.UNPIN))


def suspend_release(caller: Caller, path: dict[str, str], given: None) -> JobStarted:
    """Leave a release alone until it is resumed."""
    return started(start_steering(caller, view_for(caller, name_in(path)), Steering.SUSPEND))


def resume_release(caller: Caller, path: dict[str, str], given: None) -> JobStarted:
    """Look after a release again."""
    return started(start_steering(caller, view_for(caller, name_in(path)), Steering.RESUME))


def started(job: Started) -> JobStarted:
    """The answer to an operator's word."""
    return JobStarted(
        job=job.job, message=job.message, revision=job.revision, received_at=time_of(job.received_at)
    )


def show_revision(caller: Caller, path: dict[str, str], given: RevisionFilter) -> RevisionAnswer:
    """Whether a revision is live at every release that it touches; with `wait`, as soon as that is final."""
    repository = caller.context.config.repository(path["name"])
    revision = path["revision"].lower()
    if not is_revision(revision):
        raise unusable("revision", found=path["revision"], allowed="a whole commit id, 40 or 64 hex digits")
    question = Question(caller=caller, repository=repository, revision=revision)
    return caller.context.long_poll.until(question.answer, lambda one: one.final, seconds=given.wait or 0)


def list_deliveries(caller: Caller, path: dict[str, str], given: DeliveryFilter) -> Deliveries:
    """The newest deliveries that the caller may see."""
    found = visible_deliveries(
        caller,
        limit=given.limit,
        repository=given.repository,
        verdict=given.verdict,
        before=float(given.before) if given.before else None,
    )
    return Deliveries(
        deliveries=[delivery_line(delivery) for delivery in found.deliveries],
        next=repr(found.older_than) if found.older_than is not None else None,
    )


def show_delivery(caller: Caller, path: dict[str, str], given: None) -> DeliveryLine:
    """One delivery."""
    return delivery_line(delivery_for(caller, path["id"]))


def redeliver(caller: Caller, path: dict[str, str], given: None) -> PushAccepted:
    """Enqueue the pushes of a delivery again."""
    return accepted(start_redelivery(caller, path["id"]))


def push(caller: Caller, path: dict[str, str], given: PushInput) -> PushAccepted:
    """As if the forge had called: bring what a ref deploys to its tip."""
    return accepted(start_push(caller, path["name"], given.ref, allow_prune=given.allow_prune))


def name_in(path: dict[str, str]) -> ReleaseName:
    """The release that a path names; raises NotFound."""
    return ReleaseName.parse(f"{path['environment']}/{path['service']}")


# What an operator may tell one release: each is a job, and its path ends with the word itself.
STEERING = (
    (
        "sync",
        Scope.SYNC,
        "Bring a release to a revision, or to the tip of its branch",
        SyncInput,
        sync_release,
    ),
    ("rollback", Scope.ROLLBACK, "Bring a release back, and pin it there", RollbackInput, roll_back_release),
    ("pin", Scope.ROLLBACK, "Keep a release at a revision, whatever is pushed", PinInput, pin_release),
    ("unpin", Scope.ROLLBACK, "Have a release follow its branch again", None, unpin_release),
    ("suspend", Scope.SYNC, "Leave a release alone: no sync, no rollback", None, suspend_release),
    ("resume", Scope.SYNC, "Look after a release again", None, resume_release),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listReleases",
        method="GET",
        path="/releases",
        scope=Scope.READ,
        summary="All releases, narrowed by environment, service or phase",
        takes=ReleaseFilter,
        answer=Releases,
        run=list_releases,
    ),
    Operation(
        name="showRelease",
        method="GET",
        path="/releases/<environment>/<service>",
        scope=Scope.READ,
        summary="One release with its history",
        answer=ReleaseDetail,
        run=show_release,
    ),
    *(
        Operation(
            name=f"{word}Release",
            method="POST",
            path=f"/releases/<environment>/<service>/{word}",
            scope=scope,
            summary=summary,
            takes=takes,
            answer=JobStarted,
            run=run,
            status=202,
        )
        for word, scope, summary, takes, run in STEERING
    ),
    Operation(
        name="showRevision",
        method="GET",
        path="/repositories/<name>/revisions/<revision>",
        scope=Scope.READ,
        summary="Whether a revision is live, for each release that it touches",
        takes=RevisionFilter,
        answer=RevisionAnswer,
        run=show_revision,
    ),
    Operation(
        name="push",
        method="POST",
        path="/repositories/<name>/push",
        scope=Scope.SYNC,
        summary="As if the forge had called: look at a ref and deploy what it changes",
        takes=PushInput,
        answer=PushAccepted,
        run=push,
        status=202,
    ),
    Operation(
        name="listDeliveries",
        method="GET",
        path="/deliveries",
        scope=Scope.READ,
        summary="The newest webhook deliveries and what came of them",
        takes=DeliveryFilter,
        answer=Deliveries,
        run=list_deliveries,
    ),
    Operation(
        name="showDelivery",
        method="GET",
        path="/deliveries/<id>",
        scope=Scope.READ,
        summary="One delivery",
        answer=DeliveryLine,
        run=show_delivery,
    ),
    Operation(
        name="redeliver",
        method="POST",
        path="/deliveries/<id>/redeliver",
        scope=Scope.SYNC,
        summary="Enqueue the pushes of a delivery again",
        answer=PushAccepted,
        run=redeliver,
        status=202,
    ),
)


def blueprint(context: Context) -> Blueprint:
    """The routes of OPERATIONS."""
    access = Access(context)
    routes = Blueprint("api", __name__, url_prefix=PREFIX)
    for operation in OPERATIONS:
        routes.add_url_rule(
            operation.path,
            endpoint=operation.name,
            methods=[operation.method],
            view_func=view_of(context, access, operation),
        )
    routes.add_url_rule("/openapi.json", "openapi", lambda: description(OPERATIONS, prefix=PREFIX))
    return routes
