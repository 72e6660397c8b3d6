"""A work tree on disk against what Git commits of it."""

from __future__ import annotations

import subprocess

import pytest
from parts.repositories import repository

from towline.worker.local_tree import LocalTree
from towline.worker.mirror import Mirror

FILES = {
    "README.md": "read me",
    "services/orders/deployment.yaml": "one",
    "services/orders/sub/deep.yaml": "two",
    "services/a.b/x.yaml": "sorted as Git does: a folder sorts as if its name ended in a slash",
    "services/a/x.yaml": "three",
    ".gitignore": "node_modules/\n*.log\n",
    "debug.log": "ignored, and committed all the same",
}


def git(folder, *arguments):
    command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("services/orders")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "add", "-f", "debug.log")
    git(folder, "commit", "-q", "-m", "x")
    return folder


def everything(tree, path=""):
    found = {}
    for entry in tree.children(path):
        found[entry.path] = (entry.kind, entry.id, entry.size_bytes)
        found |= everything(tree, entry.path)
    return found


def test_a_work_tree_is_what_git_commits_of_it(tmp_path, work):
    # given: a commit, and beside it what Git ignores
    (work / "node_modules/x").mkdir(parents=True)
    (work / "node_modules/x/index.yaml").write_text("not ours")
    (work / "services/orders/trace.log").write_text("not ours")
    mirror = Mirror(tmp_path / "mirrors", repository(work.as_uri()))
    revision = mirror.fetch("refs/heads/main", deadline_seconds=20)

    # when
    local, committed = LocalTree(work), mirror.tree(revision)

    # then
    assert everything(local) == everything(committed)
    assert local.entry("").id == committed.entry("").id
    assert local.entry("debug.log") is not None


def test_a_folder_of_a_work_tree_leaves_out_the_same(work):
    (work / "services/orders/trace.log").write_text("not ours")
    (work / "services/node_modules").mkdir()
    (work / "services/node_modules/a.yaml").write_text("not ours")

    tree = LocalTree(work / "services")

    assert set(everything(tree)) == {
        "a", "a/x.yaml", "a.b", "a.b/x.yaml", "orders", "orders/deployment.yaml", "orders/sub", "orders/sub/deep.yaml",
    }  # fmt: skip
