"""rq-dashboard at `/rq/`, for signed-in operators, made safe to mount.

rq-dashboard 0.9 has no access control, opens jobs with RQ's default serializer (pickle: whoever writes to Redis would
run code here), writes job ids, descriptions and exceptions into the page as HTML, changes things by GET, and connects
to Redis anew at each request with an address it shows. So here:

- every request needs the session; a token narrowed to environments is refused, since queues know none; whatever
  changes something needs POST, scope admin, the session's CSRF token (a cookie that its script sends back as
  `X-CSRFToken`) and our own origin. What would break the queue protocol is turned off (ALLOWED_CHANGES);
- pickle is taken out of RQ for this process;
- strings in its JSON are escaped where its templates do not, and its scripts run by nonce, so that markup that slips
  through is not executed; it compiles templates in the browser, hence `unsafe-eval`;
- it uses the receiver's own impatient Redis client and knows one server, shown as "Redis".
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import redis
from flask import Flask, Response, request
from markupsafe import escape
from rq.exceptions import NoSuchJobError
from rq.serializers import DefaultSerializer, JSONSerializer
from rq_dashboard import web as rq_dashboard
from werkzeug.wrappers import Response as AnyResponse

from towline.receiver.access import Access, Session, error_page, signed_in
from towline.receiver.context import Context
from towline.receiver.tokens import Scope
from towline.shared.errors import Conflict, NotAllowed, NotFound, RedisDown, TowlineError
from towline.shared.jobs import QueueName

NAME = "rq_dashboard"
PREFIX = "/rq"
POLL_MS = 2_500
PER_PAGE_LIMIT = 200  # jobs in one answer, as its own input allows

READS = frozenset({"GET", "HEAD"})
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
REGISTRIES = frozenset({"queued", "scheduled", "deferred", "started", "finished", "failed", "canceled"})

# Removing a stale id from a queue's list is harmless. Requeueing would use a job's id twice, and what is deleted would
# be enqueued again by the outbox sweep: the page and the API redeliver instead.
ALLOWED_CHANGES = frozenset({f"{NAME}.compact_queue"})
CHANGES = ALLOWED_CHANGES | {
    f"{NAME}.{view}" for view in ("delete_job_view", "requeue_job_view", "requeue_all", "empty_queue")
}

# Hides the buttons for what is turned off.
STYLE = '<link rel="stylesheet" href="/assets/rq.css">'

# The only strings that its templates escape themselves, on the page that lists jobs.
ESCAPED_THERE = frozenset({"description", "exc_info"})


def mount(app: Flask, context: Context) -> None:
    """Put the dashboard under PREFIX of this application."""
    DefaultSerializer.dumps = JSONSerializer.dumps
    DefaultSerializer.loads = JSONSerializer.loads
    rq_dashboard.config.serializer = JSONSerializer
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("Redis",)
    app.config["RQ_DASHBOARD_POLL_INTERVAL"] = POLL_MS
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = context.broker.redis  # type: ignore[attr-defined]
    app.register_blueprint(rq_dashboard.blueprint, url_prefix=PREFIX)
    if not app.has_static_folder:  # its pages ask for the application's favicon
        app.add_url_rule("/assets/icon.svg", endpoint="static", build_only=True)
    guard = _guard(Access(context))
    # In place of its own, which would connect anew at each request, to an address taken from the path.
    app.before_request_funcs[NAME] = [guard]
    app.after_request_funcs.setdefault(NAME, []).append(_harden)
    app.register_error_handler(NoSuchJobError, _gone)
    app.register_error_handler(redis.RedisError, _away)


def _guard(access: Access) -> Callable[[], AnyResponse | None]:
    def check() -> AnyResponse | None:
        try:
            return _check(access)
        except TowlineError as error:
            return error_page(error)

    return check


def _check(access: Access) -> AnyResponse | None:
    """Nothing when the request may go on; where to go otherwise. Raises NotAllowed or NotFound."""
    session = signed_in(access)
    if not isinstance(session, Session):
        return session
    if session.grant.environments is not None:
        raise NotAllowed(
            "the queues are not divided by environment", hint="sign in with a token for all of them"
        )
    _check_path(request.view_args or {})
    if request.endpoint in CHANGES or request.method not in READS:
        if request.method != "POST" or request.endpoint not in ALLOWED_CHANGES:
            raise NotAllowed("jobs are not changed here", hint="sync the release, or redeliver the delivery")
        access.form(request, csrf=request.headers.get("X-CSRFToken", ""))
        session.grant.require(Scope.ADMIN)
    return None


def _check_path(path: dict[str, Any]) -> None:
    """Only names that we know: they end up in Redis keys, and in a script on the page."""
    known = (
        path.get("instance_number", 0) == 0
        and path.get("queue_name") in {None, *(name.value for name in QueueName)}
        and path.get("registry_name", "queued") in REGISTRIES
        and path.get("order", "asc") in ("asc", "dsc")
        and _whole_number(path.get("per_page", 1), highest=PER_PAGE_LIMIT)
        and _whole_number(path.get("page", 1), highest=10**6)
        and JOB_ID.fullmatch(path.get("job_id", "x"))
    )
    if not known:
        raise NotFound("there is no such page")


def _whole_number(value: object, *, highest: int) -> bool:
    text = str(value)
    return text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= highest


def _harden(answer: Response) -> Response:
    """Escape JSON, let scripts run by nonce, hand out the CSRF token, forbid frames."""
    nonce = secrets.token_urlsafe(16)
    if answer.mimetype == "application/json":
        listed = request.endpoint == f"{NAME}.list_jobs"
        answer.set_data(
            json.dumps(_escaped(answer.get_json(), spare=ESCAPED_THERE if listed else frozenset()))
        )
    elif answer.mimetype == "text/html" and not answer.direct_passthrough:
        text = answer.get_data(as_text=True).replace("<script", f'<script nonce="{nonce}"')
        answer.set_data(text.replace("</head>", STYLE + "</head>", 1))
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["X-Frame-Options"] = "DENY"
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


def _escaped(value: object, *, spare: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {
            str(escape(name)): inner
            if name in spare and isinstance(inner, str)
            else _escaped(inner, spare=spare)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_escaped(inner, spare=spare) for inner in value]
    return str(escape(value)) if isinstance(value, str) else value


def _gone(error: NoSuchJobError) -> Response:
    return error_page(NotFound("there is no such job (any more)", hint="finished jobs are kept for an hour"))


def _away(error: redis.RedisError) -> Response:
    """Our own code maps this error itself; rq-dashboard does not."""
    if request.blueprint != NAME:
        raise error
    if isinstance(
        error, redis.ResponseError
    ):  # RQ renames the key of a queue without asking whether it is there
        return error_page(Conflict("Redis refused this", hint="compacting needs a queue that is not empty"))
    return error_page(RedisDown("Redis does not answer", hint="check that it runs", retry_after=5.0))
