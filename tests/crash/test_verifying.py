"""What happens to the cluster while releases wait to become healthy: each is concluded rightly all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml
from parts.api_proxy import ApiProxy
from parts.breaking import breaking, numbers_of, whole
from parts.control_plane import ControlPlane, delete_namespace
from parts.eventually import eventually
from parts.failing import FAILS, Fails
from parts.manifests import config_map, deployment
from parts.towline import Towline

from towline.shared.jobs import conclude_call
from towline.shared.model import Phase
from towline.shared.queue import OUTBOX

CROWD = [f"s{number:02}" for number in range(50)]
ROOM = "tests.towline.dev/later"
SOON_SECONDS = 20
AGAIN_SECONDS = 45  # what waited for the namespace is tried again with growing pauses
CROWD_SECONDS = 90
PATIENT = "services: {cart: {path: services/cart, timeout: 10m}}"
HOLD = "tests.towline.dev/hold"
LET_GO = '[{"op": "remove", "path": "/metadata/finalizers"}]'


def waiting(name: str, *, fails: Fails | None = None) -> str:
    """A service whose pod waits for a node with the label, and then runs or fails."""
    workload = yaml.safe_load(deployment(name, replicas=1))
    workload["spec"]["progressDeadlineSeconds"] = 600
    template = workload["spec"]["template"]
    template["spec"]["nodeSelector"] = {ROOM: "yes"}
    template["metadata"]["annotations"] = {FAILS: fails.value} if fails else {}
    return yaml.safe_dump(workload)


def held(name: str) -> str:
    """A ConfigMap that stays until somebody takes its finalizer away, and its namespace with it."""
    object = yaml.safe_load(config_map(name))
    object["metadata"]["finalizers"] = [HOLD]
    return yaml.safe_dump(object)


@pytest.fixture
def room(control_plane: ControlPlane) -> Iterator[None]:
    """Nodes have the label only from when a test gives it to them."""
    yield
    control_plane.kubectl("label", "node", "--all", f"{ROOM}-")


def phases(towline: Towline, revision: str) -> dict[str, list[str]]:
    """The services by their phases, with those that are not at this revision apart."""
    environment = towline.config.environment("staging")
    found: dict[str, list[str]] = {}
    for release in towline.tools.records(environment).list(environment.namespace):
        at = "" if release.status.revision == revision else " elsewhere"
        found.setdefault(f"{release.status.phase}{at}", []).append(release.name)
    return {phase: sorted(names) for phase, names in found.items()}


def api_server_restarted(towline: Towline, control_plane: ControlPlane) -> None:
    control_plane.restart_apiserver()


def redis_wiped(towline: Towline, control_plane: ControlPlane) -> None:
    towline.tools.broker.redis.flushdb()


@pytest.mark.parametrize(
    "towline", [{"environment": {"verify": {"unschedulable": "10m"}}}], indirect=True, ids=[""]
)
@pytest.mark.parametrize("happens", [api_server_restarted, redis_wiped])
def test_of_50_releases_that_verify_each_is_concluded_rightly_whatever_happens(
    towline: Towline,
    control_plane: ControlPlane,
    room: None,
    happens: Callable[[Towline, ControlPlane], None],
):
    towline.start("up")
    bad, well = CROWD[:10], CROWD[10:]
    first = towline.origin.commit({path(name): config_map(name) for name in bad})
    towline.deliver(first)
    eventually(lambda: phases(towline, first) == {Phase.HEALTHY: bad}, within=SOON_SECONDS)
    second = towline.origin.commit(
        {path(name): waiting(name, fails=Fails.IMAGE if name in bad else None) for name in CROWD}
    )
    towline.deliver(second)
    eventually(lambda: phases(towline, second) == {Phase.VERIFYING: CROWD}, within=CROWD_SECONDS)

    happens(towline, control_plane)
    assert phases(towline, second) == {Phase.VERIFYING: CROWD}
    control_plane.kubectl("label", "node", "--all", f"{ROOM}=yes")

    ends = {Phase.HEALTHY: well, f"{Phase.ROLLED_BACK} elsewhere": bad}
    eventually(
        lambda: phases(towline, second) == ends,
        within=CROWD_SECONDS,
        explain=lambda: phases(towline, second),
    )
    assert phases(towline, first)[Phase.ROLLED_BACK] == bad
    redis = towline.tools.broker.redis
    eventually(lambda: redis.hlen(OUTBOX) == 0, within=SOON_SECONDS)


def test_a_namespace_is_deleted_while_its_release_verifies_and_the_next_push_installs_it_anew(
    towline: Towline, control_plane: ControlPlane
):
    up = towline.start("up")
    workers = towline.workers()
    namespace = towline.config.environment("staging").namespace
    first = push(towline, waiting("cart"))
    eventually(lambda: phases(towline, first) == {Phase.VERIFYING: ["cart"]}, within=SOON_SECONDS)
    control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=held("held"))

    delete_namespace(control_plane, namespace)
    eventually(lambda: towline.release("cart") is None, within=SOON_SECONDS)
    second = push(towline, breaking("cart", 2))
    refusal = f"namespace {namespace} is being deleted"
    eventually(lambda: refusal in up.log.read_text(), within=SOON_SECONDS, explain=up.last_lines)
    assert towline.workers() == workers

    control_plane.kubectl("-n", namespace, "patch", "configmap", "held", "--type=json", "-p", LET_GO)
    eventually(lambda: phases(towline, second) == {Phase.HEALTHY: ["cart"]}, within=AGAIN_SECONDS)
    third = push(towline, breaking("cart", 3))
    eventually(lambda: phases(towline, third) == {Phase.HEALTHY: ["cart"]}, within=AGAIN_SECONDS)
    assert numbers_of(towline, "cart") == whole(3)
    assert "job.failed" not in up.log.read_text()


def test_a_release_is_failed_as_late_only_when_the_clock_of_its_cluster_says_so_too(
    install: Callable[..., Towline], api_proxy: ApiProxy
):
    api_proxy.seconds_behind = 3600
    towline = install(kubeconfig=api_proxy.kubeconfig, environment={"verify": {"unschedulable": "30m"}})
    towline.start("up")
    revision = towline.origin.commit({path("cart"): waiting("cart"), ".towline.yaml": PATIENT})
    towline.deliver(revision)
    eventually(lambda: phases(towline, revision) == {Phase.VERIFYING: ["cart"]}, within=SOON_SECONDS)
    judge(towline, revision)
    assert phases(towline, revision) == {Phase.VERIFYING: ["cart"]}

    api_proxy.seconds_behind = 0
    judge(towline, revision)
    assert phases(towline, revision) == {Phase.FAILED: ["cart"]}


def judge(towline: Towline, revision: str) -> None:
    """Have a worker judge `cart`, and wait until no job is left."""
    redis = towline.tools.broker.redis
    towline.tools.queue.enqueue([conclude_call("staging/cart", revision=revision)])
    eventually(lambda: redis.hlen(OUTBOX) == 0, within=SOON_SECONDS)


def push(towline: Towline, text: str) -> str:
    """Commit and deliver this as the service `cart`."""
    revision = towline.origin.commit({path("cart"): text})
    towline.deliver(revision)
    return revision


def path(name: str) -> str:
    """Where the service is."""
    return f"services/{name}/app.yaml"
