"""Many jobs, in threads and in processes: one fetch for all who wait, several repositories at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from parts.eventually import eventually
from parts.git import GitServer

MAIN = "refs/heads/main"
SECONDS = 30

FETCH = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from parts.repositories import repository
from towline.worker.mirror import Mirror
mirror = Mirror(Path(sys.argv[2]), repository(sys.argv[3]))
print("ready", flush=True)
for line in sys.stdin:
    revision = mirror.fetch(line.strip(), deadline_seconds=30)
    tree = mirror.tree(revision)
    print(json.dumps([revision, [entry.name for entry in tree.children("")]]), flush=True)
"""


@pytest.fixture
def processes(tmp_path, request):
    """Start processes that fetch a ref for each line written to them."""
    started = []

    def start(url):
        tests = request.config.rootpath / "tests"
        command = [sys.executable, "-c", FETCH, tests, tmp_path / "mirrors", url]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate(timeout=30)


def fetch_in_threads(mirrors, ref=MAIN):
    results = []
    threads = [
        threading.Thread(target=lambda m=m: results.append(m.fetch(ref, deadline_seconds=SECONDS)))
        for m in mirrors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_processes_that_wait_share_one_fetch(tmp_path, git_server, origin, processes):
    # given: six processes, and a server slow enough that all wait for the first one's fetch
    revision = origin.commit({"a": "1"})
    six = [processes(origin.url) for _ in range(6)]
    assert all(process.stdout.readline() == "ready\n" for process in six)
    git_server.faults.wait_seconds = 0.5

    # when
    six[0].stdin.write(f"{MAIN}\n")
    eventually(lambda: git_server.requests)
    for process in six[1:]:
        process.stdin.write(f"{MAIN}\n")
    answers = [json.loads(process.stdout.readline()) for process in six]

    # then: the one under way, and one that started after the others asked
    assert answers == [[revision, ["a"]]] * 6
    assert git_server.fetches == 2


def test_a_push_during_a_fetch_is_not_missed_by_who_asks_after_it(git_server, origin, make_mirror):
    # given: a fetch under way that was told of the old tip
    old = origin.commit({"a": "1"})
    git_server.faults.wait_seconds = 0.2
    first = threading.Thread(target=lambda: make_mirror(origin.url).fetch(MAIN, deadline_seconds=SECONDS))
    first.start()
    eventually(lambda: len(git_server.requests) >= 2)

    # when
    new = origin.commit({"a": "2"})
    found = make_mirror(origin.url).fetch(MAIN, deadline_seconds=SECONDS)
    first.join()

    # then
    assert found == new != old


def test_branches_that_are_waited_for_are_fetched_together(git_server, origin, make_mirror):
    # given
    refs = [f"refs/heads/b{number}" for number in range(8)]
    tips = {ref: origin.commit({ref: "1"}, branch=ref.removeprefix("refs/heads/")) for ref in refs}
    origin.commit({"a": "1"})
    git_server.faults.wait_seconds = 0.3
    found = {}

    # when
    threads = [
        threading.Thread(target=make_mirror(origin.url).fetch, args=(MAIN,), kwargs={"deadline_seconds": 30})
    ]
    threads[0].start()
    eventually(lambda: git_server.requests)
    for ref in refs:
        mirror = make_mirror(origin.url)
        threads.append(
            threading.Thread(
                target=lambda r=ref, m=mirror: found.update({r: m.fetch(r, deadline_seconds=SECONDS)})
            )
        )
        threads[-1].start()
    for thread in threads:
        thread.join()

    # then
    assert found == tips
    assert git_server.fetches == 2


def test_one_mirror_may_be_used_by_many_threads(origin, mirror):
    revision = origin.commit({"a": "1"})

    assert fetch_in_threads([mirror] * 8) == [revision] * 8


def test_a_repository_that_hangs_does_not_hold_up_another_in_another_process(tmp_path, origin, processes):
    # given
    (tmp_path / "hanging").mkdir()
    hanging = GitServer(tmp_path / "hanging")
    hanging.start()
    stuck = processes(hanging.origin("stuck").url)
    works = processes(origin.url)
    assert stuck.stdout.readline() == works.stdout.readline() == "ready\n"
    hanging.faults.wait_seconds = 30
    revision = origin.commit({"a": "1"})

    # when
    stuck.stdin.write(f"{MAIN}\n")
    eventually(lambda: hanging.requests)
    works.stdin.write(f"{MAIN}\n")

    # then
    assert json.loads(works.stdout.readline())[0] == revision
    stuck.kill()
    hanging.stop()


def test_a_killed_fetch_does_not_hold_up_the_next(tmp_path, git_server, origin, mirror, processes):
    # given: a process killed in the middle of a fetch
    revision = origin.commit({"a": "1"})
    git_server.faults.wait_seconds = 30
    killed = processes(origin.url)
    assert killed.stdout.readline() == "ready\n"
    killed.stdin.write(f"{MAIN}\n")
    eventually(lambda: git_server.requests)
    killed.kill()
    killed.wait()

    # when
    git_server.faults.wait_seconds = 0

    # then
    assert mirror.fetch(MAIN, deadline_seconds=SECONDS) == revision
