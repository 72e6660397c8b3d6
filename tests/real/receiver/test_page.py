"""The page as HTML: what it shows to whom, and that nothing of others becomes markup."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from parts.answering import deliver, show

from towline.receiver.context import Context
from towline.shared.ledger import NewDelivery
from towline.shared.model import Push

SignedIn = Callable[..., FlaskClient]
MARKUP = "<script>alert(1)</script>"


def test_releases_and_deliveries_are_listed(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders", message="2 objects changed")
    deliver(context, "d-1")

    page = signed_in("read").get("/").text

    assert 'href="/releases/staging/orders"' in page
    assert "2 objects changed" in page
    assert "accepted" in page


def test_the_list_marks_what_no_push_moves(signed_in: SignedIn, context: Context) -> None:
    view = show(context, "staging/orders")
    context.views.put(view.model_copy(update={"pinned": "1a2b3c4d5e" * 4}))

    assert ">pinned</span>" in signed_in("read").get("/").text


def test_a_narrowed_person_sees_only_those_environments(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders", message="seen")
    show(context, "production/payments", message="not seen")
    deliver(context, "d-2", branch="release")

    web = signed_in("read", environments=["staging"])

    page = web.get("/").text
    assert "orders" in page
    assert "production" not in page
    assert "payments" not in page
    assert "release</" not in page
    assert web.get("/releases/production/payments").status_code == 404


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"orders", "payments"}),
        ("?phase=Failed", {"payments"}),
        ("?text=quota", {"payments"}),
        ("?environment=production", set()),
        ("?environment=%3Cscript%3E&text=%22%3E%3Cscript%3E", set()),
    ],
)
def test_the_list_is_filtered(signed_in: SignedIn, context: Context, query: str, shown: set[str]) -> None:
    show(context, "staging/orders")
    show(context, "staging/payments", phase="Failed", message="quota exceeded")

    page = signed_in("read").get("/" + query).text

    assert set(re.findall(r'href="/releases/staging/(\w+)"', page)) == shown
    assert "<script>" not in page


def test_nothing_of_others_becomes_markup(signed_in: SignedIn, context: Context) -> None:
    entry = {
        "revision": MARKUP,
        "author": MARKUP,
        "subject": MARKUP,
        "triggeredBy": MARKUP,
        "result": "synced",
        "cause": MARKUP,
        "notes": [MARKUP],
        "logs": [MARKUP],
        "stages": {MARKUP: 1.0},
    }
    facts = {name: MARKUP for name in ("repository", "ref", "revision", "stableRevision", "phase", "health")}
    quarantine = {"revision": MARKUP, "cause": MARKUP}
    view = show(context, "staging/orders", **facts, message=MARKUP, history=[entry], quarantined=quarantine)
    context.views.put(view.model_copy(update={"error": MARKUP, "namespace": MARKUP}))
    ref = f"refs/heads/{MARKUP}"
    new = NewDelivery(
        id='d"><script>',
        repository="shop",
        forge="github",
        event=MARKUP,
        pushes=(Push(ref=ref, before=None, after=None),),
        received_at=1.0,
    )
    (job,) = context.ledger.accept(new).jobs
    context.ledger.ended("shop", new.id, job, ok=False, text=MARKUP)
    web = signed_in("admin")

    for path in ("/", "/releases/staging/orders"):
        page = web.get(path).text
        assert MARKUP not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert page.count("<script") == 1  # our own


def test_every_page_forbids_other_scripts_frames_and_caches(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders")
    web = signed_in("read")

    for path in ("/", "/releases/staging/orders", "/releases/staging/none", "/sign-in", "/problems/conflict"):
        headers = web.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_pages_load_nothing_from_elsewhere(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders")
    web = signed_in("read")

    for path in ("/", "/releases/staging/orders", "/sign-in"):
        page = web.get(path).text
        loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', page)
        assert loaded
        for address in loaded:
            assert address.startswith("/assets/")
            with web.get(address) as answer:
                assert answer.status_code == 200


def test_a_reader_gets_no_buttons_and_cannot_act(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders")
    deliver(context, "d-1")
    web = signed_in("read")
    csrf = re.search(r'name="csrf" value="([^"]+)"', web.get("/").text)
    assert csrf is not None

    assert "Sync now" not in web.get("/releases/staging/orders").text
    assert "Redeliver" not in web.get("/").text
    for path in ("/releases/staging/orders/sync", "/deliveries/d-1/redeliver"):
        assert web.post(path, data={"csrf": csrf[1]}).status_code == 403
    assert sum(context.queue.depths().values()) == 1


def test_buttons_do_what_they_say(signed_in: SignedIn, context: Context) -> None:
    show(context, "staging/orders")
    deliver(context, "d-1")
    web = signed_in("sync")
    csrf = re.search(r'name="csrf" value="([^"]+)"', web.get("/").text)
    assert csrf is not None

    for path in ("/releases/staging/orders/sync", "/deliveries/d-1/redeliver"):
        answer = web.post(path, data={"csrf": csrf[1]})
        assert answer.status_code == 303
    assert context.queue.depths()["urgent"] == 2


def test_a_page_that_fails_says_so_to_people(signed_in: SignedIn, context: Context) -> None:
    view = show(context, "staging/orders")
    context.views.put(view.model_copy(update={"suspended": True}))
    web = signed_in("sync")
    csrf = re.search(r'name="csrf" value="([^"]+)"', web.get("/").text)
    assert csrf is not None

    answer = web.post("/releases/staging/orders/sync", data={"csrf": csrf[1]})

    assert answer.status_code == 409
    assert answer.mimetype == "text/html"
    assert "staging/orders is suspended" in answer.text
