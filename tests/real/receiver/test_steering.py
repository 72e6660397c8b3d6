"""What an operator tells a release by API and page: which job that makes, and what is answered."""

import re

import pytest
from parts.answering import REVISION, show

STABLE_AT = "2026-11-25T12:0{}:00Z"
OLD, OLDER = ("2" * 40, "3" * 40)
BASE = "/api/v1/releases/staging/orders"


def stored(*revisions):
    return [
        {"revision": one, "name": "n", "sha256": "s", "stableAt": STABLE_AT.format(9 - number)}
        for number, one in enumerate(revisions)
    ]


@pytest.fixture(autouse=True)
def orders(context):
    return show(context, "staging/orders", stored=stored(REVISION, OLD, OLDER))


def argument(context, answer):
    """What the job is told, and which queue it waits in."""
    parked = context.queue.parked(answer.get_json()["job"])
    return parked.arguments, parked.queue


def wanted(context):
    return context.queue.wishes.get("staging/orders")


def test_a_rollback_without_a_revision_goes_to_the_one_that_was_stable_before_and_pins(web, token, context):
    answer = web.post(f"{BASE}/rollback", headers=token("rollback"))

    assert answer.status_code == 202
    assert argument(context, answer)[1] == "urgent"
    wish = wanted(context)
    assert (wish.revision, wish.rollback, wish.pin, wish.operator) == (OLD, True, True, "tester")
    assert answer.get_json()["revision"] == OLD
    assert "towline unpin staging/orders" in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("given", "meant"), [(OLDER, OLDER), ("3" * 7, OLDER), ("4" * 40, "4" * 40), ("AB" * 20, "ab" * 20)]
)
def test_a_rollback_goes_to_the_revision_that_is_named(web, token, context, given, meant):
    answer = web.post(f"{BASE}/rollback", headers=token("rollback"), json={"revision": given, "pin": False})

    assert (answer.status_code, wanted(context).revision, wanted(context).pin) == (202, meant, False)
    is_rendered = "rendered again" in answer.get_json()["message"]
    assert is_rendered == (meant != OLDER)


@pytest.mark.parametrize("given", ["5" * 7, "2" * 6, "2222222x", "2" * 7])
@pytest.mark.parametrize("word", ["rollback", "pin", "sync"])
def test_digits_that_do_not_stand_for_one_revision_are_422(web, token, context, orders, word, given):
    show(context, "staging/orders", stored=stored(REVISION, OLD, "2" * 39 + "0"))

    answer = web.post(f"{BASE}/{word}", headers=token("admin"), json={"revision": given})

    assert answer.status_code == 422
    assert [each["path"] for each in answer.get_json()["problems"]] == ["revision"]
    assert wanted(context) is None


def test_where_nothing_was_stable_before_it_is_409_and_says_what_is_stored(web, token, context):
    show(context, "staging/orders", stored=stored(REVISION))

    answer = web.post(f"{BASE}/rollback", headers=token("rollback"))

    assert answer.status_code == 409
    assert f"stored: {REVISION[:10]} (was stable)" in answer.get_json()["detail"]


@pytest.mark.parametrize("word", ["rollback", "sync"])
def test_a_suspended_release_is_not_moved(web, token, context, orders, word):
    context.views.put(orders.model_copy(update={"suspended": True}))

    answer = web.post(f"{BASE}/{word}", headers=token("admin"))

    assert (answer.status_code, answer.get_json()["hint"]) == (409, "resume it first")


@pytest.mark.parametrize(
    ("word", "body", "revision"),
    [
        ("suspend", {}, ""),
        ("resume", {}, ""),
        ("unpin", {}, ""),
        ("pin", {}, REVISION),
        ("pin", {"revision": "2222222"}, OLD),
    ],
)
def test_an_operators_word_is_an_urgent_job(web, token, context, word, body, revision):
    answer = web.post(f"{BASE}/{word}", headers=token("admin"), json=body)

    given, queue = argument(context, answer)
    assert (answer.status_code, queue) == (202, "urgent")
    assert given == {
        "release": "staging/orders",
        "action": word,
        "revision": revision,
        "operator": "tester",
    }
    assert answer.get_json()["message"]


def test_a_release_that_is_nowhere_yet_is_not_pinned_there(web, token, context):
    show(context, "staging/orders", revision="")

    assert web.post(f"{BASE}/pin", headers=token("rollback")).status_code == 409


@pytest.mark.parametrize(
    ("scopes", "buttons"),
    [
        (("read",), set()),
        (("sync",), {"sync", "suspend"}),
        (("rollback",), {"rollback"}),
        (("admin",), {"sync", "suspend", "rollback"}),
    ],
)
def test_the_page_has_the_buttons_that_the_person_may_press(signed_in, context, scopes, buttons):
    text = signed_in(*scopes).get("/releases/staging/orders").text

    assert set(re.findall(r'action="/releases/staging/orders/(\w+)"', text)) == buttons


@pytest.mark.parametrize("word", ["rollback", "suspend", "resume", "unpin"])
def test_a_button_does_what_the_call_does(signed_in, context, word):
    browser = signed_in("admin")
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/releases/staging/orders").text)[1]

    without = browser.post(f"/releases/staging/orders/{word}")
    answer = browser.post(f"/releases/staging/orders/{word}", data={"csrf": csrf})
    nonsense = browser.post("/releases/staging/orders/delete", data={"csrf": csrf})

    assert (without.status_code, answer.status_code, nonsense.status_code) == (403, 303, 404)
    assert context.queue.depths()["urgent"] == 1


def test_a_button_needs_the_scope_of_its_call(signed_in, context):
    browser = signed_in("sync")
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/releases/staging/orders").text)[1]

    answer = browser.post("/releases/staging/orders/rollback", data={"csrf": csrf})

    assert (answer.status_code, context.queue.depths()["urgent"]) == (403, 0)
