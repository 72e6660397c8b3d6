"""Watchers killed: another takes over, and nothing is lost."""

from __future__ import annotations

import time

from parts.eventually import eventually
from parts.towline import Towline

from towline.shared.watchers import Watchers
from towline.worker.election import LEASE, LEASE_NAME


def holder(towline: Towline) -> str:
    """Who has the Lease."""
    place = towline.config.environment("staging")
    lease = towline.tools.cluster(place).get(LEASE, LEASE_NAME, place.namespace)
    return str(lease["spec"]["holderIdentity"]) if lease else ""


def test_a_second_watcher_takes_over_within_15_seconds_when_the_first_is_killed(towline: Towline):
    towline.tools.records(towline.config.environment("staging")).ensure_crd()
    first = towline.start("watcher", name="watcher-1")
    killed = eventually(lambda: holder(towline), within=20)
    towline.start("watcher", name="watcher-2")
    watchers = Watchers(towline.tools.broker)
    eventually(lambda: watchers.active(["test"]), within=20)

    first.kill()
    killed_at = time.monotonic()

    eventually(lambda: holder(towline) not in ("", killed), within=20)
    assert time.monotonic() - killed_at < 15
    eventually(lambda: watchers.active(["test"]), within=10)
