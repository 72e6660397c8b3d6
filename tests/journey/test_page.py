"""The page as the receiver's own process serves it."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.answering import TokenFor, show
from parts.processes import Process
from playwright.sync_api import Page, expect

from towline.receiver.changes import STREAMS
from towline.receiver.context import Context
from towline.receiver.start import GRACEFUL_SECONDS


@pytest.fixture
def receiver(context: Context, tmp_path: Path) -> Iterator[Process]:
    """`python -m towline.receiver` on the test's configuration."""
    command = [sys.executable, "-m", "towline.receiver", "--config", tmp_path / "towline.yaml"]
    process = Process("receiver", command, folder=tmp_path)
    process.start()
    process.wait_ready(lambda: answers(address(context) + "/healthz"))
    yield process
    process.stop()


def address(context: Context) -> str:
    host, port = context.config.server.listen
    return f"http://{host}:{port}"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def sign_in(page: Page, context: Context, token: TokenFor) -> None:
    page.goto(address(context) + "/")
    page.get_by_label("Token").fill(token("admin")["Authorization"].removeprefix("Bearer "))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live")).to_have_text("live")


def test_an_open_page_follows_and_does_not_keep_the_receiver_from_ending(
    receiver: Process, browser_page: Page, context: Context, token: TokenFor
) -> None:
    show(context, "staging/orders", message="1 of 3 pods ready")
    sign_in(browser_page, context, token)
    expect(browser_page.locator("#releases")).to_contain_text("1 of 3 pods ready")

    show(context, "staging/orders", message="all pods are ready")
    expect(browser_page.locator("#releases")).to_contain_text("all pods are ready")
    started = time.monotonic()
    receiver.stop()

    assert time.monotonic() - started < GRACEFUL_SECONDS + 2


def test_more_pages_than_streams_all_follow_and_leave_room_for_webhooks(
    receiver: Process, browser_page: Page, context: Context, token: TokenFor
) -> None:
    show(context, "staging/orders", message="before")
    sign_in(browser_page, context, token)
    pages = [browser_page.context.new_page() for _ in range(STREAMS + 1)]
    for page in pages:
        page.goto(address(context) + "/")

    show(context, "staging/orders", message="after")

    assert answers(address(context) + "/readyz")
    for page in pages:
        expect(page.locator("#releases")).to_contain_text("after", timeout=15_000)
