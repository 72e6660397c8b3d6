"""Commits that are bad in more ways than one, and releases that somebody takes away meanwhile: one installation for all.

Each scenario has a branch and a service of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
import yaml
from parts.breaking import breaking, numbers_of, whole
from parts.control_plane import ControlPlane
from parts.eventually import eventually
from parts.failing import Fails
from parts.manifests import nowhere, several
from parts.towline import Towline

from towline.shared.faults import Action, Point
from towline.shared.jobs import conclude_call
from towline.shared.ledger import Delivery, Verdict
from towline.shared.model import Phase, Result
from towline.shared.queue import OUTBOX
from towline.shared.release import Release
from towline.worker.clock import LOOKED

SOON_SECONDS = 20
AGAIN_SECONDS = 45  # where a worker was killed or waited for
LABEL = "tests.towline.dev/room"


class Service:
    """A service on a branch of its own."""

    def __init__(self, towline: Towline, name: str) -> None:
        self.towline, self.name = towline, name
        self.path = f"services/{name}/app.yaml"

    def push(self, text: str, **files: str) -> str:
        """Commit and deliver; `files` by their names with `_` for `.`, beside the service's own."""
        more = {name.replace("_", "."): content for name, content in files.items()}
        revision = self.towline.origin.commit({self.path: text, **more}, branch=self.name)
        self.towline.deliver(revision, branch=self.name)
        return revision

    def good(self, number: int) -> str:
        """Push a revision that becomes healthy, and wait for it."""
        revision = self.push(breaking(self.name, number))
        self.comes_to(Phase.HEALTHY, revision)
        return revision

    def bad(self, number: int) -> str:
        """Push one whose image is not there."""
        return self.push(breaking(self.name, number, fails=Fails.IMAGE))

    @property
    def release(self) -> Release:
        """As it is now."""
        found = self.towline.release(self.name)
        assert found is not None, f"there is no release {self.name}"
        return found

    def comes_to(self, phase: Phase, revision: str, *, within: float = SOON_SECONDS) -> Release:
        """Wait until it is in this phase, at this revision, with nothing half-done."""

        def is_there() -> bool:
            now = self.release
            return (now.status.phase, now.status.revision, now.is_unfinished) == (phase, revision, False)

        eventually(is_there, within=within, explain=lambda: self.release)
        return self.release

    @property
    def live(self) -> dict[str, object]:
        """What is live of it."""
        return numbers_of(self.towline, self.name)


@pytest.fixture
def service(shared_towline: Towline, request: pytest.FixtureRequest) -> Service:
    """One that is stable at its first revision, named after the test."""
    return Service(
        shared_towline, request.node.originalname.removeprefix("test_")[:40].strip("_").replace("_", "-")
    )


@pytest.fixture
def stable(service: Service) -> str:
    """Its stable revision."""
    return service.good(1)


def test_two_bad_commits_in_a_row_each_lead_back_to_the_stable_one(service: Service, stable: str):
    first = service.bad(2)
    after_first = service.comes_to(Phase.ROLLED_BACK, stable)
    second = service.bad(3)
    eventually(lambda: service.release.status.history[0].revision == second, within=SOON_SECONDS)
    after_second = service.comes_to(Phase.ROLLED_BACK, stable)

    quarantined = [one.status.quarantined for one in (after_first, after_second)]
    assert [one and one.revision for one in quarantined] == [first, second]
    assert service.live == whole(1)
    fixed = service.good(4)
    assert (service.release.status.stable_revision, service.release.status.quarantined) == (fixed, None)
    assert service.live == whole(4)


@pytest.fixture
def rolling_back(service: Service, stable: str) -> Iterator[int]:
    """The worker that is about to roll back, stopped; it goes on when the test has sent SIGCONT, at the latest."""
    towline = service.towline
    towline.arm("load.begin", Action.STOP)
    service.bad(2)
    (stopped,) = eventually(towline.stopped, within=SOON_SECONDS)
    yield stopped
    with suppress(ProcessLookupError):  # the test has killed it
        go_on(stopped)


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def test_a_fix_that_comes_while_the_rollback_runs_is_live_at_the_end(service: Service, rolling_back: int):
    fixed = service.push(breaking(service.name, 3))
    wishes = service.towline.tools.queue.wishes
    eventually(lambda: wishes.newest(f"staging/{service.name}").revision == fixed, within=SOON_SECONDS)

    go_on(rolling_back)

    status = service.comes_to(Phase.HEALTHY, fixed).status
    assert (status.stable_revision, status.quarantined) == (fixed, None)
    assert status.history[1].result is Result.ROLLED_BACK
    assert service.live == whole(3)


