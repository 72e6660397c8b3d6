"""A release in the tests' cluster, applied without a record and judged as the conclude job judges it.

def test_something(judge):
    judge.apply(workload(judge.namespace, "cart", fails=Fails.IMAGE))
    assert judge.fault().reason == "ImagePullBackOff"
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from parts.a_release import plain_release
from parts.eventually import eventually
from parts.service import environment_of

from towline.shared.cluster import Cluster
from towline.shared.model import Health, Object, Phase, Result
from towline.shared.objects import key_of
from towline.shared.pod_limits import USUAL, PodLimits
from towline.shared.release import AppliedObject, HistoryEntry, Release, ReleaseStatus
from towline.worker.health.fault import Fault
from towline.worker.health.release import ReleaseVerdict
from towline.worker.target import Target, target_of
from towline.worker.verify import verdict_of

REVISION = "a" * 40


def release_of(namespace: str, *objects: Object, now: datetime) -> Release:
    """A release of these objects, whose sync begins now."""
    status = ReleaseStatus(
        revision=REVISION,
        phase=Phase.VERIFYING,
        objects=tuple(AppliedObject.of(key_of(one), digest="d", owned="o") for one in objects),
        synced_at=now,
        history=(HistoryEntry(revision=REVISION, result=Result.SYNCED, started_at=now),),
    )
    return plain_release(status, name="cart", namespace=namespace)


@dataclass(slots=True)
class Judge:
    """Applies objects as a release, and judges it."""

    cluster: Cluster
    namespace: str
    release: Release

    def apply(self, *objects: Object) -> None:
        """Bring the release to these objects."""
        self.release = release_of(self.namespace, *objects, now=self.cluster.now())
        for one in objects:
            self.cluster.apply(one)

    def target(self, limits: PodLimits = USUAL) -> Target:
        """Where it is."""
        return target_of(self.cluster, environment_of(self.namespace, pod_limits=limits), "cart")

    def verdict(self, limits: PodLimits = USUAL) -> ReleaseVerdict:
        """Its verdict now."""
        return verdict_of(self.target(limits), self.release, now=self.cluster.now())

    def failed(self, limits: PodLimits = USUAL) -> ReleaseVerdict:
        """The verdict when its pods tell a fault."""
        found = eventually(
            lambda: one if (one := self.verdict(limits)).fault else None, within=10, explain=self.verdict
        )
        assert found is not None
        return found

    def fault(self, limits: PodLimits = USUAL) -> Fault:
        """The fault that its pods tell."""
        fault = self.failed(limits).fault
        assert fault is not None
        return fault

    def health(self, limits: PodLimits = USUAL) -> Health:
        """What it is when it does not progress any more."""
        found = eventually(
            lambda: one if (one := self.verdict(limits).health) is not Health.PROGRESSING else None,
            within=10,
            explain=self.verdict,
        )
        assert found is not None
        return found

    def pods(self) -> list[Object]:
        """The pods of the namespace."""
        return self.cluster.list(self.cluster.resource("v1", "Pod"), self.namespace)

    def tell(self, pod: str, *, reason: str, message: str, count: int = 1) -> None:
        """An Event about a pod, as its kubelet or an autoscaler writes it."""
        live = self.cluster.get(self.cluster.resource("v1", "Pod"), pod, self.namespace)
        assert live is not None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"kind": "Pod", "namespace": self.namespace, "name": pod, "uid": live["metadata"]["uid"]}
        self.cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{pod}.{reason.lower()}", "namespace": self.namespace},
                "involvedObject": about,
                "type": "Warning",
                "reason": reason,
                "message": message,
                "count": count,
                "firstTimestamp": now,
                "lastTimestamp": now,
            }
        )


@pytest.fixture
def judge(cluster: Cluster, namespace: str) -> Judge:
    """A release of nothing yet, in a namespace of its own."""
    return Judge(cluster=cluster, namespace=namespace, release=release_of(namespace, now=cluster.now()))
