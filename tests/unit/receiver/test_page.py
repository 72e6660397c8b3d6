"""What the page makes of values that others control."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from towline.receiver.api_models import Release
from towline.receiver.page import TEXT_SHOWN, Filter, age, brief, link, matches, since


@pytest.mark.parametrize("url", ["https://git.example.com/acme/shop.git", "http://localhost:3000/acme/shop"])
def test_http_and_https_become_links(url: str) -> None:
    assert link(url, "shop") == f'<a href="{url}" rel="noopener noreferrer">shop</a>'


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "ssh://git@git.example.com/acme/shop.git",
        "//evil.example/",
        "https://user:secret@git.example.com/acme/shop.git",
        "https://[",
    ],
)
def test_anything_else_is_shown_as_text(url: str) -> None:
    assert link(url, "shop") == "shop"


def test_text_and_address_of_a_link_are_escaped() -> None:
    made = str(link('https://git.example.com/"onclick="alert(1)', "<script>"))

    assert "<script>" not in made
    assert '"onclick' not in made


def test_a_long_text_is_cut_to_what_a_table_holds() -> None:
    assert brief("x" * TEXT_SHOWN) == "x" * TEXT_SHOWN
    assert brief("x" * (TEXT_SHOWN + 1)) == "x" * (TEXT_SHOWN - 1) + "…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (-3, "0 s"), (59, "59 s"), (60, "1 min"), (7_200, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_told_in_the_largest_unit_that_fits(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_seconds_since_are_counted_from_text_and_from_times() -> None:
    past = datetime.now(UTC) - timedelta(seconds=100)

    assert since(past) == pytest.approx(100, abs=5)
    assert since(past.isoformat()) == pytest.approx(100, abs=5)
    assert since("yesterday") is None
    assert since(None) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(environment="", phase="", text=""), True),
        (Filter(environment="staging", phase="Failed", text="ORDERS"), True),
        (Filter(environment="production", phase="", text=""), False),
        (Filter(environment="", phase="Healthy", text=""), False),
        (Filter(environment="", phase="", text="image pull"), True),
        (Filter(environment="", phase="", text="abcdef"), True),
        (Filter(environment="", phase="", text="payments"), False),
    ],
)
def test_the_filter_looks_at_environment_phase_name_revision_and_message(wanted: Filter, found: bool) -> None:
    release = Release(
        environment="staging",
        service="orders",
        phase="Failed",
        revision="abcdef",
        message="Image pull back-off",
    )

    assert matches(release, wanted) is found
