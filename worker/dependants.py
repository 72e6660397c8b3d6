"""Which release waits for which: a dependant is synced when what it depends on, and changes too, is healthy.

In: the wishes of a push, and what the services say in `depends_on`. Out: the same wishes, that name what they come after; the
reason for which one of them waits; sync jobs for those that wait no longer. No worker waits: a sync that has to leaves its
wish undone and ends, and whoever concludes what it waits for has it tried again. A service that leaves Git together with
what it depends on goes first.

Redis keys:

    towline:dependants:<release>   set   releases that wait, or waited, for this one; written with their wish
    towline:waiters                set   all of these releases: the clock looks whether one was forgotten

Killed at any line: the clock finds what waits no longer and has no job.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from towline.shared.broker import Pipe
from towline.shared.jobs import JobName, QueueName, sync_call
from towline.shared.model import Health, Phase, ReleaseName
from towline.shared.queue import Outbox
from towline.shared.views import ReleaseView
from towline.shared.wanted import DONE_MS, Wanted
from towline.worker.outcome import place_of
from towline.worker.tools import Tools

WAITERS = "towline:waiters"
LOOK_SECONDS = 30.0  # how often the clock looks whether a dependant was forgotten
WAKES = 3  # how often it has one and the same wish tried again
CHAIN = 5  # releases that a reason to wait names, each waiting for the next
FAILED = frozenset({Phase.FAILED, Phase.ROLLING_BACK, Phase.ROLLED_BACK})

Depends = Mapping[str, Sequence[str]]  # release -> releases that it depends on


def in_order(
    tools: Tools,
    wishes: Sequence[Wanted],
    depends: Depends,
    removed: Collection[str],
    *,
    meanwhile: Collection[str] = (),
) -> list[Wanted]:
    """The wishes of one push, each with what it comes after. Costs nothing where no service depends on another.

    `meanwhile`: releases that count as changed though this push does not bring them.
    """
    if removed:
        depends = {**depends, **_depended(tools, removed)}
    if not depends:
        return list(wishes)
    names = [wish.release for wish in wishes]
    with tools.broker.guard():
        undone = {wish.release: wish.after for wish in tools.queue.wishes.undone(names)}
    under_way = tools.views.verifying().keys()
    return [
        wish.model_copy(
            update={
                "after": after_of(
                    wish.release,
                    depends,
                    changed=set(names) - set(removed) | set(under_way) | set(meanwhile),
                    removed=removed,
                    before=undone.get(wish.release, ()),
                )
            }
        )
        for wish in wishes
    ]


def after_of(
    release: str,
    depends: Depends,
    *,
    changed: Collection[str],
    removed: Collection[str],
    before: Sequence[str] = (),
) -> tuple[str, ...]:
    """What one release comes after. Pure.

    `changed`: releases that change in this push, or are not verified yet. `before`: what an older wish of it, which was
    never carried out, comes after: it holds what that one would have brought.
    """
    if release in removed:
        return tuple(sorted(other for other in removed if release in depends.get(other, ())))
    return tuple(one for one in depends.get(release, ()) if one in changed or one in before)


def _depended(tools: Tools, removed: Collection[str]) -> Depends:
    """What releases depended on that are gone from Git, as they were recorded."""
    found: dict[str, Sequence[str]] = {}
    for release in removed:
        name = ReleaseName.parse(release)
        view = tools.views.get(name)
        verification = view.status.get("verification") if view else None
        services = verification.get("dependsOn") if isinstance(verification, dict) else None
        if isinstance(services, list):
            found[release] = [f"{name.environment}/{service}" for service in services]
    return found


def remember(wishes: Iterable[Wanted], *, pipe: Pipe) -> None:
    """Write down who waits for whom; part of the transaction of the wishes."""
    for wish in wishes:
        for release in wish.after:
            pipe.sadd(_key(release), wish.release)
            pipe.pexpire(_key(release), DONE_MS)
        if wish.after:
            pipe.sadd(WAITERS, wish.release)


def _key(release: str) -> str:
    return f"towline:dependants:{release}"


def reason_to_wait(tools: Tools, wanted: Wanted, *, links: int = CHAIN) -> str:
    """What this release waits for, and that for in turn, `links` of them; for people; "" when it waits for nothing."""
    if not wanted.after:
        return ""
    with tools.broker.guard():
        outstanding = tools.queue.wishes.outstanding(wanted.after)
    for release in wanted.after:
        view = tools.views.get(ReleaseName.parse(release))
        if why := reason_of(wanted.release, release, view, is_outstanding=release in outstanding):
            return f"{why}{_in_turn(tools, release, links=links - 1) if release in outstanding else ''}"
    return ""


def _in_turn(tools: Tools, release: str, *, links: int) -> str:
    """What a release waits for itself, to be read after its name."""
    with tools.broker.guard():
        wishes = tools.queue.wishes.undone([release]) if links else []
    why = reason_to_wait(tools, wishes[0], links=links) if wishes else ""
    return f", which {why}" if why else ""


def reason_of(waiter: str, release: str, view: ReleaseView | None, *, is_outstanding: bool) -> str:
    """Why `waiter` waits for this release, "" when it does not. Pure; no view: it is gone, or is not deployed."""
    if is_outstanding:
        return f"waits for {release}"
    if view is None or _is_ready(view, waiter):
        return ""
    if view.status.get("phase") in FAILED:
        why = view.error or str(view.status.get("message") or "")
        return f"waits for {release}, which failed: {why}"
    return f"waits for {release}"


def _is_ready(view: ReleaseView, waiter: str) -> bool:
    """Whether it is healthy; where both go together, it need not wait for the one that waits for it."""
    status = view.status
    if status.get("pending"):
        return False
    if status.get("phase") == Phase.HEALTHY:
        return True
    verification = status.get("verification")
    group = verification.get("group") if isinstance(verification, dict) else None
    is_well = status.get("phase") == Phase.VERIFYING and status.get("health") == Health.HEALTHY
    return is_well and isinstance(group, list) and ReleaseName.parse(waiter).service in group


def show_waiting(tools: Tools, wanted: Wanted, reason: str) -> None:
    """Show beside the release, or in the place of one that is not there yet, what it waits for."""
    name = ReleaseName.parse(wanted.release)
    view = tools.views.get(name)
    if view is None:
        cluster, namespace = place_of(tools, wanted, name)
        view = ReleaseView(
            environment=name.environment,
            service=name.service,
            cluster=cluster,
            namespace=namespace,
            status={"repository": wanted.repository, "ref": wanted.ref},
            updated_at=0.0,
        )
    tools.views.put(view.model_copy(update={"error": reason, "updated_at": time.time()}))


def wake(tools: Tools, name: ReleaseName) -> None:
    """Something final is known of a release: have those that wait for it tried again."""
    with tools.broker.guard():
        known = sorted(raw.decode() for raw in tools.broker.redis.smembers(_key(str(name))))
        if not known:
            return
        wishes = tools.queue.wishes.undone(known)
        waiting = {wish.release for wish in wishes}
        if done := [release for release in known if release not in waiting]:
            tools.broker.redis.srem(_key(str(name)), *done)
    _try_again(tools, wishes)


def _try_again(tools: Tools, wishes: Sequence[Wanted]) -> None:
    if wishes:
        tools.queue.enqueue(
            [
                sync_call(one.release, revision=one.revision, trigger=one.trigger, queue=QueueName.SYNCS)
                for one in wishes
            ]
        )


@dataclass(slots=True)
class Waiters:
    """The clock's look at those who wait: one that need not wait any more, and has no job, was forgotten."""

    tools: Tools
    looked_at: float = 0.0
    woken: dict[str, tuple[int, int]] = field(default_factory=dict)  # release -> sequence, how often

    def turn(self, outbox: Outbox, now: float) -> None:
        """Look, when it is time."""
        if 0 <= now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        with self.tools.broker.guard():
            known = [raw.decode() for raw in self.tools.broker.redis.smembers(WAITERS)]
            wishes = self.tools.queue.wishes.undone(known) if known else []
            if done := set(known) - {wish.release for wish in wishes}:
                self.tools.broker.redis.srem(WAITERS, *done)
        busy = {
            str(one.arguments.get("release")) for one in outbox.parked.values() if one.job is JobName.SYNC
        }
        forgotten = [
            wish for wish in wishes if wish.release not in busy and not reason_to_wait(self.tools, wish)
        ]
        _try_again(self.tools, [wish for wish in forgotten if self._may_wake(wish)])

    def _may_wake(self, wish: Wanted) -> bool:
        """Whether it was not tried so often already that something else must be wrong with it."""
        sequence, times = self.woken.get(wish.release, (wish.sequence, 0))
        times = times if sequence == wish.sequence else 0
        self.woken[wish.release] = (wish.sequence, times + 1)
        return times < WAKES
