"""Who is asking: bearer tokens for programs, a signed cookie for people, and the forms around it.

A person enters a token once at `/sign-in`; the cookie then carries what that token grants (not the token itself), and
ends with it, after SESSION_SECONDS, or when the token is revoked. Whatever is wrong, the answer is the same one.

Three things stand between another site and a signed-in browser: the cookie is SameSite=Lax, a form must carry the
session's CSRF token, and the browser's own `Origin` (or `Sec-Fetch-Site`) must be ours.

Redis keys:

    towline:sign-in:<address>    string   attempts in this minute; expires
    towline:sign-in              string   the same over all addresses
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Request, Response, make_response, redirect, render_template, request
from itsdangerous import BadData
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.wrappers import Response as AnyResponse

from towline.receiver.context import Context
from towline.receiver.tokens import REFUSED, REFUSED_HINT, Claims, Grant, Scope, claims_of, grant_of, signed
from towline.shared.errors import AccessError, NotAllowed, TooMany, TowlineError

COOKIE = "towline_session"
SESSION_SECONDS = 12 * 3600
CSRF_COOKIE = "_csrf_token"  # rq-dashboard's script reads it and sends it back as `X-CSRFToken`
CSRF_PATH = "/rq"
COOKIE_LIMIT = 4096  # bytes; browsers keep no longer one either
ATTEMPTS_AN_ADDRESS = 10  # a minute; a person needs one or two
ATTEMPTS_IN_ALL = 100  # a minute
ATTEMPTS_SECONDS = 60

# Our pages load nothing from elsewhere, run no script but our own file and are shown in nobody's frame.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SessionBody(BaseModel):
    """What is signed into the cookie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claims: Claims
    csrf: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in person."""

    grant: Grant
    csrf: str


class Access:
    """Answers who is asking; one for the whole receiver."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tokens = context.tokens
        self._signed = signed(context.secret_key, purpose="session")
        public = context.config.server.public_url or ""
        self.secure = public.startswith("https://")
        self._origins = {_origin(public)} - {""}

    def bearer(self, call: Request) -> Grant:
        """What the token of an API call grants; raises AccessError."""
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessError(REFUSED, hint=REFUSED_HINT)
        return self._tokens.open(token.strip())

    def session(self, call: Request) -> Session | None:
        """The signed-in person, or None; raises RedisDown."""
        cookie = call.cookies.get(COOKIE, "")
        if not cookie or len(cookie) > COOKIE_LIMIT:
            return None
        try:
            body = SessionBody.model_validate(self._signed.loads(cookie, max_age=SESSION_SECONDS))
        except (BadData, ValidationError):
            return None
        grant = grant_of(body.claims)
        if grant.ends_at <= time.time() or self._tokens.is_revoked(grant):
            return None
        return Session(grant=grant, csrf=body.csrf)

    def form(self, call: Request, *, csrf: str) -> Session:
        """The person behind a form or a script's POST; raises AccessError or NotAllowed."""
        session = self.session(call)
        if session is None:
            raise AccessError(REFUSED, hint="sign in at /sign-in")
        if not (self.same_origin(call) and hmac.compare_digest(csrf.encode(), session.csrf.encode())):
            raise NotAllowed("the form was not sent from this page", hint="load the page again, then repeat")
        return session

    def same_origin(self, call: Request) -> bool:
        """Whether a browser says that one of our own pages sent this; one that says nothing is no browser of today."""
        origin = call.headers.get("Origin")
        if origin is not None:
            return origin in self._origins | {_origin(call.host_url)}
        return call.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")

    def sign_in(self, token: str, *, address: str) -> tuple[str, Session]:
        """A cookie's value for a token; raises TooMany, AccessError or RedisDown."""
        self._limit(address)
        grant = self._tokens.open(token)
        session = Session(grant=grant, csrf=secrets.token_urlsafe(24))
        body = SessionBody(claims=claims_of(grant), csrf=session.csrf)
        return str(self._signed.dumps(body.model_dump(mode="json"))), session

    def _limit(self, address: str) -> None:
        broker = self._context.broker
        limits = {f"towline:sign-in:{address}": ATTEMPTS_AN_ADDRESS, "towline:sign-in": ATTEMPTS_IN_ALL}
        with broker.guard(), broker.redis.pipeline(transaction=True) as pipe:
            for key in limits:
                pipe.set(key, 0, ex=ATTEMPTS_SECONDS, nx=True)
                pipe.incr(key)
            attempts = pipe.execute()[1::2]
        if any(count > limit for count, limit in zip(attempts, limits.values(), strict=True)):
            raise TooMany(
                "too many attempts to sign in", hint="wait a minute", retry_after=float(ATTEMPTS_SECONDS)
            )


def blueprint(context: Context) -> Blueprint:
    """`/sign-in` and `/sign-out`."""
    access = Access(context)
    routes = Blueprint("access", __name__, template_folder="templates")

    @routes.get("/sign-in")
    def show() -> Response:
        return page("sign_in.html", onward=onward(request.args.get("next", "")), failure="")

    @routes.post("/sign-in")
    def enter() -> AnyResponse:
        target = onward(request.form.get("next", ""))
        if not access.same_origin(request):
            raise NotAllowed("the form was not sent from this page", hint="sign in at /sign-in")
        try:
            cookie, session = access.sign_in(
                request.form.get("token", "").strip(), address=request.remote_addr or ""
            )
        except AccessError as error:
            return page("sign_in.html", status=401, onward=target, failure=error.message)
        answer = redirect(target, code=303)
        answer.set_cookie(
            COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="Lax", secure=access.secure
        )
        answer.set_cookie(
            CSRF_COOKIE,
            session.csrf,
            path=CSRF_PATH,
            max_age=SESSION_SECONDS,
            samesite="Strict",
            secure=access.secure,
        )
        return answer

    @routes.post("/sign-out")
    def leave() -> AnyResponse:
        access.form(request, csrf=request.form.get("csrf", ""))
        answer = redirect("/sign-in", code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=access.secure)
        answer.delete_cookie(CSRF_COOKIE, path=CSRF_PATH, samesite="Strict", secure=access.secure)
        return answer

    routes.register_error_handler(TowlineError, error_page)
    return routes


def page(template: str, *, status: int = 200, **values: object) -> Response:
    """An HTML page of ours, with the headers that all of them carry."""
    answer = make_response(render_template(template, status=status, **values), status)
    answer.headers.update(PAGE_HEADERS)
    return answer


def error_page(error: TowlineError) -> Response:
    """An error as people read it; programs get problem+json instead."""
    answer = page(
        "error.html",
        status=error.status,
        title=(type(error).__doc__ or "").splitlines()[0],
        message=str(error),
        hint=error.hint,
    )
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(int(error.retry_after))
    return answer


def onward(target: str) -> str:
    """Where to go after signing in: a path of this server, never another site (`//host`, `/\\host`)."""
    parts = urlsplit(target)
    local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if local and not parts.scheme and not parts.netloc else "/"


def signed_in(access: Access, scope: Scope = Scope.READ) -> Session | AnyResponse:
    """The person who opens a page, or where to send one who has not signed in; raises NotAllowed."""
    session = access.session(request)
    if session is None:
        target = request.full_path if request.query_string else request.path
        return redirect("/sign-in?" + urlencode({"next": onward(target)}), code=303)
    session.grant.require(scope)
    return session


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
