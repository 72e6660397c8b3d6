"""Every error as `application/problem+json` (RFC 9457), except where a part of the receiver answers people.

`type` of an error of ours is `/problems/<name>`; errors of HTTP itself (404, 405, ...) are `about:blank`. What nobody
foresaw is logged here, once, and answered 500 without a word of what it was.
"""

from __future__ import annotations

import math
from http import HTTPStatus

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from towline.receiver.problem_types import PREFIX, ProblemBody, ProblemLine, kebab
from towline.shared.errors import TowlineError

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_SECONDS = 5.0
WAITING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Have this application answer its errors so."""
    app.register_error_handler(TowlineError, of_error)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(Exception, _unforeseen)


def of_error(error: TowlineError) -> Response:
    """An error of ours."""
    lines = [
        ProblemLine(
            message=each.message,
            object=each.object,
            file=each.file,
            line=each.line,
            path=each.path,
            found=each.found,
            allowed=each.allowed,
        )
        for each in error.problems
    ]
    answer = _answer(
        ProblemBody(
            type=PREFIX + kebab(type(error).__name__),
            title=(type(error).__doc__ or "").strip().splitlines()[0],
            status=error.status,
            detail=error.message,
            hint=error.hint or None,
            release=error.release,
            problems=lines,
        )
    )
    if error.status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="towline"'
    if error.status in WAITING:
        seconds = error.retry_after if error.retry_after is not None else DEFAULT_RETRY_SECONDS
        answer.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return answer


def of_http(error: HTTPException) -> Response:
    """An error of HTTP itself."""
    own = error.get_response()
    answer = _answer(
        ProblemBody(
            type="about:blank",
            title=error.name,
            status=own.status_code,
            detail=error.description or error.name,
        )
    )
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in own.headers:
            answer.headers[name] = own.headers[name]
    return answer


def _unforeseen(error: Exception) -> Response:
    log.error("receiver.failed", method=request.method, endpoint=request.endpoint, exc_info=error)
    return _answer(
        ProblemBody(
            type="about:blank",
            title="Internal Server Error",
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            detail="something went wrong that nobody foresaw",
            hint="the receiver's log has the details",
        )
    )


def _answer(body: ProblemBody) -> Response:
    text = body.model_dump_json(exclude_defaults=True)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(text, status=body.status, mimetype=MEDIA_TYPE, headers=headers)
