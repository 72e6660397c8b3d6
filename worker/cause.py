"""Reads why a release is not healthy, for people: the failing container's last words and the Events about it.

In: a verdict, and the Secrets of the release, whose values are masked in everything that leaves. Out: a Cause, bounded in
every part. All requests go side by side; none may take longer than LOG_SECONDS, and one that fails leaves its part empty,
since a release must be rolled back whether or not its log can be had. Nothing is written; no state.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from towline.shared.cluster import Cluster
from towline.shared.cluster_session import Request
from towline.shared.errors import TowlineError
from towline.shared.model import Object, ObjectKey
from towline.shared.release import LOG_LENGTH, LOG_LINES, cut
from towline.worker.health.case import one_line
from towline.worker.health.fault import Fault
from towline.worker.health.pod import Event, Pod
from towline.worker.health.release import ReleaseVerdict
from towline.worker.health.workload import new_pods, workload_of
from towline.worker.mask import Mask
from towline.worker.parallel import in_parallel
from towline.worker.seen import POD, events_of, seen_of
from towline.worker.target import Target

LOG_SECONDS = 2.0  # the API server asks the kubelet, which may be gone
LOG_BYTES = 64 * 1024
SEARCHED = 4 * LOG_LENGTH  # characters of a line that are searched for secrets before it is cut
EVENTS = 10
LONG_AGO = datetime.min.replace(tzinfo=UTC)
COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a release is not healthy; `text` is one line, `object` what decided. Nothing in it holds a secret."""

    text: str
    object: ObjectKey | None = None
    container: str = ""
    reason: str = ""
    exit_code: int | None = None
    message: str = ""
    logs: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def cause_of(target: Target, verdict: ReleaseVerdict, secrets: Iterable[Object]) -> Cause:
    """What made this verdict. `secrets`: the rendered Secrets of the release. Never raises for what cannot be read."""
    mask = Mask(secrets)
    key, fault = verdict.object, verdict.fault
    if key is None:
        return Cause(text=mask(verdict.reason))
    text = f"{key.kind} {key.namespace}/{key.name}: {fault.text}" if fault else verdict.reason
    if fault is None and (waits := _unready(target.deployer, key)):
        fault, text = waits, f"{text}; {waits.text}"
    if fault is None:
        return Cause(text=mask(text), object=key, events=_events(target.deployer, [key], mask))
    about = dict.fromkeys([fault.object, key])
    reads = [partial(_logs, target.deployer, fault, mask), partial(_events, target.deployer, about, mask)]
    logs, events = in_parallel(_run, reads)
    return Cause(
        text=mask(text),
        object=key,
        container=fault.container,
        reason=fault.reason,
        exit_code=fault.exit_code,
        message=mask(fault.message),
        logs=logs,
        events=events,
    )


def _run(read: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    return read()


def _unready(cluster: Cluster, key: ObjectKey) -> Fault | None:
    """The first container of a new pod that is not ready, where no fault was found: it may say why."""
    with suppress(TowlineError):
        live = cluster.get(cluster.preferred(key.group, key.kind), key.name, key.namespace)
        workload = workload_of(live) if live else None
        if workload is None:
            return None
        seen = seen_of(cluster, workload)
        for pod in new_pods(workload, seen.replica_sets, seen.pods):
            if found := _unready_container(cluster, pod):
                return found
    return None


def _unready_container(cluster: Cluster, pod: Pod) -> Fault | None:
    for status in pod.status.container_statuses:
        if status.ready:
            continue
        told = events_of(cluster, pod.metadata.namespace, uid=pod.metadata.uid)
        probes = [one.message for one in _by_time(told) if one.reason == "Unhealthy"]
        return Fault(
            object=pod.key,
            container=status.name,
            reason="NotReady",
            what="is not ready",
            message=one_line(probes[-1]) if probes else "",
            has_ended=status.state.running is not None or status.last_end is not None,
        )
    return None


def _logs(cluster: Cluster, fault: Fault, mask: Mask) -> tuple[str, ...]:
    """The last lines of the run that ended, or of the one that runs where the other is not kept any more."""
    if not (fault.has_ended and fault.container and fault.object.kind == "Pod"):
        return ()
    deadline = time.monotonic() + LOG_SECONDS
    for previous in dict.fromkeys((fault.is_previous, False)):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        with suppress(TowlineError):
            if lines := _lines(_log(cluster, fault, previous=previous, seconds=remaining), mask):
                return lines
    return ()


def _log(cluster: Cluster, fault: Fault, *, previous: bool, seconds: float) -> bytes:
    query = {
        "container": fault.container,
        "tailLines": str(LOG_LINES),
        "limitBytes": str(LOG_BYTES),
        "previous": "true" if previous else "false",
    }
    path = f"{POD.path(fault.object.name, fault.object.namespace)}/log"
    began = time.monotonic()
    stream = cluster.open(
        Request(
            verb="log",
            method="GET",
            path=path,
            query=query,
            accept="*/*",
            read_seconds=seconds,
            is_hasty=True,
        )
    )
    end = threading.Timer(seconds - (time.monotonic() - began), stream.close)
    end.start()
    try:
        return stream.read(LOG_BYTES)
    finally:
        end.cancel()


def _lines(data: bytes, mask: Mask) -> tuple[str, ...]:
    lines = data.decode("utf-8", "replace").splitlines()
    if len(data) >= LOG_BYTES:  # the last one was cut, and half of a secret would not be found
        lines = lines[:-1]
    return tuple(
        cut(mask(cut(COLOURS.sub("", line[:SEARCHED]), SEARCHED)), LOG_LENGTH) for line in lines[-LOG_LINES:]
    )


def _events(cluster: Cluster, keys: Iterable[ObjectKey], mask: Mask) -> tuple[str, ...]:
    """The newest Events about these objects, oldest first: warnings, or any where there are none."""
    told: list[Event] = []
    for key in keys:
        with suppress(TowlineError):
            told += events_of(cluster, key.namespace, kind=key.kind, name=key.name)
    warnings = [one for one in told if one.type == "Warning"]
    return tuple(_told(one, mask) for one in _by_time(warnings or told)[-EVENTS:])


def _by_time(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda one: one.last or LONG_AGO)


def _told(event: Event, mask: Mask) -> str:
    often = f" ({event.times} times)" if event.times > 1 else ""
    return one_line(mask(f"{event.reason}: {one_line(event.message)}{often}"))
