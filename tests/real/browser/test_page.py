"""The page in a real Chromium, as an operator uses it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from parts.answering import TokenFor, deliver, show
from parts.eventually import eventually
from playwright.sync_api import Page, Route, expect

from towline.receiver.changes import POLL_SECONDS
from towline.receiver.context import Context
from towline.shared.model import ReleaseName

SignIn = Callable[..., Page]


@pytest.fixture
def operator(served: str, browser_page: Page, token: TokenFor) -> SignIn:
    """A browser whose owner has signed in with a token of these scopes."""

    def sign_in(*scopes: str) -> Page:
        browser_page.goto(served + "/")
        text = token(*scopes)["Authorization"].removeprefix("Bearer ")
        browser_page.get_by_label("Token").fill(text)
        browser_page.get_by_role("button", name="Sign in").click()
        expect(browser_page.locator("#live")).to_have_text("live")
        return browser_page

    return sign_in


def test_a_change_shows_without_reloading(operator: SignIn, context: Context) -> None:
    view = show(context, "staging/orders", message="1 of 3 pods ready", phase="Verifying")
    page = operator("read")
    expect(page.locator("#releases")).to_contain_text("1 of 3 pods ready")
    page.get_by_label("Search").fill("half a wo")

    context.views.started(ReleaseName.parse("staging/orders"))
    expect(page.locator("#releases .mark.syncing")).to_have_text("Syncing")
    context.views.stopped(view.name)
    show(context, "staging/orders", message="all pods are ready")
    deliver(context, "d-1")

    expect(page.locator("#releases")).to_contain_text("all pods are ready")
    expect(page.locator("#deliveries")).to_contain_text("accepted")
    expect(page.get_by_label("Search")).to_have_value("half a wo")


def test_a_change_between_a_page_and_its_first_event_shows_too(operator: SignIn, context: Context) -> None:
    show(context, "staging/orders", message="before")
    page = operator("read")

    def change_first(route: Route) -> None:
        show(context, "staging/orders", message="after")
        told_at = time.monotonic() + POLL_SECONDS
        eventually(lambda: time.monotonic() > told_at)
        route.continue_()

    page.route("**/events", change_first)
    page.reload()

    expect(page.locator("#releases")).to_contain_text("after")


def test_releases_are_filtered_and_opened(operator: SignIn, context: Context) -> None:
    show(context, "staging/orders")
    show(context, "staging/payments", phase="Failed", message="quota exceeded")
    page = operator("read")

    page.get_by_label("Phase").select_option("Failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#releases tbody tr")).to_have_count(1)
    page.get_by_role("link", name="staging/payments").click()

    expect(page.locator("main")).to_contain_text("quota exceeded")
    expect(page.get_by_role("link", name="shop")).to_have_attribute(
        "href", "https://git.example.com/acme/shop.git"
    )


def test_sync_now_enqueues(operator: SignIn, context: Context, served: str) -> None:
    show(context, "staging/orders")
    page = operator("sync")
    page.goto(served + "/releases/staging/orders")

    page.get_by_role("button", name="Sync now").click()

    eventually(lambda: context.queue.depths()["urgent"] == 1)


def test_markup_of_others_stays_text(operator: SignIn, context: Context) -> None:
    show(context, "staging/orders", message="<img src=x onerror=\"document.title='taken over'\">")
    page = operator("read")

    show(context, "staging/payments", message="<script>document.title='taken over'</script>")

    expect(page.locator("#releases")).to_contain_text("<script>document.title")
    expect(page).to_have_title(re.compile("Releases"))
    assert page.locator("main img, main script").count() == 0


def test_the_dashboard_shows_jobs_and_opens_them(operator: SignIn, context: Context, served: str) -> None:
    deliver(context, "d-1")
    (job,) = context.ledger.get("d-1", repositories=["shop"]).jobs
    page = operator("admin")

    page.get_by_role("link", name="Queues").click()
    expect(page.locator("tr[data-role=queue]")).to_contain_text("pushes")
    page.goto(served + "/rq/0/view/jobs/pushes/queued/8/asc/1")
    page.get_by_role("link", name=job).click()

    expect(page.locator("#job-data")).to_contain_text("push shop refs/heads/main (webhook)")


def test_the_dashboards_button_carries_the_csrf_token(
    operator: SignIn, context: Context, served: str
) -> None:
    deliver(context, "d-1")
    page = operator("admin")
    page.goto(served + "/rq/0/view/jobs/pushes/queued/8/asc/1")

    page.get_by_text("Compact").click()
    with page.expect_response("**/rq/queue/pushes/compact") as answer:
        page.get_by_role("button", name="Yes").click()

    assert answer.value.status == 200


def test_markup_in_a_job_is_shown_and_not_run(operator: SignIn, context: Context, served: str) -> None:
    deliver(context, "d-1")
    (job,) = context.ledger.get("d-1", repositories=["shop"]).jobs
    markup = "<img src=x onerror=\"document.title='taken over'\">"
    context.broker.redis.hset(f"rq:job:{job}", "description", markup)
    page = operator("admin")

    for path in ("view/jobs/pushes/queued/8/asc/1", f"view/job/{job}"):
        page.goto(f"{served}/rq/0/{path}")
        expect(page.get_by_text(markup).first).to_be_visible()
        assert page.title() == "RQ dashboard"


def test_signing_out_ends_it(operator: SignIn, served: str) -> None:
    page = operator("read")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(served + "/rq/")

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
