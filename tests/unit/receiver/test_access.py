"""Where signing in leads to."""

from __future__ import annotations

import pytest

from towline.receiver.access import onward


@pytest.mark.parametrize(
    "target", ["/", "/rq/", "/releases/staging/orders", "/?environment=staging&text=a%20b"]
)
def test_a_path_of_this_server_is_followed(target: str) -> None:
    assert onward(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "rq/",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "///evil.example",
        "javascript:alert(1)",
        "/\n//evil.example",
        "/\t/evil.example",
    ],
)
def test_another_site_is_never_followed(target: str) -> None:
    assert onward(target) == "/"