def test_a_bad_commit_that_also_breaks_the_teams_file_changes_nothing_until_it_is_mended(
    service: Service, stable: str
):
    towline = service.towline
    text = breaking(service.name, 2, fails=Fails.IMAGE)
    broken = towline.origin.commit({service.path: text, ".towline.yaml": "services: ["}, branch=service.name)
    delivery = towline.deliver(broken, branch=service.name)

    refused = eventually(lambda: ended(towline, delivery), within=SOON_SECONDS)
    assert refused.verdict is Verdict.FAILED
    assert ".towline.yaml" in str(refused)
    assert (service.release.status.phase, service.live) == (Phase.HEALTHY, whole(1))

    mended = towline.origin.commit({".towline.yaml": "{}"}, branch=service.name)
    towline.deliver(mended, branch=service.name)
    eventually(lambda: service.release.status.history[0].revision == mended, within=SOON_SECONDS)
    assert service.comes_to(Phase.ROLLED_BACK, stable).status.quarantined.revision == mended
    assert service.live == whole(1)


def ended(towline: Towline, delivery: str) -> Delivery | None:
    """The delivery, once its fate is decided."""
    found = next(one for one in towline.tools.ledger.recent(50) if one.id == delivery)
    return found if found.verdict is not Verdict.ACCEPTED else None


def definition(group: str, *columns: str) -> str:
    """A CustomResourceDefinition."""
    shown = [{"name": name, "type": "string", "jsonPath": ".metadata.name"} for name in columns]
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
        "additionalPrinterColumns": shown,
    }
    names = {"plural": "carts", "singular": "cart", "kind": "Cart"}
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    return yaml.safe_dump(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"carts.{group}"},
            "spec": spec,
        }
    )


