import pytest
from parts.trees import Link, MemoryTree, Submodule

from towline.shared.errors import GitError, PathOutsideCheckout
from towline.worker.resolve import MAX_HOPS, joined, resolve


@pytest.mark.parametrize(
    ("folder", "reference", "path"),
    [
        ("services/orders", "../base", "services/base"),
        ("services/orders", "./deploy//app.yaml", "services/orders/deploy/app.yaml"),
        ("services/orders", "../..", ""),
        ("", "base/", "base"),
        ("a", ".", "a"),
    ],
)
def test_a_reference_is_joined_to_its_folder(folder: str, reference: str, path: str) -> None:
    assert joined(folder, reference) == path


@pytest.mark.parametrize(
    ("folder", "reference"),
    [("", ".."), ("a", "../.."), ("a/b", "../../../c"), ("a", "/etc/passwd"), ("", "x/../../y")],
)
def test_a_reference_that_leaves_the_repository_is_refused(folder: str, reference: str) -> None:
    with pytest.raises(PathOutsideCheckout):
        joined(folder, reference)


def test_links_of_files_and_of_folders_are_followed_and_named() -> None:
    # given
    tree = MemoryTree(
        {"shared/app.yaml": "a", "here/folder": Link("../shared"), "here/app.yaml": Link("folder/app.yaml")}
    )
    # when
    resolved = resolve(tree, "here/app.yaml")
    # then
    assert resolved.entry is not None
    assert resolved.entry.path == "shared/app.yaml"
    assert [link.path for link in resolved.links] == ["here/app.yaml", "here/folder"]


@pytest.mark.parametrize("path", ["nothing", "file/below", "module/below", "dangling", "file/.."])
def test_what_is_not_there_is_none(path: str) -> None:
    tree = MemoryTree({"file": "x", "module": Submodule("1" * 40), "dangling": Link("gone")})
    if path.endswith(".."):
        with pytest.raises(PathOutsideCheckout):
            resolve(tree, path)
    else:
        assert resolve(tree, path).entry is None


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "../other/../../x", "deep/../../../x"])
def test_a_link_out_of_the_repository_is_refused(target: str) -> None:
    tree = MemoryTree({"a/link": Link(target), "other/x": "x", "a/deep/x": "x"})
    with pytest.raises(PathOutsideCheckout, match="link"):
        resolve(tree, "a/link")


def test_a_loop_of_links_is_refused() -> None:
    tree = MemoryTree({"a": Link("b"), "b": Link("a")})
    with pytest.raises(GitError, match="loop"):
        resolve(tree, "a")


@pytest.mark.parametrize(("hops", "is_refused"), [(MAX_HOPS, False), (MAX_HOPS + 1, True)])
def test_a_chain_of_links_has_a_limit(hops: int, is_refused: bool) -> None:
    links = {f"l{n}": Link(f"l{n + 1}") for n in range(hops)}
    tree = MemoryTree({**links, f"l{hops}": "end"})
    if is_refused:
        with pytest.raises(GitError):
            resolve(tree, "l0")
    else:
        assert resolve(tree, "l0").entry is not None


def test_within_a_folder_nothing_outside_is_looked_at() -> None:
    # given: the link leaves the folder and would come back
    tree = MemoryTree(
        {"a/x": "x", "a/link": Link("../a/x"), "a/up": Link("deep/../../b"), "a/deep/y": "y", "b": "b"}
    )
    # then
    for path in ("a/link", "a/up"):
        assert resolve(tree, path).entry is not None
        with pytest.raises(PathOutsideCheckout, match="leads out of a"):
            resolve(tree, path, within="a")
