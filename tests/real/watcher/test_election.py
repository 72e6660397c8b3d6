"""The watchers' Lease on a real API server: one is active, and whoever loses it stops acting at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from parts.eventually import eventually
from parts.watched import Watched, settings

from towline.shared.cluster import Cluster
from towline.shared.model import Object
from towline.shared.watchers import Watchers
from towline.worker.election import LEASE, LEASE_NAME, Election


def lease(watched: Watched) -> Object:
    """As it is now."""
    found = watched.cluster.get(LEASE, LEASE_NAME, watched.namespace)
    assert found is not None
    return found


def give_to(watched: Watched, holder: str) -> None:
    """Somebody else takes it, whoever has it."""
    patch = {"spec": {"holderIdentity": holder}}
    watched.cluster.merge_patch(LEASE, LEASE_NAME, watched.namespace, patch)


@pytest.fixture
def candidates(cluster: Cluster, namespace: str) -> Iterator[list[Election]]:
    """Two of them, started."""
    made = [Election(cluster, namespace, me=name) for name in ("one", "two")]
    for one in made:
        one.start()
    yield made
    for one in made:
        one.stop()


def test_of_two_candidates_one_is_active_and_a_clean_stop_hands_over_at_once(candidates: list[Election]):
    first = eventually(lambda: next((one for one in candidates if one.holds()), None))
    (second,) = [one for one in candidates if one is not first]
    both = [one.holds() for one in candidates]
    stopped_at = time.monotonic()

    first.stop()

    eventually(second.holds, within=8)
    assert both.count(True) == 1
    assert not first.holds()
    assert time.monotonic() - stopped_at < 5


def test_a_lease_in_a_namespace_that_is_missing_waits_for_what_makes_it(
    cluster: Cluster, namespace_name: str
):
    made: list[str] = []

    def prepare() -> None:
        made.append(namespace_name)
        metadata = {"name": namespace_name}
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    election = Election(cluster, namespace_name, me="one", prepare=prepare)
    election.start()

    eventually(election.holds, within=10)
    election.stop()
    assert made == [namespace_name]


def test_a_watcher_whose_lease_somebody_else_took_asks_for_nothing_more(watched: Watched):
    watcher = watched.start()
    eventually(lambda: watcher.election.holds() and watcher.is_watching)

    give_to(watched, "another")
    eventually(lambda: not watcher.election.holds(), within=8)
    watched.apply("orders", [settings()])

    eventually(lambda: not watcher.is_watching)
    assert (watched.asked("orders"), len(watcher.watches), watcher.scene.tracked) == ([], 0, {})


def test_a_watcher_that_is_elected_later_asks_for_what_happened_before(watched: Watched):
    watched.apply("orders", [settings()])
    first = watched.start()
    eventually(lambda: watched.asked("orders"))
    second = watched.start()
    watched.end_jobs()

    watched.running[0].stop()

    eventually(lambda: second.is_watching and watched.asked("orders"), within=8)
    eventually(lambda: Watchers(first.watching.queue.broker).active(["test"]))