def test_a_bad_commit_that_changes_a_crd_leaves_that_alone_and_the_rest_goes_back(
    service: Service, control_plane: ControlPlane
):
    group = f"{service.towline.config.environment('staging').namespace}.example.com"
    first = service.push(several(breaking(service.name, 1), definition(group, "Old")))
    service.comes_to(Phase.HEALTHY, first)

    broken = breaking(service.name, 2, fails=Fails.IMAGE)
    service.push(several(broken, definition(group, "Old", "New")))

    eventually(lambda: service.release.status.quarantined, within=SOON_SECONDS)
    status = service.comes_to(Phase.ROLLED_BACK, first).status
    found = service.towline.live("CustomResourceDefinition", f"carts.{group}", "apiextensions.k8s.io/v1")
    control_plane.kubectl("delete", "crd", f"carts.{group}")
    assert "partly" in status.message
    assert "CustomResourceDefinition" in status.message
    columns = found["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [one["name"] for one in columns] == ["Old", "New"]
    assert service.live == whole(1)


@pytest.fixture
def room(control_plane: ControlPlane) -> Iterator[str]:
    """A label of a node that can be taken from it."""
    control_plane.kubectl("label", "node", "node-a", f"{LABEL}=yes", "--overwrite")
    yield LABEL
    control_plane.kubectl("label", "node", "node-a", f"{LABEL}-")


def test_a_rollback_that_fails_too_is_said_with_both_causes_and_not_tried_again(
    service: Service, room: str, control_plane: ControlPlane
):
    picky = yaml.safe_load(
        breaking(service.name, 1, strategy={"type": "Recreate"}, progressDeadlineSeconds=1).partition(
            "---\n"
        )[0]
    )
    picky["spec"]["template"]["spec"]["nodeSelector"] = {room: "yes"}
    stable = service.push(yaml.safe_dump(picky))
    service.comes_to(Phase.HEALTHY, stable)
    control_plane.kubectl("label", "node", "node-a", f"{room}-")

    picky["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/app:2"
    bad = service.push(yaml.safe_dump(picky))
    eventually(lambda: service.release.status.quarantined, within=SOON_SECONDS)

    release = service.comes_to(Phase.FAILED, stable)
    assert "failed as well" in release.status.message
    assert f"{bad[:10]} had failed" in release.status.message
    judged_again(service)
    assert service.release.resource_version == release.resource_version
    assert service.towline.live("Deployment", service.name, "apps/v1")["metadata"]["generation"] == 3


def judged_again(service: Service) -> None:
    """Have everything that could start a release again look at it: a delivery, the clock, a judgement."""
    towline = service.towline
    towline.deliver(towline.origin.tip(service.name) or "", branch=service.name)
    towline.tools.queue.enqueue([conclude_call(f"staging/{service.name}", revision="")])
    redis = towline.tools.broker.redis
    redis.hdel(LOOKED, "shop")
    eventually(lambda: redis.hexists(LOOKED, "shop") and redis.hlen(OUTBOX) == 0, within=SOON_SECONDS)


def forget(service: Service, control_plane: ControlPlane) -> None:
    """`kubectl delete rel`."""
    namespace = service.towline.config.environment("staging").namespace
    control_plane.kubectl("-n", namespace, "delete", "releases.towline.dev", service.name)


def test_a_release_deleted_while_it_is_synced_is_installed_anew(
    service: Service, stable: str, control_plane: ControlPlane
):
    towline = service.towline
    towline.arm(Point.OBJECT_SENT, Action.STOP)
    second = service.push(breaking(service.name, 2))
    (stopped,) = eventually(towline.stopped, within=SOON_SECONDS)

    forget(service, control_plane)
    go_on(stopped)

    status = service.comes_to(Phase.HEALTHY, second, within=AGAIN_SECONDS).status
    assert service.live["Deployment"] == 2
    third = service.good(3)
    assert service.live["only"] == [3]
    assert (status.stable_revision, service.release.status.stable_revision) == (second, third)


def test_a_release_deleted_while_it_is_verified_leaves_its_objects_and_the_next_push_takes_them(
    service: Service, stable: str, control_plane: ControlPlane
):
    deployment, *rest = breaking(service.name, 2).split("---\n")
    slow = yaml.safe_load(nowhere(deployment))
    slow["spec"]["progressDeadlineSeconds"] = 60
    second = service.push(several(yaml.safe_dump(slow), *rest))
    service.comes_to(Phase.VERIFYING, second)

    forget(service, control_plane)
    judged_again(service)

    assert service.live == whole(2)
    service.good(3)
    assert service.live["Deployment"] == 3
    assert 3 in service.live["only"]


def test_a_release_deleted_while_it_is_rolled_back_leaves_its_objects_and_the_next_push_takes_them(
    service: Service, rolling_back: int, control_plane: ControlPlane
):
    forget(service, control_plane)
    go_on(rolling_back)
    redis = service.towline.tools.broker.redis
    eventually(lambda: redis.hlen(OUTBOX) == 0, within=SOON_SECONDS)

    assert service.towline.release(service.name) is None
    assert service.live == whole(2)
    service.good(3)
    assert service.live["Deployment"] == 3


def test_after_a_rollback_nothing_is_applied_again_whoever_asks_and_whatever_is_lost(
    service: Service, stable: str
):
    towline = service.towline
    bad = service.bad(2)
    eventually(lambda: service.release.status.quarantined, within=SOON_SECONDS)
    before = service.comes_to(Phase.ROLLED_BACK, stable)
    versions = versions_of(service)

    towline.deliver(bad, branch=service.name)
    towline.deliver(stable, branch=service.name)
    judged_again(service)
    assert versions_of(service) == versions

    towline.end("up")
    towline.tools.broker.redis.flushdb()
    towline.start("up")
    ref = f"refs/heads/{service.name}"
    eventually(lambda: towline.tools.views.handled("shop", ref), within=AGAIN_SECONDS)
    judged_again(service)

    assert versions_of(service) == versions
    assert service.release.status == before.status


def versions_of(service: Service) -> tuple[str, ...]:
    """What would be another, had anything been written."""
    found = service.towline.live("ConfigMap", service.name)
    assert found is not None
    deployment = service.towline.live("Deployment", service.name, "apps/v1")
    assert deployment is not None
    return (
        service.release.resource_version,
        str(found["metadata"]["resourceVersion"]),
        str(deployment["metadata"]["generation"]),
    )


def test_a_rollback_that_is_cut_off_just_as_redis_is_wiped_is_finished_all_the_same(
    service: Service, rolling_back: int, stable: str
):
    towline = service.towline
    towline.arm("apply.end")  # the stable objects are back, and neither pruned nor recorded

    go_on(rolling_back)
    eventually(lambda: towline.is_met("apply.end"), within=SOON_SECONDS)
    towline.tools.broker.redis.flushdb()

    service.comes_to(Phase.ROLLED_BACK, stable, within=AGAIN_SECONDS)
    assert service.live == whole(1)
