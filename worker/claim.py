"""The right to write one release: taken before the first write, checked before each phase that writes.

In: a release as it stands and a plan. Out: the claimed Release, and a Guard that raises Conflict when the claim is lost.
State: the claim annotation of the Release (shared/records.py). Killed half-way: the claim stays without its status,
and the next attempt sees that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from towline.shared.config import Environment
from towline.shared.errors import Conflict
from towline.shared.model import Object
from towline.shared.records import Records, check_owner
from towline.shared.release import Release, StoredRevision
from towline.worker.plan import Plan
from towline.worker.state import Standing
from towline.worker.tools import Tools

FRESH_SECONDS = 2.0  # a claim confirmed so short ago cannot have been lost: a lease lives 12 s


def make_room(tools: Tools, environment: Environment) -> None:
    """Before the first install of a release: the Release kind and the environment's namespace are there."""
    place = f"{environment.cluster}/{environment.namespace}"
    if place in tools.prepared:
        return
    records = tools.records(environment)
    records.ensure_crd()
    if environment.create_namespace:
        records.ensure_namespace(environment.namespace, environment=environment.name)
    tools.prepared.add(place)


def claim(standing: Standing, plan: Plan, *, token: str, pin: str = "") -> Release:
    """Take the release for this attempt. Raises Conflict when another one has it, or it is another repository's.

    `pin`: the revision that it is to stay at, "" where its pin stays what it is. So what was refused before this pins nothing.
    """
    asked_at = time.monotonic()
    release = standing.records.claim(
        standing.owner,
        standing.release,
        token=token,
        group_kinds=plan.group_kinds,
        namespaces=plan.additional_namespaces,
        pin=pin,
    )
    return replace(release, held_since=asked_at)


def claim_and_store(
    standing: Standing, plan: Plan, *, token: str, revision: str, objects: Sequence[Object], pin: str = ""
) -> tuple[Release, StoredRevision]:
    """Take the release, and store what is about to be applied; side by side where the release is there already.

    Then neither needs the other's answer. A claim that is lost leaves a stored revision that no status names, as an
    attempt that was killed does: the next one at this revision uses it, the next search finds it.
    """
    release, store = standing.release, partial(standing.records.store, revision=revision, objects=objects)
    if release is None:
        release = claim(standing, plan, token=token, pin=pin)
        return release, store(release)
    check_owner(standing.owner, release)  # before anything is written beside another's
    with ThreadPoolExecutor(1) as beside:
        storing = beside.submit(store, release)
        return claim(standing, plan, token=token, pin=pin), storing.result()


@dataclass(slots=True)
class Guard:
    """Raises Conflict when called after the claim was lost: the worker was away, and somebody else went on.

    The lease alone cannot tell after Redis was wiped, and the claim costs a request; so the claim is asked for again
    only when time has passed since it was last known to hold, counted from before that was asked: a worker may be away at
    any line.
    """

    records: Records
    release: Release
    _confirmed_at: float = 0.0

    def __post_init__(self) -> None:
        self._confirmed_at = self.release.held_since

    def __call__(self) -> None:
        """Check, cheaply when the last check was a moment ago."""
        now = time.monotonic()
        if now - self._confirmed_at < FRESH_SECONDS:
            return
        if not self.records.still_claimed(self.release):
            raise Conflict(
                f"release {self.release.namespace}/{self.release.name} was taken over by another worker"
            )
        self._confirmed_at = now
