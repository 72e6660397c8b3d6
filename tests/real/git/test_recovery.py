"""Mirrors that were damaged or left half-written, and disks that are full: told clearly, and mended by the next fetch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parts.repositories import repository

from towline.shared.errors import ForgeDown, MirrorDamaged, RevisionMissing, Unavailable
from towline.worker.mirror import Mirror

MAIN = "refs/heads/main"
SECONDS = 20
FILES = {f"services/s{number}/a.yaml": f"value: {number}\n" * 50 for number in range(20)}


@pytest.fixture
def folder(tmp_path, mirror, origin):
    """The folder of a mirror that has fetched once."""
    origin.commit(FILES)
    fetch(mirror)
    (folder,) = (tmp_path / "mirrors").iterdir()
    return folder


def git_folder(folder):
    (found,) = folder.glob("mirror-*.git")
    return found


def fetch(mirror):
    return mirror.fetch(MAIN, deadline_seconds=SECONDS)


def read_all(tree, path=""):
    for entry in tree.children(path):
        if entry.kind == "folder":
            read_all(tree, entry.path)
        else:
            tree.read(entry, limit_bytes=1_000_000)


def overwrite_middle(file):
    data = bytearray(file.read_bytes())
    start = len(data) // 4
    data[start : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - start)
    file.chmod(0o644)
    file.write_bytes(data)


def packs(folder):
    return sorted((git_folder(folder) / "objects/pack").glob("*.pack"))


def test_an_overwritten_pack_shows_when_read_and_is_mended_by_the_next_fetch(folder, make_mirror, origin):
    # given
    overwrite_middle(packs(folder)[0])
    mirror = make_mirror(origin.url)

    # when: a mirror that another process opens shows it no later than at the objects
    with pytest.raises(MirrorDamaged) as damage:
        read_all(mirror.tree(origin.tip()))

    # then
    assert damage.value.retry
    assert (folder / "damaged").exists()
    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))
    assert not (folder / "damaged").exists()
    assert (folder / "set-aside").is_dir()


def test_a_tree_read_before_the_mirror_was_cloned_anew_fails_clearly_or_reads(folder, mirror, origin):
    tree = mirror.tree(origin.tip())
    shutil.rmtree(git_folder(folder))

    try:
        read_all(tree)
    except MirrorDamaged:
        pass

    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))


@pytest.mark.parametrize("name", ["HEAD", "config", "objects", "refs"])
def test_a_mirror_that_lost_a_part_is_cloned_anew(folder, make_mirror, origin, name):
    part = git_folder(folder) / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()

    mirror = make_mirror(origin.url)

    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))


@pytest.mark.parametrize("name", ["HEAD", "config"])
def test_a_mirror_with_a_garbled_part_is_cloned_anew(folder, make_mirror, origin, name):
    (git_folder(folder) / name).write_text("[[[[\0garbled")

    mirror = make_mirror(origin.url)

    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))


def test_a_mirror_whose_packs_are_gone_is_cloned_anew(folder, make_mirror, origin):
    for file in (git_folder(folder) / "objects/pack").iterdir():
        file.unlink()

    mirror = make_mirror(origin.url)

    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))


def test_a_garbled_ref_of_ours_is_mended(folder, make_mirror, origin):
    (ref,) = (git_folder(folder) / "refs/mirror").iterdir()
    ref.write_text("garbled")

    mirror = make_mirror(origin.url)

    assert fetch(mirror) == origin.tip()


def test_a_mirror_that_was_never_finished_is_completed(tmp_path, make_mirror, origin):
    revision = origin.commit(FILES)
    mirror = make_mirror(origin.url)
    with pytest.raises(ForgeDown):
        mirror.fetch(MAIN, deadline_seconds=0)
    (folder,) = (tmp_path / "mirrors").iterdir()
    (folder / "mirror-00000000000000000000.git/objects").mkdir(parents=True)  # killed while it was made

    assert fetch(mirror) == revision
    read_all(mirror.tree(revision))


def test_locks_and_temporary_packs_of_a_killed_fetch_are_removed(folder, mirror, origin):
    # given: what libgit2 leaves, for the very ref that is fetched next
    (ref,) = (git_folder(folder) / "refs/mirror").iterdir()
    left = [
        ref.with_name(f"{ref.name}.lock"),
        git_folder(folder) / "FETCH_HEAD.lock",
        git_folder(folder) / "shallow.lock",
        git_folder(folder) / "objects/pack/pack_git2_left",
    ]
    for file in left:
        file.touch()
    revision = origin.commit({"new": "1"})

    # when
    assert fetch(mirror) == revision

    # then
    assert not any(file.exists() for file in left)


def test_a_pack_that_is_broken_on_the_way_is_the_servers_fault_and_told_so(git_server, mirror, origin):
    git_server.faults.corrupt_pack = True
    origin.commit({"noise": os.urandom(200_000)})

    with pytest.raises(ForgeDown, match="cannot be read"):
        fetch(mirror)

    git_server.faults.corrupt_pack = False
    assert fetch(mirror) == origin.tip()
    read_all(mirror.tree(origin.tip()))


def test_what_can_still_be_read_of_a_damaged_mirror_stays_while_the_server_is_down(
    git_server, folder, mirror, origin
):
    # given
    revision = origin.tip()
    (folder / "damaged").write_text("one of its files\n")
    git_server.stop()

    # when
    with pytest.raises(ForgeDown):
        fetch(mirror)

    # then
    read_all(mirror.tree(revision))
    git_server.start()
    assert fetch(mirror) == revision
    assert not (folder / "damaged").exists()


def test_a_fetch_that_was_cut_off_leaves_what_was_there_readable(git_server, folder, mirror, origin):
    before = origin.tip()
    git_server.faults.cut_pack_after = 200
    after = origin.commit({f"new{number}": "x" * 500 for number in range(100)})

    with pytest.raises(ForgeDown):
        fetch(mirror)

    read_all(mirror.tree(before))
    with pytest.raises(RevisionMissing):
        mirror.tree(after)
    git_server.faults.cut_pack_after = None
    assert fetch(mirror) == after


def test_packs_do_not_pile_up_and_everything_stays_readable(folder, mirror, origin):
    # given: a reader that opened the mirror before
    revisions = [origin.tip()]
    reader = mirror.tree(origin.tip())

    # when
    for number in range(60):
        revisions.append(origin.commit({"counter": f"{number}"}))
        fetch(mirror)

    # then
    assert 1 < len(packs(folder)) <= 50
    for revision in revisions:
        read_all(mirror.tree(revision))
    read_all(reader)


def test_packs_that_were_made_one_are_held_by_no_process(folder, make_mirror, mirror, origin):
    another = make_mirror(origin.url)

    for number in range(60):
        revision = origin.commit({"counter": f"{number}"})
        fetch(mirror)
        read_all(another.tree(revision))

    held = Path("/proc/self/maps").read_text().splitlines()
    assert [line for line in held if str(folder) in line]
    assert not [line for line in held if str(folder) in line and line.endswith("(deleted)")]


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from parts.repositories import repository
from towline.worker.mirror import Mirror
from towline.shared.errors import TowlineError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    Mirror(Path(sys.argv[1]), repository(sys.argv[2])).fetch("refs/heads/main", deadline_seconds=20)
except TowlineError as error:
    print(json.dumps([type(error).__name__, error.retry, error.message, error.hint]))
"""


def test_a_disk_without_room_is_told_as_that(tmp_path, origin, request):
    # given: a process whose files may not grow, which fails its writes as a full disk does
    origin.commit({"big": os.urandom(1_000_000)})
    command = [
        sys.executable,
        "-c",
        FULL_DISK,
        tmp_path / "mirrors",
        origin.url,
        request.config.rootpath / "tests",
    ]

    # when
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    # then
    name, retry, message, hint = json.loads(done.stdout)
    assert (name, retry) == ("Unavailable", True)
    assert "no room" in message
    assert "data_dir" in hint


def test_a_folder_that_may_not_be_made_is_told_as_that(tmp_path, origin):
    (tmp_path / "file").touch()
    mirror = Mirror(tmp_path / "file" / "mirrors", repository(origin.url))

    with pytest.raises(Unavailable, match="cannot be made"):
        fetch(mirror)
