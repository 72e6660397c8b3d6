"""Signing in with a token: what the cookie is good for, and when it ends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from parts.answering import TokenFor, show

from towline.receiver.access import ATTEMPTS_AN_ADDRESS, ATTEMPTS_SECONDS, COOKIE
from towline.receiver.context import Context

SignedIn = Callable[..., FlaskClient]

PAGES = ["/", "/releases/staging/orders", "/rq/", "/rq/0/view/workers", "/rq/0/data/queues.json"]


def text_of(header: dict[str, str]) -> str:
    return header["Authorization"].removeprefix("Bearer ")


def csrf_of(web: FlaskClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.get("/").text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PAGES)
def test_without_signing_in_every_page_leads_to_the_form(web: FlaskClient, path: str) -> None:
    answer = web.get(path)

    assert answer.status_code == 303
    assert answer.location.startswith("/sign-in?next=%2F")


@pytest.mark.parametrize("path", PAGES)
def test_after_signing_in_every_page_opens(signed_in: SignedIn, context: Context, path: str) -> None:
    show(context, "staging/orders")

    answer = signed_in("admin").get(path)

    assert answer.status_code == 200


def test_the_cookie_holds_neither_the_token_nor_is_it_open_to_scripts(
    web: FlaskClient, token: TokenFor
) -> None:
    text = text_of(token("read"))

    answer = web.post("/sign-in", data={"token": text, "next": "/rq/"})

    cookie = next(line for line in answer.headers.getlist("Set-Cookie") if line.startswith(COOKIE))
    assert text not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert answer.location == "/rq/"


@pytest.mark.parametrize("text", ["", "nonsense", "tow_x", "tow_" + "x" * 5000])
def test_a_wrong_token_gets_one_answer_and_no_cookie(web: FlaskClient, text: str) -> None:
    answer = web.post("/sign-in", data={"token": text})

    assert answer.status_code == 401
    assert "the token is missing, wrong, expired or revoked" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_an_expired_token_is_answered_like_a_wrong_one(web: FlaskClient, token: TokenFor) -> None:
    expired = web.post("/sign-in", data={"token": text_of(token("read", seconds=-1))})
    wrong = web.post("/sign-in", data={"token": "tow_x"})

    assert (expired.status_code, expired.text) == (wrong.status_code, wrong.text)


def test_another_site_is_not_followed_after_signing_in(web: FlaskClient, token: TokenFor) -> None:
    answer = web.post("/sign-in", data={"token": text_of(token("read")), "next": "//evil.example/"})

    assert answer.location == "/"


def test_attempts_are_limited_right_ones_too(web: FlaskClient, token: TokenFor) -> None:
    for _ in range(ATTEMPTS_AN_ADDRESS):
        assert web.post("/sign-in", data={"token": "wrong"}).status_code == 401

    answer = web.post("/sign-in", data={"token": text_of(token("read"))})

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == str(ATTEMPTS_SECONDS)


def test_attempts_are_forgotten_after_a_while(web: FlaskClient, context: Context) -> None:
    web.post("/sign-in", data={"token": "wrong"})

    for key in ("towline:sign-in", "towline:sign-in:127.0.0.1"):
        assert 0 < context.broker.redis.ttl(key) <= ATTEMPTS_SECONDS


def test_a_session_ends_when_its_token_is_revoked(signed_in: SignedIn, context: Context) -> None:
    web = signed_in("admin")
    assert web.get("/").status_code == 200
    token_id = _token_id(context, web)

    context.tokens.revoke(token_id, ends_at=time.time() + 100)

    assert web.get("/").status_code == 303
    assert web.get("/rq/").status_code == 303
    assert web.get("/events").status_code == 204


def _token_id(context: Context, web: FlaskClient) -> str:
    from towline.receiver.access import Access

    cookie = web.get_cookie(COOKIE)
    assert cookie is not None
    with web.application.test_request_context(headers={"Cookie": f"{COOKIE}={cookie.value}"}) as call:
        session = Access(context).session(call.request)
    assert session is not None
    return session.grant.token_id


def test_a_changed_cookie_is_no_session(signed_in: SignedIn) -> None:
    web = signed_in("admin")
    cookie = web.get_cookie(COOKIE)
    assert cookie is not None
    body, signature = cookie.value.rsplit(".", 1)

    for value in (body + "." + signature[::-1], "x" + cookie.value, cookie.value[:-1], "x" * 4000, ""):
        web.set_cookie(COOKIE, value)
        assert web.get("/").status_code == 303


def test_a_token_is_no_cookie_and_a_cookie_no_token(
    signed_in: SignedIn, token: TokenFor, context: Context
) -> None:
    web = signed_in("admin")
    cookie = web.get_cookie(COOKIE)
    assert cookie is not None

    answer = web.get("/api/v1/releases", headers={"Authorization": f"Bearer tow_{cookie.value}"})
    web.set_cookie(COOKIE, text_of(token("admin")).removeprefix("tow_"))

    assert answer.status_code == 401
    assert web.get("/").status_code == 303


def test_signing_out_needs_the_forms_token(signed_in: SignedIn) -> None:
    web = signed_in("read")

    assert web.post("/sign-out", data={"csrf": "wrong"}).status_code == 403
    assert web.get("/").status_code == 200
    assert web.post("/sign-out", data={"csrf": csrf_of(web)}).status_code == 303
    assert web.get("/").status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "https://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_forms_of_other_sites_are_refused(
    signed_in: SignedIn, context: Context, headers: dict[str, str], status: int
) -> None:
    show(context, "staging/orders")
    web = signed_in("sync")
    form = {"csrf": csrf_of(web)}

    answer = web.post("/releases/staging/orders/sync", data=form, headers=headers)

    assert answer.status_code == status
    assert sum(context.queue.depths().values()) == (1 if status == 303 else 0)


def test_signing_in_from_another_site_is_refused(web: FlaskClient, token: TokenFor) -> None:
    answer = web.post(
        "/sign-in", data={"token": text_of(token("read"))}, headers={"Origin": "http://evil.example"}
    )

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
