"""The page for people: all releases, one release with its history, recent deliveries; and the forms on them.

In: a signed-in browser. Out: HTML made by Jinja with autoescape, and nothing that needs a build step or another host.
What repositories and clusters say (messages, authors, refs) is shown as text only; the one way to make a link of
something that is not ours is `link`, which lets http and https pass. A page refreshes by itself when `changes.py` tells
another state than the one it was made in: `static/page.js` then fetches it again and puts its `<main>` in place.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as AnyResponse

from towline.receiver.access import PAGE_HEADERS, Access, Session, error_page, page, signed_in
from towline.receiver.api_models import Release, delivery_line, detail_of, release_of
from towline.receiver.caller import Caller, start_redelivery, view_for, visible_deliveries
from towline.receiver.changes import EventStream
from towline.receiver.context import Context
from towline.receiver.steering import start_rollback, start_steering, start_sync
from towline.receiver.tokens import Scope
from towline.shared.errors import NotFound, TowlineError
from towline.shared.jobs import Steering
from towline.shared.model import ReleaseName, short
from towline.shared.views import ReleaseView

DELIVERIES_SHOWN = 20
RELEASES_SHOWN = 250  # rows; each takes the receiver 0.1 ms, in which it answers no webhook
# The buttons of a release, each with the scope it needs.
FORMS = {
    "sync": Scope.SYNC,
    "rollback": Scope.ROLLBACK,
    "unpin": Scope.ROLLBACK,
    "suspend": Scope.SYNC,
    "resume": Scope.SYNC,
}
TEXT_SHOWN = 300  # characters of a message in a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the person asked to see."""

    environment: str
    phase: str
    text: str

    @classmethod
    def of_request(cls) -> Filter:
        """From the query of this page's address."""
        given = request.args
        return cls(
            environment=given.get("environment", ""),
            phase=given.get("phase", ""),
            text=given.get("text", "")[:100],
        )


def blueprint(context: Context) -> Blueprint:
    """`/`, one release, the forms, the stream of changes and the files of the page."""
    access = Access(context)
    routes = Blueprint(
        "page", __name__, template_folder="templates", static_folder="static", static_url_path="/assets"
    )
    stream = EventStream(context.broker)
    for name in (short, age, brief, link, since):
        routes.add_app_template_filter(name)

    @routes.get("/")
    def overview() -> AnyResponse:
        session, state = signed_in(access), stream.state()
        return _overview(context, session, state) if isinstance(session, Session) else session

    @routes.get("/releases/<environment>/<service>")
    def release(environment: str, service: str) -> AnyResponse:
        session, state = signed_in(access), stream.state()
        if not isinstance(session, Session):
            return session
        caller = Caller(context=context, grant=session.grant)
        view = view_for(caller, ReleaseName.parse(f"{environment}/{service}"))
        repository = _repository_url(context, str(view.status.get("repository", "")))
        return page(
            "release.html",
            release=detail_of(view),
            repository_url=repository,
            person=session,
            state=state,
            may=frozenset(name for name, scope in FORMS.items() if session.grant.allows(scope)),
        )

    @routes.get("/events")
    def events() -> Response:
        if access.session(request) is None:
            return Response(status=204)  # tells the browser to stop asking
        return stream.answer()

    _forms(routes, context, access)
    routes.register_error_handler(TowlineError, error_page)

    @routes.after_request
    def headers(answer: Response) -> Response:
        if request.endpoint == "page.static":
            answer.headers["X-Content-Type-Options"] = "nosniff"
        else:
            answer.headers.update(PAGE_HEADERS)
        return answer

    return routes


def _forms(routes: Blueprint, context: Context, access: Access) -> None:
    @routes.post("/releases/<environment>/<service>/<action>")
    def tell(environment: str, service: str, action: str) -> AnyResponse:
        session = access.form(request, csrf=request.form.get("csrf", ""))
        scope = FORMS.get(action)
        if scope is None:
            raise NotFound("there is no such form", hint="load the page again")
        session.grant.require(scope)
        caller = Caller(context=context, grant=session.grant)
        _tell(caller, view_for(caller, ReleaseName.parse(f"{environment}/{service}")), action)
        return redirect(url_for("page.release", environment=environment, service=service), code=303)

    @routes.post("/deliveries/<identifier>/redeliver")
    def redeliver(identifier: str) -> AnyResponse:
        session = access.form(request, csrf=request.form.get("csrf", ""))
        session.grant.require(Scope.SYNC)
        start_redelivery(Caller(context=context, grant=session.grant), identifier)
        return redirect(url_for("page.overview"), code=303)


def _tell(caller: Caller, view: ReleaseView, action: str) -> None:
    if action == "sync":
        start_sync(caller, view, revision=None, allow_prune=False)
    elif action == "rollback":
        start_rollback(caller, view, revision=None, pin=True)
    else:
        start_steering(caller, view, Steering(action))


def _overview(context: Context, session: Session, state: str) -> Response:
    caller, wanted = Caller(context=context, grant=session.grant), Filter.of_request()
    views = [view for view in context.views.list() if session.grant.covers(view.environment)]
    releases = [release_of(view) for view in views]
    shown = [each for each in releases if matches(each, wanted)]
    newest = visible_deliveries(caller, limit=DELIVERIES_SHOWN)
    return page(
        "overview.html",
        releases=shown[:RELEASES_SHOWN],
        found=len(shown),
        total=len(releases),
        environments=sorted({each.environment for each in releases}),
        phases=sorted({each.phase for each in releases if each.phase}),
        wanted=wanted,
        deliveries=[delivery_line(each) for each in newest.deliveries],
        person=session,
        state=state,
        may_sync=session.grant.allows(Scope.SYNC),
    )


def matches(release: Release, wanted: Filter) -> bool:
    """Whether a release is one of those asked for; the text is looked for in its name, revision and message."""
    if wanted.environment and release.environment != wanted.environment:
        return False
    if wanted.phase and release.phase != wanted.phase:
        return False
    text = f"{release.environment}/{release.service} {release.revision} {release.message}".lower()
    return wanted.text.lower() in text


def _repository_url(context: Context, name: str) -> str:
    try:
        return str(context.config.repository(name).url)
    except TowlineError:
        return ""  # it is not configured any more


def link(url: str, text: str = "") -> Markup:
    """A link to another site: the only place where one is made. Anything but plain http(s) is shown as text."""
    shown = escape(text or url)
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        plain = False
    if not plain:
        return shown
    return Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(url, shown)


def brief(text: str) -> str:
    """A long text for a table."""
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"


def since(moment: str | datetime | None) -> float | None:
    """Seconds since an RFC 3339 time; None when there is none or it is not one."""
    try:
        parsed = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return time.time() - (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def age(seconds: float | None) -> str:
    """How long ago, in the largest unit that says enough."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
