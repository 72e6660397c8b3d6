"""Trees that try to get out of a checkout, from a real mirror to a real disk."""

from __future__ import annotations

import os

import pytest
from parts.git import Submodule, Symlink
from parts.repositories import repository
from parts.trees import Link, MemoryTree

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.checkout import CheckoutLimits, write_checkout
from towline.worker.mirror import Mirror

SECONDS = 20


@pytest.fixture
def checkout(tmp_path, origin):
    """Commit files, fetch, write a checkout of these paths, and return its folder; beside it lies `outside`."""
    (tmp_path / "outside").write_text("secret of the machine")

    def write(files, paths=("",)):
        revision = origin.commit(files)
        mirror = Mirror(tmp_path / "mirrors", repository(origin.url))
        mirror.fetch("refs/heads/main", deadline_seconds=SECONDS)
        root = tmp_path / "root"
        root.mkdir()
        write_checkout(mirror.tree(revision), paths, root)
        return root

    return write


def assert_nothing_leads_out(root):
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            real = os.path.realpath(os.path.join(folder, name))
            assert real == str(root) or real.startswith(f"{root}/"), f"{name} leads to {real}"


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../outside",
        "../../../../../../../etc/passwd",
        "../..",
        "b/../../..",
        "/",
        "../../root/../outside",
    ],
)
def test_a_link_that_leads_out_is_refused(checkout, target):
    with pytest.raises(PathOutsideCheckout, match="link"):
        checkout({"a/link": Symlink(target), "a/b/file": "1"}, ["a"])


def test_a_link_that_leads_out_by_way_of_another_link_is_refused(checkout):
    files = {"a/one": Symlink("two/x"), "a/two": Symlink("../b"), "b/x": Symlink("../../outside")}

    with pytest.raises(PathOutsideCheckout):
        checkout(files, ["a/one"])


def test_a_folder_that_is_a_link_does_not_take_files_elsewhere(checkout, tmp_path):
    with pytest.raises(PathOutsideCheckout):
        checkout({"a": Symlink(".."), "b/file": "1"}, ["a/outside"])

    assert (tmp_path / "outside").read_text() == "secret of the machine"


def test_links_inside_work_and_nothing_leads_out(checkout):
    root = checkout(
        {"a/link": Symlink("../b"), "b/file": "1", "b/same": Symlink("file"), "c": Symlink("b/file")}
    )

    assert (root / "a/link/same").read_text() == "1"
    assert_nothing_leads_out(root)


@pytest.mark.parametrize(
    "files",
    [{"a": Symlink("a")}, {"a": Symlink("b"), "b": Symlink("a")}, {"a": Symlink("b/x"), "b": Symlink("a/y")}],
    ids=["itself", "two", "through folders"],
)
def test_a_loop_of_links_ends(checkout, files):
    with pytest.raises(GitError, match="loop"):
        checkout(files, ["a"])


def test_a_link_to_the_folder_around_it_does_not_multiply_files(checkout):
    root = checkout({"a/self": Symlink("."), "a/up": Symlink(".."), "a/file": "1"}, ["a/file", "a/self"])

    assert (root / "a/self/self/up/a/file").read_text() == "1"
    assert_nothing_leads_out(root)


@pytest.mark.parametrize(
    "name", [".git", ".GIT", ".Git", "git~1", ".git ", ".git.", ".g\u200cit", ".git::$INDEX_ALLOCATION"]
)
def test_no_file_gets_into_a_folder_of_git(checkout, name):
    with pytest.raises(GitError):
        checkout({f"a/{name}/config": "[core]\n\tsshCommand = id", "a/file": "1"}, ["a"])


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_that_is_a_way_out_is_refused(checkout, tmp_path, name):
    with pytest.raises(GitError):
        checkout({f"a/{name}/evil": "1", "a/file": "1"}, ["a"])

    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../outside", "a//b", "./a", "a/"])
def test_a_path_of_another_form_is_refused(checkout, path):
    with pytest.raises(PathOutsideCheckout):
        checkout({"a/file": "1"}, [path])


def test_names_that_differ_in_case_are_two_files_or_an_error_never_one(checkout):
    try:
        root = checkout({"a/File": "1", "a/file": "2", "A/file": "3"})
    except GitError:
        return  # a file system that takes them for one
    assert [(root / path).read_text() for path in ("a/File", "a/file", "A/file")] == ["1", "2", "3"]


def test_a_link_and_a_folder_whose_names_differ_in_case_do_not_meet(checkout, tmp_path):
    # CVE-2014-9390 and its kind: `A` is a link, `a/x` would be written through it
    root = checkout({"A": Symlink("b"), "a/x": "1", "b/y": "2"})

    assert (root / "a/x").read_text() == "1"
    assert not (root / "b/x").exists()


def test_a_submodule_brings_nothing(checkout):
    root = checkout(
        {".gitmodules": '[submodule "x"]\n\turl = file:///etc', "x": Submodule("1" * 40), "a": "1"}
    )

    assert sorted(path.name for path in root.iterdir()) == [".gitmodules", "a"]


def test_a_folder_made_beforehand_is_not_overwritten(tmp_path):
    (tmp_path / "a").write_text("was here")

    with pytest.raises(GitError):
        write_checkout(MemoryTree({"a": "1"}), ["a"], tmp_path)

    assert (tmp_path / "a").read_text() == "was here"


def test_a_link_that_stands_in_the_way_is_not_followed(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "a").symlink_to(elsewhere)

    with pytest.raises(GitError):
        write_checkout(MemoryTree({"a/b": "1"}), ["a/b"], root)

    assert list(elsewhere.iterdir()) == []


def test_a_tree_of_very_many_files_is_refused_before_it_is_written(tmp_path):
    files = {f"f{number}": "" for number in range(10_001)}

    with pytest.raises(GitError, match="10,000 files"):
        write_checkout(MemoryTree(files), [""], tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_very_deep_folders_are_refused(tmp_path):
    with pytest.raises(GitError, match="folders deep"):
        write_checkout(MemoryTree({"d/" * 200 + "file": "1"}), [""], tmp_path)


def test_a_very_long_chain_of_links_ends(tmp_path):
    files = {f"l{number}": Link(f"l{number + 1}") for number in range(100)} | {"l100": "end"}

    with pytest.raises(GitError, match="loop"):
        write_checkout(MemoryTree(files), ["l0"], tmp_path, CheckoutLimits(files=1000))
