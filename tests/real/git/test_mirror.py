"""Mirrors against a real Git server: what is fetched, and what a mirror then says."""

from __future__ import annotations

import subprocess

import pytest
from parts.git import Executable, Submodule, Symlink

from towline.shared.errors import FetchRefused, GitError, RevisionMissing
from towline.worker.tree import EntryKind

MAIN, RELEASE = "refs/heads/main", "refs/heads/release"
SECONDS = 20


def fetch(mirror, ref=MAIN):
    return mirror.fetch(ref, deadline_seconds=SECONDS)


def text(mirror, revision, path):
    tree = mirror.tree(revision)
    return tree.read(tree.entry(path), limit_bytes=1000).decode()


def tree_of(mirror, revision):
    fetch(mirror)
    return mirror.tree(revision)


def test_the_first_fetch_clones_and_reads(mirror, origin):
    revision = origin.commit({"services/orders/deployment.yaml": "one"})

    assert fetch(mirror) == revision
    assert text(mirror, revision, "services/orders/deployment.yaml") == "one"


def test_a_push_is_fetched_in_two_requests(mirror, origin, git_server):
    origin.commit({"a": "1"})
    fetch(mirror)
    git_server.requests.clear()

    revision = origin.commit({"a": "2"})

    assert fetch(mirror) == revision
    assert git_server.requests == ["GET /shop.git/info/refs", "POST /shop.git/git-upload-pack"]


def test_nothing_new_costs_one_request(mirror, origin, git_server):
    revision = origin.commit({"a": "1"})
    fetch(mirror)
    git_server.requests.clear()

    assert fetch(mirror) == revision
    assert git_server.requests == ["GET /shop.git/info/refs"]


def test_only_the_ref_asked_for_is_fetched(mirror, origin):
    origin.commit({"a": "1"})
    other = origin.commit({"b": "2"}, branch="release")

    fetch(mirror)

    with pytest.raises(RevisionMissing):
        mirror.tree(other)


def test_a_forced_push_is_fetched_like_any_other(mirror, origin):
    origin.commit({"a": "1"})
    fetch(mirror)

    revision = origin.commit({"b": "2"}, force=True)

    assert fetch(mirror) == revision
    assert mirror.tree(revision).entry("a") is None


def test_a_branch_that_goes_back_is_fetched_like_any_other(mirror, origin):
    first = origin.commit({"a": "1"})
    origin.commit({"a": "2"})
    fetch(mirror)

    origin.force(first)

    assert fetch(mirror) == first
    assert text(mirror, first, "a") == "1"


def test_a_branch_that_goes_back_below_a_shallow_clone_is_fetched(mirror, origin):
    first = origin.commit({"a": "1"})
    for number in range(2, 6):
        origin.commit({"a": f"{number}"})
    fetch(mirror)  # the tip alone

    origin.force(first)

    assert fetch(mirror) == first
    assert text(mirror, first, "a") == "1"


def test_a_deleted_branch_is_none_and_comes_back(mirror, origin):
    revision = origin.commit({"a": "1"})
    origin.force(revision, branch="release")
    assert fetch(mirror, RELEASE) == revision

    origin.delete_branch("release")
    assert fetch(mirror, RELEASE) is None

    origin.force(revision, branch="release")
    assert fetch(mirror, RELEASE) == revision


def test_a_ref_that_never_was_is_none(mirror, origin):
    origin.commit({"a": "1"})

    assert fetch(mirror, "refs/heads/nowhere") is None


def test_an_empty_repository_has_no_refs(mirror, origin):
    assert fetch(mirror) is None
    assert mirror.refs(deadline_seconds=SECONDS) == {}


@pytest.mark.parametrize("annotated", [True, False])
def test_a_tag_is_peeled_to_its_commit(mirror, origin, annotated):
    revision = origin.commit({"a": "1"})
    origin.tag("v1", revision, annotated=annotated)

    assert fetch(mirror, "refs/tags/v1") == revision
    assert mirror.refs(deadline_seconds=SECONDS) == {MAIN: revision, "refs/tags/v1": revision}


def test_refs_that_cannot_stand_beside_each_other_on_disk_are_both_fetched(mirror, origin):
    revision = origin.commit({"a": "1"}, branch="feature")
    assert fetch(mirror, "refs/heads/feature") == revision

    origin.delete_branch("feature")
    below = origin.commit({"a": "2"}, branch="feature/x")

    assert fetch(mirror, "refs/heads/feature/x") == below
    assert fetch(mirror, "refs/heads/feature") is None


