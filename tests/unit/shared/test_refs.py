"""Names of refs by Git's rules."""

from __future__ import annotations

import pytest

from towline.shared.refs import LENGTH_LIMIT, is_branch, is_ref_name

GOOD = [
    "refs/heads/main",
    "refs/heads/feature/a-b_c.d",
    "refs/heads/@",
    "refs/heads/-x",
    "refs/heads/ünïcödé/日本",
    "refs/heads/refs/tags/x",
    "refs/tags/v1.0.0",
    "refs/heads/a{b}",
    "refs/heads/x.locked",
    "refs/heads/" + "x" * (LENGTH_LIMIT - 11),
]
BAD = [
    "",
    "main",
    "heads/main",
    "refs/heads",
    "refs/heads/",
    "refs//heads/x",
    "refs/heads//x",
    "refs/heads/../../x",
    "refs/heads/.x",
    "refs/heads/a/.b",
    "refs/heads/x.lock",
    "refs/heads/x.lock/y",
    "refs/heads/x.",
    "refs/heads/x/",
    "refs/heads/a b",
    "refs/heads/a\nb",
    "refs/heads/a\0b",
    "refs/heads/a\x7fb",
    "refs/heads/a~b",
    "refs/heads/a^b",
    "refs/heads/a:b",
    "refs/heads/a?b",
    "refs/heads/a*b",
    "refs/heads/a[b",
    "refs/heads/a\\b",
    "refs/heads/a@{b",
    "refs/heads/\ud800",
    "-refs/heads/x",
    "refs/heads/main\n",
    "refs/heads/" + "x" * (LENGTH_LIMIT - 10),
]


@pytest.mark.parametrize("ref", GOOD, ids=lambda ref: repr(ref[:40]))
def test_what_git_allows_is_a_ref(ref: str) -> None:
    assert is_ref_name(ref)


@pytest.mark.parametrize("ref", BAD, ids=lambda ref: repr(ref[:40]))
def test_what_git_refuses_is_none(ref: str) -> None:
    assert not is_ref_name(ref)


def test_a_branch_may_be_called_like_a_tag() -> None:
    assert is_branch("refs/heads/refs/tags/x")
    assert not is_branch("refs/tags/heads/x")
