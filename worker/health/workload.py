"""What makes pods, and which of the pods are of its newest revision. Pure.

In: an object as an API server shows it. Out: a Workload, small enough to be kept. A fault of an older revision's pods must
never be blamed on the newest one, so nothing counts as new before the workload's controller has seen the newest change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.shared.model import Object, ObjectKey
from towline.shared.objects import annotations_of, key_of, metadata_of
from towline.worker.health.pod import Pod, ReplicaSet

# Where each kind says which revision is its newest, and (in new_pods) its pods of which revision they are.
DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision"
# In apps/v1 the only trace of the generation that the DaemonSet controller still writes on each pod it makes:
# https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/apps/v1/conversion.go
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

WORKLOADS = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("batch", "Job"),
        ("", "Pod"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An object that makes pods, or is one.

    `revision` marks its newest pods; `failure`: reason and message of a Job that has failed or is about to; `selector`
    selects its pods of all revisions, "" where they cannot be selected.
    """

    key: ObjectKey
    uid: str
    revision: str
    is_observed: bool
    selector: str
    failure: tuple[str, str] | None = None

    @property
    def kind(self) -> str:
        """Its kind; no two of WORKLOADS share one."""
        return self.key.kind


def workload_of(object: Object) -> Workload | None:
    """The workload that an object is; None for kinds that make no pods."""
    key = key_of(object)
    if (key.group, key.kind) not in WORKLOADS:
        return None
    spec, status, metadata = _mapping(object.get("spec")), _mapping(object.get("status")), metadata_of(object)
    observed = status.get("observedGeneration")
    return Workload(
        key=key,
        uid=_text(metadata.get("uid")),
        revision=_revision(key.kind, object, status),
        is_observed=observed == metadata.get("generation") or key.kind in ("Job", "Pod"),
        selector=_selector(key.kind, spec.get("selector")),
        failure=_failure(status) if key.kind == "Job" else None,
    )


def _revision(kind: str, object: Object, status: Mapping[str, Any]) -> str:
    match kind:
        case "Deployment":
            return _text(annotations_of(object).get(DEPLOYMENT_REVISION))
        case "StatefulSet":
            return _text(status.get("updateRevision"))
        case "DaemonSet":
            return _text(annotations_of(object).get(TEMPLATE_GENERATION))
        case _:
            return ""


def _failure(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """`FailureTarget` comes first, and `Failed` once the Job's pods have ended (Kubernetes 1.31)."""
    conditions = status.get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if (
            isinstance(one, dict)
            and one.get("type") in ("Failed", "FailureTarget")
            and one.get("status") == "True"
        ):
            return _text(one.get("reason")), _text(one.get("message"))
    return None


def _selector(kind: str, selector: object) -> str:
    """As a list request asks for it (meta/v1 LabelSelector; a ReplicationController's is a plain mapping)."""
    written = _mapping(selector)
    if kind == "ReplicationController":
        return _equals(written)
    parts = [_equals(_mapping(written.get("matchLabels")))]
    expressions = written.get("matchExpressions")
    parts += [_expression(one) for one in (expressions if isinstance(expressions, list) else ())]
    return ",".join(part for part in parts if part)


def _equals(labels: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _expression(expression: object) -> str:
    one = _mapping(expression)
    key, values = _text(one.get("key")), one.get("values")
    listed = ",".join(map(str, values)) if isinstance(values, list) else ""
    match one.get("operator"):
        case "In":
            return f"{key} in ({listed})"
        case "NotIn":
            return f"{key} notin ({listed})"
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case _:
            return ""


def new_pods(workload: Workload, replica_sets: Sequence[ReplicaSet], pods: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods of its newest revision that are not being deleted, by name; none while its controller lags behind."""
    if not workload.is_observed:
        return ()
    sets = {one.metadata.uid for one in new_sets(workload, replica_sets)}
    found = (pod for pod in pods if not pod.is_terminating and _is_new(workload, sets, pod))
    return tuple(sorted(found, key=lambda pod: pod.name))


def new_sets(workload: Workload, replica_sets: Sequence[ReplicaSet]) -> tuple[ReplicaSet, ...]:
    """The ReplicaSet of a Deployment's newest revision; none for other kinds."""
    if workload.kind != "Deployment" or not (workload.is_observed and workload.revision):
        return ()
    return tuple(
        one
        for one in replica_sets
        if one.metadata.controller == workload.uid and one.metadata.annotations.revision == workload.revision
    )


def _is_new(workload: Workload, sets: set[str], pod: Pod) -> bool:
    metadata = pod.metadata
    match workload.kind:
        case "Deployment":
            return metadata.controller in sets
        case "StatefulSet":
            is_newest = metadata.labels.controller_revision_hash == workload.revision
        case "DaemonSet":
            is_newest = metadata.labels.template_generation == workload.revision
        case "Pod":
            return metadata.uid == workload.uid
        case _:
            is_newest = True
    return is_newest and metadata.controller == workload.uid


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
