"""Every error as problem+json, and nothing of what nobody foresaw."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from towline.receiver import problems
from towline.shared.errors import ConfigError, Conflict, Problem, RedisDown, TooMany, TowlineError

SECRET = "the-inside-of-an-error"


def unforeseen() -> None:
    raise RuntimeError(SECRET)


def known(error: TowlineError) -> object:
    def view() -> None:
        raise error

    return view


@pytest.fixture
def app() -> Flask:
    app = Flask("problems", static_folder=None)
    problems.register(app)
    app.add_url_rule("/unforeseen", "unforeseen", unforeseen)
    app.add_url_rule("/folder/", "folder", lambda: "ok")
    return app


@pytest.fixture
def web(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (ConfigError("no"), 422, "config-error"),
        (Conflict("no"), 409, "conflict"),
        (TooMany("no"), 429, "too-many"),
        (RedisDown("no"), 503, "redis-down"),
    ],
    ids=lambda value: str(value),
)
def test_an_error_of_ours_has_its_type(app: Flask, error: TowlineError, status: int, name: str) -> None:
    app.add_url_rule("/x", "x", known(error))

    answer = app.test_client().get("/x")

    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert answer.json["type"] == f"/problems/{name}"
    assert answer.json["status"] == status
    assert answer.json["detail"] == "no"


def test_all_problems_of_an_error_are_told(app: Flask) -> None:
    found = Problem(message="is odd", file="towline.yaml", line=3, path="a.b", found="1", allowed="2")
    app.add_url_rule("/x", "x", known(ConfigError("no", hint="do this", release="a/b", problems=[found])))

    told = app.test_client().get("/x").json

    assert told is not None
    assert (told["hint"], told["release"]) == ("do this", "a/b")
    assert told["problems"] == [
        {"message": "is odd", "file": "towline.yaml", "line": 3, "path": "a.b", "found": "1", "allowed": "2"}
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TooMany("no", retry_after=0.2), "1"),
        (TooMany("no", retry_after=61.2), "62"),
        (RedisDown("no"), "5"),
        (Conflict("no", retry_after=5), None),
    ],
)
def test_who_must_wait_is_told_how_long(app: Flask, error: TowlineError, expected: str | None) -> None:
    app.add_url_rule("/x", "x", known(error))

    assert app.test_client().get("/x").headers.get("Retry-After") == expected


def test_what_nobody_foresaw_is_logged_and_not_told(web: FlaskClient) -> None:
    with capture_logs() as logged:
        answer = web.get("/unforeseen")

    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert SECRET not in answer.text
    assert [(each["event"], str(each["exc_info"])) for each in logged] == [("receiver.failed", SECRET)]


def test_an_error_of_http_keeps_its_headers(web: FlaskClient) -> None:
    answer = web.post("/folder/")

    assert answer.status_code == 405
    assert answer.json is not None
    assert answer.json["type"] == "about:blank"
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