def test_listing_refs_fetches_nothing(mirror, origin, git_server):
    revision = origin.commit({"a": "1"})

    assert mirror.refs(deadline_seconds=SECONDS) == {MAIN: revision}
    assert git_server.requests == ["GET /shop.git/info/refs"]


def test_entries_have_kinds_sizes_and_the_ids_of_git(mirror, origin):
    revision = origin.commit(
        {
            "d/file": "12345",
            "d/run": Executable("x"),
            "d/link": Symlink("file"),
            "d/module": Submodule("1" * 40),
        }
    )
    fetch(mirror)
    tree = mirror.tree(revision)

    found = {entry.name: (entry.kind, entry.size_bytes) for entry in tree.children("d")}

    assert found == {
        "file": (EntryKind.FILE, 5),
        "link": (EntryKind.SYMLINK, 4),
        "module": (EntryKind.SUBMODULE, 0),
        "run": (EntryKind.FILE, 1),
    }
    assert tree.entry("").id == str(origin.repository[revision].tree.id)
    assert tree.entry("d").id == str(origin.repository[revision].tree["d"].id)
    assert tree.read(tree.entry("d/link"), limit_bytes=4) == b"file"


def test_a_large_folder_is_parsed_once_for_all_jobs_and_anew_when_it_changes(mirror, origin):
    first = origin.commit({f"services/s{number}/app.yaml": "one" for number in range(100)})
    fetch(mirror)
    known = mirror.tree(first).children("services")[0]

    assert mirror.tree(first).children("services")[0] is known

    second = origin.commit({"services/s7/app.yaml": "two"})
    fetch(mirror)
    assert mirror.tree(second).entry("services/s7") != mirror.tree(first).entry("services/s7")
    assert mirror.tree(first).children("services")[0] == known


def test_one_name_of_a_folder_is_the_same_looked_up_as_listed(mirror, origin):
    files = {f"d/s{number}/app.yaml": "one" for number in range(100)}
    revision = origin.commit(
        files | {"d/link": Symlink("s1"), "d/module": Submodule("1" * 40), "d/file": "1"}
    )
    fetch(mirror)

    listed = {entry.path: entry for entry in mirror.tree(revision).children("d")}

    assert {path: mirror.tree(revision).entry(path) for path in listed} == listed
    assert mirror.tree(revision).entry("d/none") is None
    assert mirror.tree(revision).entry("d/file/none") is None
    assert mirror.tree(revision).entry("d/\udcff") is None


def test_files_whose_bytes_alone_were_edited_are_told(mirror, origin):
    before = tree_of(mirror, origin.commit({"a/x": "1", "link": Symlink("a/x"), "run": "1"})).entry("").id
    tree = tree_of(mirror, origin.commit({"a/x": "2", "run": Executable("2")}))

    assert tree.edited(before) == {"a/x", "run"}
    assert tree.edited(tree.entry("").id) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"a/new": "1"},
        {"a/y": None},
        {"a/y": None, "b/y": "1"},
        {"link": Symlink("a/y")},
        {"a/y": Symlink("x")},
        {"a/y": Submodule("1" * 40)},
    ],
    ids=["added", "removed", "moved", "link pointed elsewhere", "file made a link", "file made a submodule"],
)
def test_more_than_edited_bytes_is_not_told_as_edits(mirror, origin, change):
    before = tree_of(mirror, origin.commit({"a/x": "1", "a/y": "1", "link": Symlink("a/x")})).entry("").id

    assert tree_of(mirror, origin.commit({"a/x": "2", **change})).edited(before) is None


def test_a_revision_that_is_not_here_cannot_be_compared_with(mirror, origin):
    tree = tree_of(mirror, origin.commit({"a": "1"}))

    assert tree.edited("1" * 40) is None
    assert tree.edited(tree.entry("a").id) is None


def test_what_is_no_folder_has_no_children_and_a_folder_no_bytes(mirror, origin):
    revision = origin.commit({"d/file": "1", "d/module": Submodule("1" * 40)})
    fetch(mirror)
    tree = mirror.tree(revision)

    assert tree.children("d/file") == tree.children("nowhere") == tree.children("d/module") == ()
    assert tree.entry("d/file/below") is None
    for path in ("d", "d/module"):
        with pytest.raises(GitError, match="not a file"):
            tree.read(tree.entry(path), limit_bytes=10)


def test_a_file_above_the_limit_is_not_read(mirror, origin):
    revision = origin.commit({"big": "x" * 100})
    fetch(mirror)
    tree = mirror.tree(revision)

    assert len(tree.read(tree.entry("big"), limit_bytes=100)) == 100
    with pytest.raises(GitError, match="limit of 99"):
        tree.read(tree.entry("big"), limit_bytes=99)


