"""Branches: patterns and labels."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.shared.branches import best_match, is_branch_name, label_of, matches
from towline.shared.model import DNS_LABEL


@pytest.mark.parametrize(
    ("branch", "pattern", "expected"),
    [
        ("feature/x", "feature/*", True),
        ("feature/x/y", "feature/*", False),
        ("feature/x/y", "feature/**", True),
        ("feature/", "feature/*", True),
        ("features/x", "feature/*", False),
        ("a/feature/x", "feature/*", False),
        ("release-1.2", "release-*", True),
        ("release-1x2", "release-1.2", False),
        ("release-1.2", "*", True),
        ("a/b", "*", False),
        ("a/b", "**", True),
        ("a/b/c", "*/b/*", True),
        ("[a]", "[a]*", True),
    ],
)
def test_a_star_stops_at_a_slash_and_two_do_not(branch: str, pattern: str, expected: bool) -> None:
    assert matches(branch, pattern) is expected


def test_an_own_name_comes_before_patterns_and_patterns_come_in_order() -> None:
    names = ["**", "feature/*", "feature/x"]

    assert best_match("feature/x", names) == "feature/x"
    assert best_match("feature/y", names) == "**"
    assert best_match("feature/y", ["feature/*", "**"]) == "feature/*"
    assert best_match("main", ["feature/*"]) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a..b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a[b",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        "a.lock",
        "-a",
        "a\nb",
        "@{x",
    ],
)
def test_what_git_refuses_is_no_branch_name(name: str) -> None:
    assert not is_branch_name(name)


@pytest.mark.parametrize(
    ("branch", "label"), [("main", "main"), ("feature/login", "feature-login"), ("a/b-c/1", "a-b-c-1")]
)
def test_a_plain_branch_is_its_own_label(branch: str, label: str) -> None:
    assert label_of(branch, length=40) == label


def test_branches_that_would_look_alike_get_different_labels() -> None:
    branches = [
        "feature/a-b",
        "feature/a_b",
        "feature/A-b",
        "feature/a.b",
        "feature/a-b-",
        "feature/\u00e4-b",
    ]

    labels = {label_of(branch, length=40) for branch in branches}

    assert len(labels) == len(branches)
    assert "feature-a-b" in labels


def test_a_branch_that_is_cut_ends_in_a_hash_of_the_whole() -> None:
    one, other = label_of("x" * 100 + "1", length=30), label_of("x" * 100 + "2", length=30)

    assert len(one) == len(other) == 30
    assert one != other


@given(st.text(min_size=1, max_size=200), st.integers(min_value=12, max_value=60))
def test_every_label_is_a_dns_label_of_the_length(branch: str, length: int) -> None:
    label = label_of(branch, length=length)

    assert DNS_LABEL.fullmatch(label)
    assert len(label) <= length


def test_a_pattern_of_many_stars_costs_no_time() -> None:
    started = time.process_time()

    matches("a" * 250 + "!", "*a" * 8 + "b")

    assert time.process_time() - started < 1
