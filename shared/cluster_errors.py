"""A Kubernetes API server's error answers as errors of our tree.

In: code, headers and body of an answer that is not 2xx; the body is a `Status`, or anything else when a proxy answers.
Out: ClusterDown or Unavailable for what may pass by itself, ClusterError and its kinds for what will not. No state.

Not wrapped: 404 for an object that is only looked up (`Cluster.get`, `Cluster.delete`) is an answer, not an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from towline.shared.errors import (
    ClusterDown,
    ClusterError,
    FieldConflict,
    Immutable,
    Problem,
    TowlineError,
    Unavailable,
)
from towline.shared.model import Object
from towline.shared.objects import is_secret, key_of, redact

MESSAGE_LENGTH = 2_000  # characters kept of a server's message; an invalid CRD fills megabytes
SEARCHED_LENGTH = 100_000  # characters of a message about a Secret that are searched for its values
CAUSES = 50  # causes kept of one answer
RETRY_AFTER_MAX_SECONDS = 60.0
RETRY_AFTER_SECONDS = 2.0  # where the server does not say

# Server-side apply sends these as 500, although the same object is refused for ever: structuredmerge.go in
# k8s.io/apimachinery/pkg/util/managedfields/internal; https://github.com/kubernetes/kubernetes/issues/104641.
# Except where a conversion webhook stands behind it that is down. etcd's limit of 1.5 MiB comes as 500 too, and counts what
# no check of ours sees: the managedFields of the object as it will be stored.
PERMANENT_500 = re.compile(
    r"^(?!.*webhook).*failed to (?:create typed |convert |decode last applied|update ManagedFields)"
    r"|.*(?:request is too large|send message larger than max)",
    re.DOTALL,
)

# Validation says "this field cannot change" in many words: apimachinery's ValidateImmutableField, Service, Job,
# StatefulSet, StorageClass, PriorityClass, Pod and RBAC each have their own.
IMMUTABLE = re.compile(
    r"immutable|may not change once set|cannot change roleRef|can ?not be (?:changed|updated|modified) "
    r"(?:after|once)|updates to \S+ (?:spec for fields other than|are forbidden)|primary clusterIP can not be unset|"
    r"may not be changed in an update|pod updates may not change fields other than",
    re.IGNORECASE,
)

HINTS = {
    401: "check the credentials in the kubeconfig, or that the service account still exists",
    403: "give the service account of this environment that right; `kubectl auth can-i` shows what it has",
    413: "make the object smaller",
}


def error_of(
    code: int, headers: Mapping[str, str], body: bytes, *, doing: str, object: Object | None = None
) -> TowlineError:
    """The error for one answer; `doing` says what was asked, `object` was sent and is masked in the message."""
    status = status_of(body)
    message = plain(_message(status, body), object)
    reason = _text(status.get("reason"))
    if is_transient(code, message):
        return ClusterDown(
            f"{doing}: the API server answered {code}: {message}",
            hint="it is overloaded, restarting, or a webhook of it does not answer; this is tried again",
            retry_after=retry_after(headers),
        )
    if _has_cause(
        status, "NamespaceTerminating"
    ):  # sent as 403, although it is a matter of time and not of rights
        return Unavailable(
            f"{doing}: {message}",
            hint="this is tried again until the namespace is gone; `kubectl describe namespace` says what it waits for",
        )
    name = str(key_of(object)) if object is not None else None
    causes = _causes(status, object=object, name=name)
    kind = _kind(code, message, causes, status)
    error = kind(
        f"{doing}: {message}",
        code=code,
        reason=reason,
        causes=causes,
        object=name,
        hint=_hint(kind, code, message),
    )
    # Somebody wrote the object between our read and our write: the next try reads it anew.
    error.retry = code == 409 and reason == "Conflict" and kind is ClusterError
    return error


def status_of(body: bytes) -> Mapping[str, Any]:
    """The `Status` in a body, empty when it holds something else."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def is_transient(code: int, message: str) -> bool:
    """Whether the same request may succeed later without anybody doing something."""
    if code == 500:
        return PERMANENT_500.match(message) is None
    return code == 429 or code > 500


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, from `Retry-After`, within reason."""
    text = headers.get("Retry-After") or ""
    return (
        min(float(text), RETRY_AFTER_MAX_SECONDS)
        if text.isascii() and text.isdigit()
        else RETRY_AFTER_SECONDS
    )


def plain(text: str, object: Object | None = None) -> str:
    """A server's text as it may be shown: without values of the Secret that was sent, on one line, not endless."""
    if object is not None and is_secret(object):
        # Searched whole, since half of a value would not be found.
        text = redact(text, object) if len(text) <= SEARCHED_LENGTH else "the message is too long to be shown"
    text = " ".join(
        "".join(char if char.isprintable() else " " for char in text[: 2 * MESSAGE_LENGTH]).split()
    )
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"


def _message(status: Mapping[str, Any], body: bytes) -> str:
    if status:
        return _text(status.get("message")) or _text(status.get("reason")) or "no reason given"
    return body[:300].decode("utf-8", "replace").strip() or "no reason given"


def _causes(status: Mapping[str, Any], *, object: Object | None, name: str | None) -> tuple[Problem, ...]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return tuple(
        Problem(
            message=plain(_text(cause.get("message")) or _text(cause.get("reason")), object),
            object=name,
            path=plain(_text(cause.get("field"))) or None,
        )
        for cause in (causes[:CAUSES] if isinstance(causes, list) else ())
        if isinstance(cause, dict)
    )


def _kind(
    code: int, message: str, causes: tuple[Problem, ...], status: Mapping[str, Any]
) -> type[ClusterError]:
    if code == 409 and _has_cause(status, "FieldManagerConflict"):
        return FieldConflict
    texts = [message, *(cause.message for cause in causes)]
    if code == 422 and any(IMMUTABLE.search(text) for text in texts):
        return Immutable
    return ClusterError


def _has_cause(status: Mapping[str, Any], reason: str) -> bool:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return isinstance(causes, list) and any(
        isinstance(one, dict) and one.get("reason") == reason for one in causes
    )


def _hint(kind: type[ClusterError], code: int, message: str) -> str:
    if kind is Immutable:
        return "annotate the object with towline.dev/recreate: allowed to have it deleted and made anew"
    if code == 500 and ("request is too large" in message or "larger than max" in message):
        return HINTS[413]
    if code == 404 and "namespaces" in message:
        return "create the namespace, or let the environment create it"
    return HINTS.get(code, "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
