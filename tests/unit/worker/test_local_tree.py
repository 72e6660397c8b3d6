from __future__ import annotations

import os

import pytest
from parts.trees import MemoryTree

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.local_tree import LocalTree
from towline.worker.tree import Entry, EntryKind


@pytest.fixture
def folder(tmp_path):
    for path, text in {"README.md": "r", "a/b/one.yaml": "1", "a/two.yaml": "22"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_entries_are_those_on_disk(folder):
    tree = LocalTree(folder)

    assert [entry.path for entry in tree.children("")] == ["README.md", "a"]
    assert [entry.name for entry in tree.children("a")] == ["b", "two.yaml"]
    assert tree.entry("a/two.yaml").size_bytes == 2
    assert tree.read(tree.entry("a/two.yaml"), limit_bytes=2) == b"22"


def test_ids_are_those_that_git_gives(folder):
    local, committed = LocalTree(folder), MemoryTree.of(folder)

    for path in ("README.md", "a", "a/b", "a/b/one.yaml", "a/two.yaml"):
        assert local.entry(path).id == committed.entry(path).id


def test_a_missing_path_is_none_and_has_no_children(folder):
    tree = LocalTree(folder)

    assert tree.entry("missing") is None
    assert tree.entry("README.md/below") is None
    assert tree.children("README.md") == ()


def test_the_folder_of_git_an_empty_folder_and_a_pipe_are_not_there(folder):
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("[core]")
    (folder / "empty/deeper").mkdir(parents=True)
    os.mkfifo(folder / "pipe")

    assert [entry.path for entry in LocalTree(folder).children("")] == ["README.md", "a"]
    assert LocalTree(folder).entry(".git/config") is None


def test_a_repository_inside_is_a_submodule(folder):
    (folder / "module/.git").mkdir(parents=True)
    (folder / "module/file.yaml").write_text("x")

    assert LocalTree(folder).entry("module").kind is EntryKind.SUBMODULE
    assert LocalTree(folder).entry("module/file.yaml") is None


def test_a_link_is_shown_and_not_followed(folder):
    (folder / "link").symlink_to("/etc")
    tree = LocalTree(folder)

    assert tree.entry("link").kind is EntryKind.SYMLINK
    assert tree.read(tree.entry("link"), limit_bytes=100) == b"/etc"
    assert tree.entry("link/passwd") is None


def test_a_file_that_became_a_link_is_not_followed(folder):
    tree = LocalTree(folder)
    entry = tree.entry("a/two.yaml")
    (folder / "a/two.yaml").unlink()
    (folder / "a/two.yaml").symlink_to("/etc/passwd")

    with pytest.raises(GitError):
        tree.read(entry, limit_bytes=1_000_000)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b"])
def test_a_path_that_leaves_the_folder_is_refused(folder, path):
    tree = LocalTree(folder)

    with pytest.raises(PathOutsideCheckout):
        tree.entry(path)
    with pytest.raises(PathOutsideCheckout):
        tree.children(path)
    with pytest.raises(PathOutsideCheckout):
        tree.read(Entry(path=path, kind=EntryKind.FILE, id="0" * 40), limit_bytes=10)


def test_a_file_above_the_limit_is_not_read(folder):
    tree = LocalTree(folder)

    with pytest.raises(GitError, match="limit of 1"):
        tree.read(tree.entry("a/two.yaml"), limit_bytes=1)


def test_a_name_that_may_not_be_used_harms_only_its_own_folder(folder):
    (folder / "a/b" / "new\nline").write_text("x")
    tree = LocalTree(folder)

    assert [entry.name for entry in tree.children("a")] == ["b", "two.yaml"]
    with pytest.raises(GitError, match="new"):
        tree.children("a/b")
