"""Operators and CI jobs by the command line: a commit waited for, a release taken back, held and let go."""

import json
from concurrent.futures import ThreadPoolExecutor

from parts.eventually import eventually
from parts.manifests import config_map, deployment, nowhere, several

from towline.shared.model import Phase

ORDERS = "services/orders/app.yaml"


def good(version: int) -> str:
    return several(config_map("orders", version=str(version)), deployment("orders", replicas=1))


def bad(version: int) -> str:
    broken = nowhere(deployment("orders", image=f"example.com/app:{version}", replicas=1))
    return several(config_map("orders", version=str(version)), broken)


def pushed(towline, content: str) -> str:
    revision = towline.origin.commit({ORDERS: content})
    assert towline.webhook(revision)[0] == 202
    return revision


def wait(towline, revision: str):
    return towline.run("wait", revision, "--repository", "shop", "--timeout", "50s")


def test_a_ci_job_is_told_of_a_bad_commit_and_of_its_fix_and_an_operator_holds_what_was_before(
    towline, control_plane
):
    towline.start("up")
    first = pushed(towline, good(1))
    assert wait(towline, first).returncode == 0

    broken = pushed(towline, bad(2))
    told = wait(towline, broken)

    assert told.returncode == 1, told.stderr
    assert "staging/orders: rolled back" in told.stdout
    assert "0 of 1 releases live" in told.stdout
    eventually(lambda: towline.release("orders").status.phase is Phase.ROLLED_BACK, within=20)
    assert wait(towline, first).returncode == 0  # which runs again

    fixed = pushed(towline, good(3))
    told = wait(towline, fixed)

    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 of 1 releases live" in told.stdout

    back = towline.run("rollback", "staging/orders", "--wait")

    assert back.returncode == 0, back.stdout + back.stderr
    assert "`towline unpin staging/orders` follows the branch again" in back.stdout
    release = towline.release("orders")
    assert (release.status.revision, release.pinned) == (first, first)
    assert wait(towline, fixed).returncode == 1  # it does not run any more

    with ThreadPoolExecutor(1) as pool:
        newest = pushed(towline, good(4))
        waiting = pool.submit(wait, towline, newest)
        assert towline.run("unpin", "staging/orders").returncode == 0
        assert waiting.result().returncode == 0

    assert towline.release("orders").status.revision == newest
    history = json.loads(towline.run("history", "staging/orders", "--output", "json").stdout)["history"]
    assert [each["revision"] for each in history] == [newest, first, fixed, broken, first]
    assert [each["result"] for each in history][1:4] == ["healthy", "healthy", "rolled back"]
    assert (history[1]["trigger"], history[1]["triggeredBy"]) == ("operator", "command line")


def test_commits_that_were_pushed_together_are_live_with_the_newest_of_them(towline):
    towline.start("up")
    assert wait(towline, pushed(towline, good(1))).returncode == 0
    older = towline.origin.commit({ORDERS: good(2)})
    newest = pushed(towline, good(3))

    told = wait(towline, older)

    assert told.returncode == 0, told.stdout + told.stderr
    assert f"superseded by {newest[:10]}, live" in told.stdout
