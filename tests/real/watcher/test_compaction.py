"""What happened while a watch was away, on a real etcd that has forgotten it: seen all the same.

An API server remembers what happened lately and answers a watch by that, so a compaction alone goes unnoticed. A version
of before it was started is too old for it; and a list goes on at etcd, where it meets the compaction itself.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from parts.api_proxy import ApiProxy
from parts.cluster_client import access
from parts.control_plane import ControlPlane
from parts.eventually import eventually
from parts.watched import Watched, settings

from towline.shared.cluster import Cluster
from towline.shared.errors import ClusterError
from towline.shared.jobs import QueueName
from towline.shared.model import Health, Phase
from towline.shared.watching import GONE, PAGE_SIZE, Selection
from towline.worker.informer import Failed, Inbox, Informer, Items, Listed, Message
from towline.worker.parallel import in_parallel


@pytest.mark.parametrize("is_restarted", [False, True], ids=["remembered", "forgotten"])
def test_what_happens_while_a_watcher_is_cut_off_is_seen_whether_the_server_remembers_it_or_not(
    watched: Watched, api_proxy: ApiProxy, control_plane: ControlPlane, is_restarted: bool
):
    watched.config = replace(watched.config, clusters={"test": access(api_proxy.kubeconfig)})
    orders = watched.apply(
        "orders", [settings(), settings("gone")], phase=Phase.HEALTHY, health=Health.HEALTHY
    )
    watcher = watched.start()
    eventually(lambda: watcher.is_watching and watcher.is_complete and len(watcher.scene.cache.members) == 2)
    lists = watched.requests["list"]

    api_proxy.hold_watches()
    if is_restarted:
        control_plane.restart_apiserver()
    control_plane.kubectl("-n", watched.namespace, "delete", "configmap", "gone")
    watched.apply("cart", [settings("cart")])
    control_plane.compact()
    is_forgotten = "too old resource version" in since(control_plane, orders.resource_version)
    api_proxy.is_holding_watches = False

    eventually(lambda: watched.jobs("heal_staging_orders", QueueName.URGENT), within=20)
    eventually(lambda: watched.asked("cart"), within=20)
    assert is_forgotten is is_restarted
    assert (watched.requests["list"] > lists) is is_restarted


def since(plane: ControlPlane, version: str) -> str:
    """What a watch of all ConfigMaps says that begins at this version."""
    query = f"watch=true&resourceVersion={version}&timeoutSeconds=1"
    return plane.kubectl("get", "--raw", f"/api/v1/configmaps?{query}")


def test_a_list_that_is_compacted_away_between_two_pages_begins_anew(
    cluster: Cluster, requests: Counter[str], namespace: str, control_plane: ControlPlane
):
    maps = [settings(f"map-{number:03}") for number in range(PAGE_SIZE + 1)]
    in_parallel(
        lambda one: cluster.apply({**one, "metadata": one["metadata"] | {"namespace": namespace}}), maps
    )
    before = requests["list"]
    inbox: Inbox = queue.Queue(1)  # held up with its first page in its hands
    selection = Selection(group="", kind="ConfigMap", namespace=namespace)
    informer = Informer(cluster, selection, inbox, listing=threading.Semaphore(1))
    informer.start()
    eventually(lambda: inbox.full() and requests["list"] == before + 1)

    control_plane.kubectl("-n", namespace, "delete", "configmap", "map-000")
    control_plane.restart_apiserver()
    control_plane.compact()
    found = until_listed(inbox)
    informer.stop()

    errors = [one.error for one in found if isinstance(one, Failed)]
    assert [one.code for one in errors if isinstance(one, ClusterError)] == [GONE]
    last = max(at for at, one in enumerate(found) if isinstance(one, Failed))
    names = [name_of(raw) for one in found[last:] if isinstance(one, Items) for raw in one.objects]
    assert sorted(names)[1:] == [
        f"map-{number:03}" for number in range(1, PAGE_SIZE + 1)
    ]  # and kube-root-ca.crt


def until_listed(inbox: Inbox) -> list[Message]:
    """Everything up to the end of a list."""
    found: list[Message] = []
    while not found or not isinstance(found[-1], Listed):
        found.append(inbox.get(timeout=20))
    return found


def name_of(raw: msgspec.Raw) -> str:
    return str(msgspec.json.decode(raw)["metadata"]["name"])
