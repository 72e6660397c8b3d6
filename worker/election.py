"""Which of several watchers of one cluster is active: who holds the Lease `towline-watcher` there.

In: a Cluster and a namespace. Out: `holds`, asked before each act; `is_taken`, when somebody else has it. State: a Lease
(coordination.k8s.io/v1), renewed in a thread of its own, so that no other work holds the renewal up.
Killed: the Lease stays and is taken over when it was not renewed for its duration. A clean stop gives it back.

Nobody's clock is trusted: a candidate measures on its own clock how long the Lease did not change, and the holder stops
acting HOLD_SECONDS after it began its last renewal, before any other can take over. So a paused holder wakes up without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from towline.shared.cluster import Cluster
from towline.shared.cluster_session import Request
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError, TowlineError
from towline.shared.model import Object
from towline.shared.objects import canonical, metadata_of

LEASE = Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", namespaced=True)
LEASE_NAME = "towline-watcher"
DURATION_SECONDS = 10
HOLD_SECONDS = 8.0  # after the beginning of a renewal; less than the duration, or two would act at once
RENEW_SECONDS = 3.0
TRY_SECONDS = 1.0
REQUEST_SECONDS = 3.0  # each of a renewal's two; what takes longer is tried again from the start

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The Lease as it was first seen in this state, by our own monotonic clock."""

    holder: str
    renewed: str
    at: float


def may_take(observed: Observed, *, me: str, now: float) -> bool:
    """Whether the Lease is ours already, nobody's, or its holder has been silent for its whole duration."""
    return observed.holder in ("", me) or now - observed.at >= DURATION_SECONDS


class Election:
    """One candidate. `start` returns at once; `prepare` makes what the Lease needs, and may do nothing."""

    def __init__(
        self, cluster: Cluster, namespace: str, *, me: str, prepare: Callable[[], None] = lambda: None
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._prepare = prepare
        self._stopped = threading.Event()
        self._until = 0.0
        self._observed: Observed | None = None
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    def start(self) -> None:
        """Become a candidate."""
        self._thread.start()

    def holds(self) -> bool:
        """Whether we are the active one now; cheap enough to be asked before each act."""
        return time.monotonic() < self._until

    @property
    def is_taken(self) -> bool:
        """Whether another one was seen with the Lease, so that what we know is of no use any more."""
        observed = self._observed
        return observed is not None and observed.holder not in ("", self._me)

    def stop(self) -> None:
        """Give the Lease back, so that another one takes over at once."""
        held = self.holds()
        self._until = 0.0
        self._stopped.set()
        self._thread.join(2 * REQUEST_SECONDS)
        if held:
            try:
                self._give_back()
            except TowlineError as error:
                log.info("election.not_given_back", error=error.message)

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            pause = TRY_SECONDS
            try:
                self._turn(began)
                self._complaint = ""
                pause = RENEW_SECONDS if self.holds() else TRY_SECONDS
            except TowlineError as error:
                self._complain(error)
            self._stopped.wait(pause)

    def _turn(self, now: float) -> None:
        """Look at the Lease; make, take or renew it where that is ours to do."""
        lease = self._read()
        if lease is None:
            self._prepare()
            if self._write("POST", self._lease({}, metadata={})):
                self._won(now)
            return
        spec = _spec(lease)
        self._observe(spec, now)
        assert self._observed is not None
        if not may_take(self._observed, me=self._me, now=now):
            self._until = 0.0
            return
        metadata = {"resourceVersion": metadata_of(lease).get("resourceVersion")}
        if self._write("PUT", self._lease(spec, metadata=metadata)):
            self._won(now)

    def _observe(self, spec: dict[str, Any], now: float) -> None:
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        before = self._observed
        if before is None or (before.holder, before.renewed) != (holder, renewed):
            self._observed = Observed(holder=holder, renewed=renewed, at=now)

    def _won(self, began: float) -> None:
        if not self.holds():
            log.info("election.won", lease=f"{self._namespace}/{LEASE_NAME}", holder=self._me)
        self._observed = Observed(holder=self._me, renewed="", at=began)
        if not self._stopped.is_set():
            self._until = began + HOLD_SECONDS

    def _complain(self, error: TowlineError) -> None:
        if error.message != self._complaint:
            self._complaint = error.message
            log.warning("election.waits", error=error.message, hint=error.hint)

    def _lease(self, before: dict[str, Any], *, metadata: dict[str, Any]) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self._me
        changes = before.get("leaseTransitions") or 0
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": LEASE_NAME, "namespace": self._namespace, **metadata},
            "spec": {
                "holderIdentity": self._me,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": before.get("acquireTime") if mine else now,
                "renewTime": now,
                "leaseTransitions": changes if mine or not isinstance(changes, int) else changes + 1,
            },
        }

    def _give_back(self) -> None:
        lease = self._read()
        if lease is None or _spec(lease).get("holderIdentity") != self._me:
            return
        metadata = {"resourceVersion": metadata_of(lease).get("resourceVersion")}
        body = self._lease(_spec(lease), metadata=metadata)
        self._write("PUT", {**body, "spec": {**body["spec"], "holderIdentity": ""}})

    def _read(self) -> Object | None:
        try:
            return self._cluster.request(self._request("GET", LEASE_NAME))
        except ClusterError as error:
            if error.code != 404:
                raise
            return None

    def _write(self, method: str, lease: Object) -> bool:
        """False when somebody else was quicker: the next turn sees who."""
        name = "" if method == "POST" else LEASE_NAME
        try:
            self._cluster.request(self._request(method, name, canonical(lease)))
        except ClusterError as error:
            if error.code != 409:
                raise
            return False
        return True

    def _request(self, method: str, name: str, body: bytes | None = None) -> Request:
        path = LEASE.path(name, self._namespace)
        return Request(
            verb="lease", method=method, path=path, body=body, read_seconds=REQUEST_SECONDS, is_hasty=True
        )


def _spec(lease: Object) -> dict[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}
