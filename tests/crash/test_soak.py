"""A week in minutes: 50 services, a push each second, one in twenty broken, and a fault every few seconds.

`make soak` runs it for 10 minutes; SECONDS and SEED choose another length and seed.
"""

import os
import random
import statistics

import pytest
from parts.eventually import eventually
from parts.redis import RedisServer
from parts.soak import World

from towline.shared.ledger import Verdict
from towline.shared.queue import DUE, OUTBOX, WORDS

SECONDS = float(os.environ.get("SECONDS", "15"))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10_000))
SETTLE_SECONDS = 90.0
LONG_SECONDS = 300.0  # from here on the slope of memory is looked at, too
CALM_SECONDS = 240.0  # for it: a process that a fault takes away would take a leak with it
SLOPE_MIB_PER_MINUTE = 1.0
KINDS = {"Deployment": "apps/v1", "ConfigMap": "v1"}


@pytest.fixture
def redis_alone(tmp_path):
    """A Redis for this test alone, since it is wiped and restarted."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.resume()
    server.stop()


@pytest.fixture
def world(install, redis_alone, api_proxy, git_server, namespace_name, control_plane):
    towline = install(
        redis_url=redis_alone.url(),
        kubeconfig=api_proxy.kubeconfig,
        namespaces={"staging": namespace_name, "fresh": f"{namespace_name[:50]}-fresh"},
        repository={"branches": {"main": "staging", "fresh": "fresh"}},
        sync={"clock_interval": "10s"},
    )
    towline.start("up")
    world = World(towline, redis_alone, git_server, api_proxy, seed=SEED)
    yield world
    world.close()
    control_plane.apiserver.resume()


def objects(towline, environment):
    """Everything that the repository puts there, without what the API server adds."""
    place = towline.tools.config.environment(environment)
    cluster = towline.tools.cluster(place)
    found = {}
    for kind, api_version in KINDS.items():
        for one in cluster.list(cluster.resource(api_version, kind), place.namespace):
            name = one["metadata"]["name"]
            if name != "kube-root-ca.crt":
                found[kind, name] = one.get("data") or one.get("spec")
    return found


def waiting(towline):
    """What is not done yet, by where it waits."""
    redis = towline.tools.broker.redis
    where = {
        "outbox": redis.hkeys(OUTBOX),
        "due": redis.zrange(DUE, 0, -1),
        "words": redis.smembers(WORDS),
        "leases": list(redis.scan_iter("towline:lease:*")),
        "queues": [key for key in redis.scan_iter("rq:queue:*") if redis.llen(key)],
        "syncing": [str(view.name) for view in towline.tools.views.list() if view.syncing],
    }
    return {name: found for name, found in where.items() if found}


def undecided(towline):
    return [one.id for one in towline.tools.ledger.recent(10_000) if one.verdict is Verdict.ACCEPTED]


def slope(points):
    """MiB a minute, by the line that fits best; the first half is warming up."""
    late = points[len(points) // 2 :]
    return statistics.linear_regression(*zip(*late, strict=True)).slope * 60


@pytest.mark.timeout(SECONDS + CALM_SECONDS + 3 * SETTLE_SECONDS)
def test_after_everything_that_can_fail_has_failed_the_cluster_is_as_if_installed_anew(world):
    towline = world.towline
    print(f"\nsoak: SEED={SEED} SECONDS={SECONDS:g}")
    towline.eventually_at(f"s{49}", world.install(), within=60)

    world.live_through(SECONDS)
    revision = world.heal()

    def explain():
        return "\n".join([f"SEED={SEED}", *world.diary[-60:], str(waiting(towline)), str(world.answers)])

    eventually(lambda: not waiting(towline), within=SETTLE_SECONDS, every=0.5, explain=explain)
    towline.origin.force(revision, branch="fresh")
    world.deliver(revision, branch="fresh")
    eventually(
        lambda: objects(towline, "fresh") and objects(towline, "staging") == objects(towline, "fresh"),
        within=SETTLE_SECONDS,
        every=0.5,
        explain=lambda: f"{explain()}\n{difference(objects(towline, 'staging'), objects(towline, 'fresh'))}",
    )
    eventually(lambda: not waiting(towline), within=SETTLE_SECONDS, every=0.5, explain=explain)
    assert undecided(towline) == [], explain()
    print(f"soak: {world.number} pushes answered {dict(world.answers)}")
    if SECONDS >= LONG_SECONDS:
        world.live_through(CALM_SECONDS, is_calm=True)
        grows = slope(world.memory)
        print(f"soak: memory {world.memory[-1][1]:.0f} MiB, {grows:+.2f} MiB a minute")
        assert grows < SLOPE_MIB_PER_MINUTE


def difference(one, other):
    """The keys at which two mappings differ."""
    return {
        key: (one.get(key), other.get(key))
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key)
    }
