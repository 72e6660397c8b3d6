"""The thread that plays the cluster's controllers and its kubelet, on the objects of demo/store.py.

In: what happens to the objects. Out: what demo/workloads.py and demo/kubelet.py decide to write. State: none but the
kubelet's; each turn looks at everything anew, so a write that comes too late or is refused is made good by the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from towline.demo.kinds import BUILT_IN
from towline.demo.kubelet import Kubelet
from towline.demo.request import Object, Refusal, Target, Writer
from towline.demo.store import Store
from towline.demo.workloads import deployment, job, replica_set, stateful_set
from towline.demo.writes import Children, Create, Delete, Patch, Report, Write, by_controller

TURN_SECONDS = 0.02  # between two turns, so that a busy cluster leaves time for its clients
STEP_SECONDS = 0.05  # until the kubelet is asked again while a pod is on its way
IDLE_SECONDS = 5.0

KINDS = {(kind.api_version, kind.kind): kind for kind in BUILT_IN}
CONTROLLERS: dict[str, Callable[[Object, Children], Iterator[Write]]] = {
    "Deployment": deployment,
    "ReplicaSet": replica_set,
    "StatefulSet": stateful_set,
    "Job": job,
}
CONTROLLER = Writer(manager="kube-controller-manager", operation="Update")
KUBELET = Writer(manager="kubelet", operation="Update")


class Controllers:
    """They end when the store's changes end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kubelet = Kubelet()
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def _run(self) -> None:
        changes, version = self._store.changes, 0
        while not changes.has_ended:
            seconds = STEP_SECONDS if self._kubelet.is_busy else IDLE_SECONDS
            version = changes.wait(version, seconds)
            self._turn()
            time.sleep(TURN_SECONDS)

    def _turn(self) -> None:
        objects = self._store.all()
        children = by_controller(objects)
        for object in objects:
            if controller := CONTROLLERS.get(object["kind"]):
                for write in controller(object, children):
                    self._carry_out(write, CONTROLLER)
        pods = [one for one in objects if one["kind"] == "Pod"]
        for write in self._kubelet.turn(pods, at=time.monotonic()):
            self._carry_out(write, KUBELET)

    def _carry_out(self, write: Write, writer: Writer) -> None:
        """Refused is what came too late: the object, or its namespace, is gone."""
        with suppress(Refusal):
            match write:
                case Create(object):
                    self._store.create(_target(object), object, writer)
                case Patch(object, patch):
                    self._store.update(_target(object), dict(patch), writer, whole=False)
                case Report(object, status):
                    self._store.update(_target(object, "status"), {"status": status}, writer, whole=True)
                case Delete(object):
                    self._store.delete(_target(object), {})


def _target(object: Object, subresource: str = "") -> Target:
    metadata = object["metadata"]
    return Target(
        kind=KINDS[object["apiVersion"], object["kind"]],
        namespace=metadata["namespace"],
        name=metadata["name"],
        subresource=subresource,
    )
