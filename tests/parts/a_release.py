"""A release to test the record with: its owner, claims and a full status."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from parts.cluster_client import config_map

from towline.shared.model import Health, Object, ObjectKey, Phase, ReleaseName, Result, Trigger
from towline.shared.objects import PART_OF, applyset_id
from towline.shared.records import Owner, Records
from towline.shared.release import (
    AppliedObject,
    HistoryEntry,
    Quarantine,
    Release,
    ReleaseStatus,
)

NAME = ReleaseName("staging", "orders")
REVISION = "a1b2c3d4e5" * 4
OLDER = "0123456789" * 4
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def plain_release(status: ReleaseStatus, *, name: str = "orders", namespace: str = "shop") -> Release:
    """A release as it would be read, for what is decided by its status alone."""
    return Release(
        name=name,
        namespace=namespace,
        uid="u",
        resource_version="1",
        generation=1,
        suspended=False,
        pinned="",
        status=status,
        annotations={},
        rest={},
    )


@pytest.fixture
def owner(namespace: str) -> Owner:
    """The release `staging/orders` of repository `shop`, in a namespace of the test's own."""
    return Owner(name=NAME, namespace=namespace, repository="shop")


def claim(
    records: Records,
    owner: Owner,
    release: Release | None = None,
    *,
    token: str = "token-1",
    kinds: tuple[str, ...] = ("ConfigMap",),
    namespaces: tuple[str, ...] = (),
) -> Release:
    """Claim the release, made when none is given."""
    return records.claim(owner, release, token=token, group_kinds=kinds, namespaces=namespaces)


def applied(namespace: str, *kinds: str) -> tuple[AppliedObject, ...]:
    """The record of an object of each of these kinds."""
    keys = [ObjectKey(group="", kind=kind, namespace=namespace, name="x") for kind in kinds]
    return tuple(AppliedObject.of(key, digest="d" * 64, owned="o" * 64) for key in keys)


def full_status(release: Release, records: Records) -> ReleaseStatus:
    """A status in which every field says something."""
    stored = records.store(release, REVISION, [config_map(release.namespace)])
    return ReleaseStatus(
        environment="staging",
        repository="shop",
        ref="refs/heads/main",
        revision=REVISION,
        stable_revision=OLDER,
        quarantined=Quarantine(revision=REVISION, inputs_digest="i" * 64, cause="crash loop", since=NOW),
        phase=Phase.HEALTHY,
        health=Health.HEALTHY,
        message="1 object is healthy",
        inputs_digest="i" * 64,
        stored=(stored,),
        objects=applied(release.namespace, "ConfigMap"),
        synced_at=NOW,
        history=(
            HistoryEntry(
                revision=REVISION,
                ref="refs/heads/main",
                author="Ada <ada@example.com>",
                subject="Add orders",
                trigger=Trigger.WEBHOOK,
                triggered_by="d-1",
                result=Result.SYNCED,
                cause="",
                started_at=NOW,
                stages={"apply": 0.012, "render": 1.0},
                created=1,
                changed=2,
                left=3,
                pruned=4,
                notes=("took over .spec.replicas from kubectl-scale",),
                logs=("a line",),
            ),
        ),
    )


def read(records: Records, owner: Owner) -> Release:
    """The release as it is now."""
    release = records.read(owner.name, owner.namespace)
    assert release is not None
    return release


def member(owner: Owner, name: str = "settings") -> Object:
    """A ConfigMap with the label of the release's ApplySet."""
    object = config_map(owner.namespace, name)
    object["metadata"]["labels"] = {PART_OF: applyset_id("orders", owner.namespace)}
    return object
