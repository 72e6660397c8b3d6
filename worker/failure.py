"""Why a release failed, as its record tells it: the cause with the last words of what failed, without its secrets.

In: a release as it stands and a verdict that it fails. Out: a Cause, and the status whose history holds it. The Secrets of
the service are known from its stored objects; where those cannot be read nothing of the cluster's own words is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from towline.shared.errors import TowlineError
from towline.shared.model import Object, Result
from towline.shared.objects import is_secret
from towline.shared.release import Failure, Release, ReleaseStatus
from towline.worker.cause import Cause, cause_of
from towline.worker.health.release import ReleaseVerdict
from towline.worker.history import newest_of, with_told
from towline.worker.state import Standing

log = structlog.get_logger(__name__)


def why(place: Standing, release: Release, verdict: ReleaseVerdict) -> Cause:
    """What made this verdict; never raises for what cannot be read."""
    try:
        secrets = _secrets(place, release)
    except TowlineError as error:
        log.warning("failure.secrets", release=str(place.name), error=error.message)
        reason = verdict.fault.reason if verdict.fault else str(verdict.health)
        text = f"{verdict.object}: {reason} (its stored Secrets cannot be read, so no more of it is shown)"
        return Cause(text=text, object=verdict.object, reason=reason)
    return cause_of(place.target, verdict, secrets)


def _secrets(place: Standing, release: Release) -> Sequence[Object]:
    if not any((one.group, one.kind) == ("", "Secret") for one in release.status.objects):
        return ()
    stored = release.status.stored_of(release.status.revision)
    return [one for one in place.records.load(release, stored) if is_secret(one)] if stored else ()


def told(status: ReleaseStatus, revision: str, cause: Cause) -> ReleaseStatus:
    """The status whose newest failed attempt at this revision tells its cause."""
    entry = newest_of(status.history, revision)
    if entry is None or entry.result not in (Result.FAILED, Result.ROLLED_BACK):
        return status
    failure = Failure(
        object=str(cause.object or ""),
        container=cause.container,
        reason=cause.reason,
        exit_code=cause.exit_code,
        message=cause.message,
        events=cause.events,
    )
    history = with_told(status.history, entry, {"failure": failure, "logs": cause.logs})
    return status.model_copy(update={"history": history})
