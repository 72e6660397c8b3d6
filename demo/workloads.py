"""The pretended controllers of Deployments, ReplicaSets, StatefulSets and Jobs. Pure.

In: an object, and what each object of the cluster made. Out: what its controller would write next; nothing when all is as
it should be. What they write has the form of the real ones', so that health is judged by the same facts. They are simpler
than these in how they go about it: a rollout starts all new pods at once and ends the old ones when all of these are ready,
and a Job runs one pod.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence

from towline.demo.managed import now
from towline.demo.request import Object
from towline.demo.writes import (
    Children,
    Create,
    Delete,
    Patch,
    Report,
    Status,
    Write,
    child_of,
    condition,
    is_ready,
    labels_of,
    name_of,
    owned_by,
    pod_of,
)

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"


def deployment(object: Object, children: Children) -> Iterator[Write]:
    """A ReplicaSet for its template; the older ones are emptied when the pods of that are ready."""
    sets = owned_by(object, children)
    label = _hash_of(object)
    new = next((one for one in sets if _hash(one) == label), None)
    newest = max((_revision(one) for one in sets), default=0)
    wanted = _replicas(object)
    if new is None:
        yield _replica_set(object, label, newest + 1)
    else:
        yield from _rolled(object, new, [one for one in sets if one is not new], newest, wanted)
    pods = {name_of(one): owned_by(one, children) for one in sets}
    updated = pods[name_of(new)] if new is not None else []
    status = _rollout(object, [pod for several in pods.values() for pod in several], updated)
    yield from _reported(object, status)


def _replica_set(owner: Object, label: str, revision: int) -> Create:
    template = owner["spec"]["template"]
    labels = {**labels_of(template), HASH: label}
    metadata = child_of(owner, f"{name_of(owner)}-{label}", labels)
    metadata["annotations"] = {REVISION: str(revision)}
    spec = {
        "replicas": _replicas(owner),
        "selector": {"matchLabels": labels},
        "template": {**template, "metadata": {**template.get("metadata", {}), "labels": labels}},
    }
    return Create({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})


def _rolled(object: Object, new: Object, old: Sequence[Object], newest: int, wanted: int) -> Iterator[Write]:
    """One that is wanted again, after a rollback, is the newest revision from now on."""
    is_newest = all(_revision(one) < _revision(new) for one in old)
    revision = str(_revision(new) if is_newest else newest + 1)
    if not is_newest:
        yield Patch(new, {"metadata": {"annotations": {REVISION: revision}}})
    if (object["metadata"].get("annotations") or {}).get(REVISION) != revision:
        yield Patch(object, {"metadata": {"annotations": {REVISION: revision}}})
    if _replicas(new) != wanted:
        yield Patch(new, {"spec": {"replicas": wanted}})
    if (new.get("status") or {}).get("availableReplicas", 0) >= wanted:
        for one in old:
            if _replicas(one):
                yield Patch(one, {"spec": {"replicas": 0}})


def _rollout(object: Object, pods: Sequence[Object], updated: Sequence[Object]) -> Status:
    before, wanted = object.get("status") or {}, _replicas(object)
    ready = [pod for pod in pods if is_ready(pod)]
    done = len(pods) == len(updated) == len(ready) == wanted
    status = {
        "observedGeneration": object["metadata"]["generation"],
        **_counts(replicas=len(pods), readyReplicas=len(ready), availableReplicas=len(ready)),
        **_counts(updatedReplicas=len(updated), unavailableReplicas=max(wanted - len(ready), 0)),
    }
    enough = len(ready) >= wanted
    status["conditions"] = [
        condition(before, "Available", enough, f"MinimumReplicas{'A' if enough else 'Una'}vailable"),
        condition(before, "Progressing", True, "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"),
    ]
    return status


def replica_set(object: Object, children: Children) -> Iterator[Write]:
    """As many pods as it should have; those that are not ready are the first to go."""
    pods, wanted = owned_by(object, children), _replicas(object)
    for _ in range(wanted - len(pods)):
        yield pod_of(object, f"{name_of(object)}-{secrets.token_hex(3)[:5]}", {})
    for pod in sorted(pods, key=is_ready)[: max(len(pods) - wanted, 0)]:
        yield Delete(pod)
    ready = sum(map(is_ready, pods))
    counts = {"replicas": len(pods), "observedGeneration": object["metadata"]["generation"]}
    more = _counts(fullyLabeledReplicas=len(pods), readyReplicas=ready, availableReplicas=ready)
    yield from _reported(object, {**counts, **more})


def stateful_set(object: Object, children: Children) -> Iterator[Write]:
    """Pods by number; one of an older revision is deleted when all others are ready."""
    label, wanted = _hash_of(object), _replicas(object)
    pods = {name_of(pod): pod for pod in owned_by(object, children)}
    names = [f"{name_of(object)}-{number}" for number in range(wanted)]
    for name in names:
        if name not in pods:
            yield pod_of(object, name, {REVISION_HASH: f"{name_of(object)}-{label}"})
    for name in pods.keys() - set(names):
        yield Delete(pods[name])
    updated = [pod for pod in pods.values() if _label(pod, REVISION_HASH).endswith(label)]
    old = [pod for pod in pods.values() if pod not in updated]
    if old and all(is_ready(pod) for pod in updated):
        yield Delete(old[-1])
    ready = sum(map(is_ready, pods.values()))
    revision = f"{name_of(object)}-{label}"
    before = (object.get("status") or {}).get("currentRevision", revision)
    status = {
        "observedGeneration": object["metadata"]["generation"],
        "replicas": len(pods),
        "updateRevision": revision,
        "currentRevision": before if old else revision,
        **_counts(readyReplicas=ready, availableReplicas=ready, updatedReplicas=len(updated)),
    }
    yield from _reported(object, status)


def job(object: Object, children: Children) -> Iterator[Write]:
    """One pod, until it has ended well."""
    pods, before = owned_by(object, children), object.get("status") or {}
    if not pods and not before.get("succeeded"):
        labels = {"batch.kubernetes.io/job-name": name_of(object), "job-name": name_of(object)}
        yield pod_of(object, f"{name_of(object)}-{secrets.token_hex(3)[:5]}", labels)
    status: Status = {"startTime": before.get("startTime") or now()}
    if any((pod.get("status") or {}).get("phase") == "Succeeded" for pod in pods):
        status |= {"succeeded": 1, "completionTime": before.get("completionTime") or now()}
        status["conditions"] = [condition(before, "Complete", True, "CompletionsReached")]
    elif not before.get("succeeded"):
        status["active"] = 1
    else:
        return
    yield from _reported(object, status)


def _reported(object: Object, status: Status) -> Iterator[Write]:
    if object.get("status") != status:
        yield Report(object, status)


def _counts(**numbers: int) -> dict[str, int]:
    """Kubernetes leaves out a count of nothing."""
    return {name: number for name, number in numbers.items() if number}


def _replicas(object: Object) -> int:
    return int((object.get("spec") or {}).get("replicas", 1))


def _hash_of(object: Object) -> str:
    """One template, one hash."""
    template = json.dumps(object["spec"]["template"], sort_keys=True)
    return hashlib.sha256(template.encode()).hexdigest()[:10]


def _label(object: Object, name: str) -> str:
    return str((object["metadata"].get("labels") or {}).get(name, ""))


def _hash(object: Object) -> str:
    return _label(object, HASH)


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))
