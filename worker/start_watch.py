"""What the watchers consist of as programs, one a cluster, for `towline watcher` and for `towline up`.

Apart from worker/start.py, so that a process that only watches imports neither Git nor renderers: a third of its memory.
"""

from __future__ import annotations

import ctypes
import gc
import os
import secrets
import signal
import socket
import threading
from functools import partial

from towline.shared import logs
from towline.shared.broker import Broker
from towline.shared.cluster import Cluster, connect
from towline.shared.cluster_session import Observe
from towline.shared.config import Config, Environment
from towline.shared.installation import ensure_namespace
from towline.shared.metrics import Metrics
from towline.shared.queue import Queue
from towline.shared.secret_key import secret_key
from towline.shared.supervise import Program
from towline.shared.views import Views
from towline.shared.watchers import Watchers
from towline.worker.election import Election
from towline.worker.watch import Watcher, Watching, watch
from towline.worker.watches import Watches

CONNECTIONS_KEPT = 4
M_ARENA_MAX = -8  # mallopt(3)
ARENAS = 2


def watcher_programs(config: Config) -> list[Program]:
    """A watcher for each cluster that an environment is in."""
    every = (*config.environments.values(), *config.templates.values())
    names = sorted({environment.cluster for environment in every})
    return [Program(name=f"watcher-{name}", run=partial(_watch, config, name)) for name in names]


def preload_watcher() -> None:
    """Import before forking what connects to clusters, so that its memory is shared."""
    import kubernetes.client
    import kubernetes.config  # noqa: F401


def _watch(config: Config, name: str) -> int:
    logs.configure(config.secrets)
    _save_memory()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return watch(watcher_of(config, name), stopped.is_set)


def _save_memory() -> None:
    """glibc gives threads that allocate at once arenas of their own (8 a core), each of which keeps what it ever held."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, ARENAS)
    gc.freeze()  # what was imported stays, and need not be looked at


def watcher_of(config: Config, name: str, *, observe: Observe | None = None) -> Watcher:
    """The watcher of one cluster; requests are counted in metrics unless `observe` is told of them."""
    broker = Broker(config.redis_url(), patient=False)  # it has a cluster to keep up with meanwhile
    metrics = Metrics(broker)
    cluster = connect(
        config.clusters[name], parallel=CONNECTIONS_KEPT, observe=observe or metrics.observe_request
    )
    watching = Watching(
        config=config,
        name=name,
        cluster=cluster,
        queue=Queue(broker, secret_key(config)),
        views=Views(broker),
        watchers=Watchers(broker),
        metrics=metrics,
        me=f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{secrets.token_hex(3)}",
    )
    return Watcher(
        watching=watching,
        election=_election(cluster, lease_environment(config, name), watching.me),
        watches=Watches(cluster),
    )


def lease_environment(config: Config, cluster: str) -> Environment | None:
    """The environment in whose namespace the watchers of a cluster elect one: the first by name that is no template."""
    found = [one for one in config.environments.values() if one.cluster == cluster]
    return min(found, key=lambda one: one.name, default=None)


def _election(cluster: Cluster, environment: Environment | None, me: str) -> Election:
    if environment is None:
        return Election(cluster, "default", me=me)
    place = environment

    def prepare() -> None:
        if place.create_namespace:
            ensure_namespace(cluster, place.namespace, environment=place.name)

    return Election(cluster, place.namespace, me=me, prepare=prepare)
