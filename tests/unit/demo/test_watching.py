"""What the demo's cluster remembers for watches, where no real API server shows it within seconds."""

import json
import threading

import pytest

from towline.demo.changes import REMEMBERED, Changes
from towline.demo.kinds import Kind
from towline.demo.request import Refusal, Target
from towline.demo.selectors import Selector
from towline.demo.watching import Watch, lines

MAPS = Kind(group="", version="v1", kind="ConfigMap", plural="configmaps")


def write(changes, times=1):
    """So many writes of one object."""
    for _ in range(times):
        with changes.lock:
            changes.version += 1
            metadata = {"name": "a", "resourceVersion": str(changes.version)}
            object = {"kind": "ConfigMap", "metadata": metadata}
            changes.add(("", "configmaps", "shop", "a"), object, object)


def watch(changes, *, seconds, bookmarks=False):
    """Everything that a watch from now on is told."""
    asked = Watch(
        target=Target(kind=MAPS, namespace="", name=""),
        selected=Selector(),
        since=changes.version,
        seconds=seconds,
        bookmarks=bookmarks,
        shown=lambda object: object,
    )
    told = b"".join(lines(changes, asked)).splitlines()
    return [json.loads(line) for line in told]


def test_what_is_older_than_the_remembered_changes_is_gone():
    changes = Changes()
    first = changes.version
    write(changes, REMEMBERED + 1)

    with pytest.raises(Refusal) as gone:
        changes.since(first)

    assert gone.value.code == 410
    assert len(changes.since(first + 1)) == REMEMBERED


@pytest.mark.parametrize("bookmarks", [True, False])
def test_a_quiet_watch_is_told_the_version_where_it_asks_for_bookmarks(bookmarks):
    changes = Changes()

    told = watch(changes, seconds=0.01, bookmarks=bookmarks)

    versions = [(one["type"], one["object"]["metadata"]["resourceVersion"]) for one in told]
    assert versions == ([("BOOKMARK", str(changes.version))] if bookmarks else [])


def test_a_watch_ends_with_its_cluster():
    changes = Changes()
    ended = threading.Timer(0.05, changes.end)
    ended.start()

    assert watch(changes, seconds=30) == []

    ended.join()
