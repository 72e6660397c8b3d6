"""Hooks, waves, dependants and a group in one push, through real processes: nobody but Towline moves anything on."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from parts.eventually import eventually
from parts.manifests import annotated, config_map, deployment, in_wave, several
from parts.towline import Towline

from towline.shared.model import HookState, Moment, Phase
from towline.shared.release import ReleaseStatus

TEAM = """
services:
  orders: {path: services/orders, depends_on: [payments]}
  payments: {path: services/payments}
groups: {checkout: [orders, payments]}
"""
WITHIN_SECONDS = 15  # some 5 s: a step each for three hooks and waves, seen by the watcher


def job(name: str, when: str, *, image: str = "example.com/job:1") -> str:
    pod = {"restartPolicy": "Never", "containers": [{"name": "app", "image": image}]}
    object = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return annotated(yaml.safe_dump({**object, "spec": {"template": {"spec": pod}}}), hook=when)


def files(version: int) -> dict[str, str]:
    payments = several(
        job("migrate", "pre-sync"),
        in_wave(0, deployment("ledger", image=f"example.com/app:{version}", replicas=1)),
        in_wave(1, deployment("payments", image=f"example.com/app:{version}", replicas=1)),
        job("smoke", "post-sync"),
    )
    orders = several(config_map("orders", version=str(version)), deployment("orders", replicas=1))
    return {
        ".towline.yaml": TEAM,
        "services/payments/app.yaml": payments,
        "services/orders/app.yaml": orders,
    }


def statuses(towline: Towline) -> Iterator[ReleaseStatus]:
    for service in ("payments", "orders"):
        release = towline.release(service)
        assert release is not None
        yield release.status


def bring(towline: Towline, version: int) -> None:
    """Push a version, and wait until both services are stable at it."""
    revision = towline.origin.commit(files(version))
    towline.webhook(revision)

    def are_stable() -> bool:
        found = list(statuses(towline))
        assert {one.stable_revision for one in found} == {revision}, [one.message for one in found]
        return all(one.phase is Phase.HEALTHY and not one.pending for one in found)

    eventually(are_stable, within=WITHIN_SECONDS)


def test_a_push_is_brought_in_its_order_by_the_watcher_and_the_workers(towline: Towline) -> None:
    towline.start("up")

    bring(towline, 1)
    bring(towline, 2)

    payments, orders = statuses(towline)
    assert [(one.moment, one.state) for one in payments.hooks] == [
        (Moment.PRE_SYNC, HookState.SUCCEEDED),
        (Moment.POST_SYNC, HookState.SUCCEEDED),
    ]
    assert [len(one.history) for one in (payments, orders)] == [2, 2]
    first, then = payments.history[0].started_at, orders.history[0].started_at
    assert first is not None and then is not None and first < then
