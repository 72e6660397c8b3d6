"""Addresses of repositories: which mean the same one, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.shared.urls import LENGTH_LIMIT, parse_repository_url, same_repository

SHOP = "https://github.com/acme/shop.git"


@pytest.mark.parametrize(
    "url",
    [
        SHOP,
        "https://github.com/acme/shop",
        "https://github.com/acme/shop/",
        "https://github.com/acme/shop.git/",
        "HTTPS://GitHub.com/Acme/Shop.git",
        "http://github.com/acme/shop.git",
        "https://github.com:8443/acme/shop.git",
        "https://user:password@github.com/acme/shop.git",
        "ssh://git@github.com/acme/shop.git",
        "ssh://git@github.com:2222/acme/shop.git",
        "git+ssh://git@github.com/acme/shop.git",
        "git@github.com:acme/shop.git",
        "git@github.com:/acme/shop.git",
        "github.com:acme/shop",
        "git://github.com/acme/shop.git",
    ],
)
def test_host_and_path_name_a_repository(url: str) -> None:
    assert same_repository(SHOP, url)
    assert same_repository(url, SHOP)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/shop2.git",
        "https://github.com/acme",
        "https://github.com/acme/shop/more",
        "https://github.com.evil.example/acme/shop.git",
        "https://evil.example/github.com/acme/shop.git",
        "https://github.com@evil.example/acme/shop.git",
        "https://evil.example#@github.com/acme/shop.git",
        "https://evil.example?@github.com/acme/shop.git",
        "https://gitlab.com/acme/shop.git",
        "file:///acme/shop.git",
        "/acme/shop.git",
        "",
    ],
)
def test_another_host_or_path_is_another_repository(url: str) -> None:
    assert not same_repository(SHOP, url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "https://",
        "https://github.com",
        "https://github.com/",
        "https:///acme/shop",
        "https://github.com//acme/shop",
        "https://github.com/acme/../shop",
        "https://github.com/acme/./shop",
        "https://github.com/acme/shop.git?x=1",
        "https://github.com/acme/shop.git#x",
        "https://github.com/acme/sh op",
        "https://github.com/acme/shop\n",
        "https://github.com/acme/%2e%2e/shop",
        "https://git_hub.com/acme/shop",
        "https://-github.com/acme/shop",
        "https://github..com/acme/shop",
        "ftp://github.com/acme/shop",
        "javascript://github.com/acme/shop",
        "ext::sh -c id",
        "--upload-pack=x:y",
        "git@github.com:../shop",
        "file://elsewhere.example/srv/git/shop",
        "https://github.com/" + "a/" * 33 + "shop",
        "https://github.com/" + "a" * LENGTH_LIMIT,
    ],
)
def test_what_is_no_address_is_the_same_as_nothing(text: str) -> None:
    assert parse_repository_url(text) is None
    assert not same_repository(text, text)


def test_a_folder_of_this_machine_keeps_its_case() -> None:
    assert same_repository("file:///srv/git/Shop.git", "/srv/git/Shop")
    assert not same_repository("/srv/git/Shop", "/srv/git/shop")


def test_an_ipv6_host_is_a_host() -> None:
    assert same_repository("https://[::1]:8080/acme/shop", "ssh://git@[::1]/acme/shop.git")


def test_user_and_password_are_noticed() -> None:
    url = parse_repository_url("https://bob:hunter2@github.com/acme/shop")

    assert url is not None
    assert (url.has_user, url.has_password) == (True, True)
    assert "hunter2" not in repr(url)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_are_compared_the_same_way_round(a: str, b: str) -> None:
    assert same_repository(a, b) == same_repository(b, a)


def test_a_long_hostile_text_costs_no_time() -> None:
    assert not same_repository("git@" * 500_000, "a." * 500_000)