def test_a_commit_tells_who_what_and_when(mirror, origin):
    parent = origin.commit({"a": "1"})
    fetch(mirror)
    revision = origin.commit({"a": "2"}, message="Raise the limit\n\nBecause.", author="Grace")
    fetch(mirror)

    commit = mirror.commit(revision)

    assert (commit.author, commit.subject, commit.parents) == ("Grace", "Raise the limit", (parent,))
    assert commit.committed_at.isoformat() == "2025-06-15T15:06:40+00:00"


class TestEnsure:
    def test_a_commit_that_is_here_costs_no_request(self, mirror, origin, git_server):
        revision = origin.commit({"a": "1"})
        fetch(mirror)
        git_server.requests.clear()

        mirror.ensure(revision, ref=MAIN, deadline_seconds=SECONDS)

        assert git_server.requests == []

    def test_a_tip_is_fetched_by_its_ref(self, mirror, origin):
        revision = origin.commit({"a": "1"})

        mirror.ensure(revision, ref=MAIN, deadline_seconds=SECONDS)

        assert text(mirror, revision, "a") == "1"

    def test_an_older_commit_is_found_in_the_whole_history(self, mirror, origin):
        old = origin.commit({"a": "1"})
        origin.commit({"a": "2"})
        origin.commit({"a": "3"})

        mirror.ensure(old, ref=MAIN, deadline_seconds=SECONDS)

        assert text(mirror, old, "a") == "1"

    @pytest.mark.parametrize("ids_are_given", [True, False])
    def test_a_commit_that_only_a_fork_has_is_missing(self, mirror, origin, ids_are_given):
        origin.commit({"a": "ours"})
        foreign = origin.commit({"a": "theirs"}, branch="of-a-fork", force=True)
        origin.delete_branch("of-a-fork")
        if ids_are_given:
            origin.allow_ids()

        with pytest.raises(RevisionMissing, match=foreign[:10]):
            mirror.ensure(foreign, ref=MAIN, deadline_seconds=SECONDS)

    def test_a_commit_that_never_was_is_missing(self, mirror, origin):
        origin.commit({"a": "1"})

        with pytest.raises(RevisionMissing):
            mirror.ensure("1" * 40, ref=MAIN, deadline_seconds=SECONDS)

    def test_a_commit_that_never_was_is_missing_on_disk_too_and_the_mirror_stays(self, make_mirror, origin):
        revision = origin.commit({"a": "1"})
        mirror = make_mirror(origin.file_url)
        fetch(mirror)

        with pytest.raises(RevisionMissing):
            mirror.ensure("1" * 40, ref=MAIN, deadline_seconds=SECONDS)

        assert text(mirror, revision, "a") == "1"

    @pytest.mark.parametrize(
        "text", ["HEAD", "main", "abc", "", "A" * 40, "refs/heads/main", "--upload-pack=x"]
    )
    def test_only_whole_ids_are_looked_up(self, mirror, origin, text):
        origin.commit({"a": "1"})

        with pytest.raises(RevisionMissing, match="commit id"):
            mirror.ensure(text, ref=MAIN, deadline_seconds=SECONDS)

    def test_an_id_of_a_file_is_not_a_revision(self, mirror, origin):
        revision = origin.commit({"a": "1"})
        fetch(mirror)
        blob = mirror.tree(revision).entry("a").id

        with pytest.raises(RevisionMissing):
            mirror.tree(blob)

    def test_an_id_of_sha256_is_refused_by_name(self, mirror):
        with pytest.raises(RevisionMissing, match="SHA-256"):
            mirror.ensure("1" * 64, ref=MAIN, deadline_seconds=SECONDS)


def test_a_repository_with_sha256_ids_is_refused_by_name(tmp_path, git_server, make_mirror):
    # given
    served, work = git_server.folder / "sha256.git", tmp_path / "work"
    for command in (
        ["git", "init", "-q", "--bare", "--object-format=sha256", served],
        ["git", "init", "-q", "--object-format=sha256", work],
        [
            "git",
            "-C",
            work,
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
        ["git", "-C", work, "push", "-q", served, "HEAD:main"],
    ):
        subprocess.run(command, check=True, capture_output=True)

    # then
    for url in (f"{git_server.url}/sha256.git", served.as_uri()):
        with pytest.raises(FetchRefused, match="SHA-256"):
            fetch(make_mirror(url))
