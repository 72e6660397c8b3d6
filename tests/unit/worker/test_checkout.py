from __future__ import annotations

import stat

import pytest
from parts.trees import Link, MemoryTree, Submodule

from towline.shared.errors import GitError
from towline.worker.checkout import CheckoutLimits, write_checkout

SMALL = CheckoutLimits(files=3, file_bytes=10, total_bytes=20, depth=2)


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_only_the_paths_asked_for_are_written(tmp_path):
    tree = MemoryTree({"a/one.yaml": "1", "a/two.yaml": "2", "b/three.yaml": "3"})

    write_checkout(tree, ["a/one.yaml", "b/three.yaml"], tmp_path)

    assert files_below(tmp_path) == {"a/one.yaml", "b/three.yaml"}
    assert (tmp_path / "a/one.yaml").read_text() == "1"


def test_a_folder_is_written_with_all_that_is_in_it(tmp_path):
    tree = MemoryTree({"chart/Chart.yaml": "1", "chart/templates/a.yaml": "2", "other/b.yaml": "3"})

    write_checkout(tree, ["chart"], tmp_path)

    assert files_below(tmp_path) == {"chart/Chart.yaml", "chart/templates/a.yaml"}


def test_the_root_is_the_whole_tree(tmp_path):
    tree = MemoryTree({"a.yaml": "1", "b/c.yaml": "2"})

    write_checkout(tree, [""], tmp_path)

    assert files_below(tmp_path) == {"a.yaml", "b/c.yaml"}


def test_what_is_written_is_for_our_own_eyes(tmp_path):
    write_checkout(MemoryTree({"a/one.yaml": "1"}), ["a"], tmp_path)

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/one.yaml").stat().st_mode) == 0o600


def test_a_link_is_written_with_what_it_leads_to(tmp_path):
    tree = MemoryTree({"a/link.yaml": Link("../b/real.yaml"), "b/real.yaml": "1", "b/other.yaml": "2"})

    write_checkout(tree, ["a"], tmp_path)

    assert (tmp_path / "a/link.yaml").read_text() == "1"
    assert files_below(tmp_path) == {"a/link.yaml", "b/real.yaml"}


def test_a_path_through_a_link_of_a_folder_is_written_where_it_really_is(tmp_path):
    tree = MemoryTree({"current": Link("v1"), "v1/a.yaml": "1", "v1/b.yaml": "2"})

    write_checkout(tree, ["current/a.yaml"], tmp_path)

    assert (tmp_path / "current/a.yaml").read_text() == "1"
    assert (tmp_path / "v1/a.yaml").read_text() == "1"


@pytest.mark.parametrize("target", ["nowhere", "module"])
def test_a_link_to_nothing_is_left_out(tmp_path, target):
    tree = MemoryTree({"a/one.yaml": "1", "a/link": Link(target), "a/module": Submodule("1" * 40)})

    write_checkout(tree, ["a"], tmp_path)

    assert files_below(tmp_path) == {"a/one.yaml"}


def test_a_submodule_and_a_missing_path_are_left_out(tmp_path):
    tree = MemoryTree({"a/one.yaml": "1", "a/module": Submodule("1" * 40)})

    write_checkout(tree, ["a", "a/module", "missing/two.yaml"], tmp_path)

    assert files_below(tmp_path) == {"a/one.yaml"}
    assert not (tmp_path / "a/module").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"a": "x" * 10},
        {"a": "x" * 10, "b": "x" * 10},
        {"a": "1", "b": "2", "c": "3"},
        {"1/2/a": "1"},
    ],
    ids=["bytes in a file", "bytes", "files", "depth"],
)
def test_a_checkout_at_a_limit_is_written(tmp_path, files):
    write_checkout(MemoryTree(files), [""], tmp_path, SMALL)

    assert files_below(tmp_path) == set(files)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a": "x" * 11}, "bytes in one file"),
        ({"a": "x" * 10, "b": "x" * 10, "c": "x"}, "20 bytes"),
        ({"a": "1", "b": "2", "c": "3", "d": "4"}, "3 files"),
        ({"1/2/3/a": "1"}, "folders deep"),
    ],
    ids=["bytes in a file", "bytes", "files", "depth"],
)
def test_a_checkout_above_a_limit_is_refused_before_anything_is_written(tmp_path, files, what):
    with pytest.raises(GitError, match=what):
        write_checkout(MemoryTree(files), [""], tmp_path, SMALL)

    assert files_below(tmp_path) == set()
