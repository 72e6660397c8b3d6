from __future__ import annotations

import pytest

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.names import MAX_NAME_BYTES, checked_path, checked_ref, is_usable_name


@pytest.mark.parametrize(
    "name", ["a", "deployment.yaml", ".gitignore", ".github", "gît", "a b", "-", "x\\x2dy", "~"]
)
def test_a_name_that_git_allows_is_usable(name):
    assert is_usable_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/",
        ".git",
        ".GIT",
        ".Git ",
        ".git.",
        ".git::$INDEX",
        "git~1",
        "GIT~1",
        ".g\u200cit",
        "a\x00b",
        "a\nb",
        "\x7f",
        "caf\udce9",
        "x" * (MAX_NAME_BYTES + 1),
    ],
)
def test_a_name_that_is_dangerous_somewhere_is_not_usable(name):
    assert not is_usable_name(name)


def test_a_name_may_have_as_many_bytes_as_the_limit():
    assert is_usable_name("x" * MAX_NAME_BYTES)


@pytest.mark.parametrize("path", ["", "a", "a/b", "a/.hidden/b.yaml", "..a/b..", "a/..."])
def test_a_path_of_a_tree_is_given_back(path):
    assert checked_path(path) == path


@pytest.mark.parametrize(
    "path", ["/", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "../a", "a/../b", "a/..", "a\0"]
)
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(PathOutsideCheckout):
        checked_path(path)


def test_a_path_longer_than_the_system_takes_is_refused():
    with pytest.raises(PathOutsideCheckout, match="longer"):
        checked_path("a/" * 3000 + "a")


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/heads/feature/a-b.c", "refs/tags/v1.0", "refs/heads/@", "refs/heads/é"]
)
def test_a_ref_that_git_allows_is_given_back(ref):
    assert checked_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "refs/",
        "refs/heads",
        "refs/heads/",
        "HEAD",
        "",
        "refs/heads/a..b",
        "refs/heads/a@{0}",
        "refs/heads/*",
        "refs/heads/a b",
        "refs/heads/a:b",
        "refs/heads/a~1",
        "refs/heads/a^",
        "refs/heads/a?",
        "refs/heads/a[",
        "refs/heads/a\\b",
        "refs/heads/.a",
        "refs/heads/a.lock",
        "refs/heads/a.lock/b",
        "refs/heads/a/",
        "refs/heads/a.",
        "refs/heads//a",
        "refs/heads/a\nb",
        "refs/heads/a\x00",
        "-refs/heads/a",
        "refs/heads/" + "a" * 1100,
    ],
)
def test_a_ref_that_git_refuses_is_refused(ref):
    with pytest.raises(GitError):
        checked_ref(ref)
