"""Every error that Towline raises on purpose, in one tree.

    TowlineError                     retry = False, status = 500
    ├─ ConfigError            422    operator's or team's file; every problem of it
    ├─ DeliveryError          400    a delivery that is not of the forge's form
    │  ├─ UnknownRepository   404
    │  ├─ BadSignature        401
    │  ├─ TooLarge            413
    │  ├─ TooSlow             408
    │  └─ TooMany             429    retry_after
    ├─ AccessError            401    no token, or one that is wrong, old or revoked
    │  └─ NotAllowed          403
    ├─ InvalidInput           422    a call of the API that is not of the documented form
    ├─ NotFound               404
    ├─ Conflict               409    suspended, claimed by somebody else
    ├─ Unavailable            503    retry = True, retry_after
    │  ├─ RedisDown
    │  ├─ ClusterDown
    │  ├─ ForgeDown
    │  └─ NotGoneYet               no attempt has failed: it is looked for again
    ├─ GitError               422
    │  ├─ RevisionMissing
    │  ├─ MirrorDamaged       503    retry = True; the next fetch clones anew
    │  ├─ PathOutsideCheckout
    │  └─ FetchRefused
    ├─ RenderError            422    the file and line that cannot be rendered
    │  ├─ EmptyRender
    │  └─ ProgramLimit
    ├─ Refused                422    a plan that may not be carried out; a problem an object
    │  ├─ PolicyRefused
    │  ├─ PlanRefused                by the API server's dry run or admission
    │  └─ UnsafePrune
    └─ ClusterError           502    the API server's Status: code, reason, causes
       ├─ FieldConflict
       ├─ Immutable
       └─ UnknownKind                 not served (yet): a CRD is missing

The class says who must act; the fields say where. `retry` alone decides whether a job is tried again. Outcomes
(unhealthy, superseded, nothing to do) are values, not errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where: `path` is a place inside the file or the object (`services.orders.path`)."""

    message: str
    object: str | None = None
    file: str | None = None
    line: int | None = None
    path: str | None = None
    found: str | None = None
    allowed: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.file and self.line:
            place = f"{self.file}:{self.line}"
        parts = [part for part in (place, self.path, self.object) if part]
        text = ": ".join([*parts, self.message])
        if self.found is not None:
            text += f" (found {self.found})"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        return text


class TowlineError(Exception):
    """Something went wrong that somebody can act on."""

    status = 500
    retry = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        release: str | None = None,
        problems: Sequence[Problem] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.release = release
        self.problems = tuple(problems)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {problem}" for problem in self.problems)])

    def explained(self) -> str:
        """The message, every problem, and what to do."""
        return f"{self}\n{self.hint}" if self.hint else str(self)


class ConfigError(TowlineError):
    """A configuration file that cannot be used as it is."""

    status = 422


class DeliveryError(TowlineError):
    """A delivery that is not of the forge's form."""

    status = 400


class UnknownRepository(DeliveryError):
    """A delivery for a repository that is not configured."""

    status = 404


class BadSignature(DeliveryError):
    """A delivery whose signature is missing or wrong."""

    status = 401


class TooLarge(DeliveryError):
    """A body above the limit."""

    status = 413


class TooSlow(DeliveryError):
    """A body that did not arrive in time."""

    status = 408


class TooMany(DeliveryError):
    """More deliveries than the repository's limit allows."""

    status = 429


class AccessError(TowlineError):
    """A call without a valid token or session."""

    status = 401


class NotAllowed(AccessError):
    """A call that the token's scopes or environments do not cover."""

    status = 403


class InvalidInput(TowlineError):
    """A call whose parameters or body are not of the documented form."""

    status = 422


class NotFound(TowlineError):
    """Something that does not exist, or that the caller may not know of."""

    status = 404


class Conflict(TowlineError):
    """Something that is in another state than the call needs."""

    status = 409


class Unavailable(TowlineError):
    """A part that does not answer now; the same thing may work later."""

    status = 503
    retry = True


class RedisDown(Unavailable):
    """Redis does not answer."""


class ClusterDown(Unavailable):
    """A Kubernetes API server does not answer, or answers that it is overloaded."""


class ForgeDown(Unavailable):
    """A Git server does not answer."""


class NotGoneYet(Unavailable):
    """What is being deleted and has to go first; to look again is no attempt that failed."""


class GitError(TowlineError):
    """A repository that cannot be read as it is."""

    status = 422


class RevisionMissing(GitError):
    """A revision or ref that the repository does not have (any more)."""


class MirrorDamaged(GitError):
    """A mirror whose objects cannot be read; the next fetch clones it anew."""

    status = 503
    retry = True


class PathOutsideCheckout(GitError):
    """A path that would leave the revision's own tree."""


class FetchRefused(GitError):
    """A Git server that refuses us: credentials, host key, certificate or protocol."""


class RenderError(TowlineError):
    """Files that cannot be rendered into Kubernetes objects."""

    status = 422


class EmptyRender(RenderError):
    """A render without any object, which never means: delete everything."""


class ProgramLimit(RenderError):
    """A renderer that took more time, memory or output than it may."""


class Refused(TowlineError):
    """A plan that may not be carried out; nothing of it was written."""

    status = 422


class PolicyRefused(Refused):
    """Objects that the environment does not allow."""


class PlanRefused(Refused):
    """Objects that the API server refuses."""


class UnsafePrune(Refused):
    """A plan that would delete more than the limit allows."""


class ClusterError(TowlineError):
    """An answer of a Kubernetes API server that is an error; the fields are those of its `Status`."""

    status = 502

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str = "",
        causes: Sequence[Problem] = (),
        object: str | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint, problems=causes)
        self.code = code
        self.reason = reason
        self.object = object


class FieldConflict(ClusterError):
    """Fields that another field manager owns."""


class Immutable(ClusterError):
    """A change to a field that cannot be changed."""


class UnknownKind(ClusterError):
    """A kind that the API server does not serve."""
