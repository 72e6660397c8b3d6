"""The kinds that the demo's API serves, and what it checks of them.

It checks little, and says so: names, and the rules below. A real API server checks every field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One served kind."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False  # as a subresource of its own

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


BUILT_IN = (
    Kind(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False),
    Kind(group="", version="v1", kind="ConfigMap", plural="configmaps"),
    Kind(group="", version="v1", kind="Secret", plural="secrets"),
    Kind(group="", version="v1", kind="Service", plural="services"),
    Kind(group="", version="v1", kind="ServiceAccount", plural="serviceaccounts"),
    Kind(group="", version="v1", kind="Pod", plural="pods", has_status=True),
    Kind(group="", version="v1", kind="Event", plural="events"),
    Kind(group="events.k8s.io", version="v1", kind="Event", plural="events"),
    Kind(group="apps", version="v1", kind="Deployment", plural="deployments", has_status=True),
    Kind(group="apps", version="v1", kind="ReplicaSet", plural="replicasets", has_status=True),
    Kind(group="apps", version="v1", kind="StatefulSet", plural="statefulsets", has_status=True),
    Kind(group="batch", version="v1", kind="CronJob", plural="cronjobs", has_status=True),
    Kind(group="batch", version="v1", kind="Job", plural="jobs", has_status=True),
    Kind(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases"),
    Kind(group="networking.k8s.io", version="v1", kind="Ingress", plural="ingresses", has_status=True),
    Kind(group="networking.k8s.io", version="v1", kind="NetworkPolicy", plural="networkpolicies"),
    Kind(
        group="autoscaling", version="v2", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers"
    ),
    Kind(group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets"),
    Kind(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        namespaced=False,
    ),
)


def defined_by(definition: dict[str, Any]) -> list[Kind]:
    """The kinds that a CustomResourceDefinition adds."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            namespaced=spec.get("scope") == "Namespaced",
            has_status="status" in (version.get("subresources") or {}),
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def causes(object: dict[str, Any], before: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What is wrong with an object, as (field, message): rules of the API that the demo shows being broken."""
    if object.get("kind") not in ("Deployment", "StatefulSet"):
        return
    spec = object.get("spec") or {}
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector:
        yield "spec.selector", "Required value"
    elif any(labels.get(name) != value for name, value in selector.items()):
        yield "spec.template.metadata.labels", "`selector` does not match template `labels`"
    for index, container in enumerate((template.get("spec") or {}).get("containers") or [{}]):
        if not container.get("image"):
            yield f"spec.template.spec.containers[{index}].image", "Required value"
    if before and (before.get("spec") or {}).get("selector") != spec.get("selector"):
        yield "spec.selector", "field is immutable"


def born_with(object: dict[str, Any]) -> dict[str, Any] | None:
    """The status that an object of this kind has from its first moment on, None for the others."""
    match object.get("kind"):
        case "Namespace":
            return {"phase": "Active"}
        case "Pod":
            return {"phase": "Pending"}
        case "CustomResourceDefinition":
            conditions = [{"type": name, "status": "True"} for name in ("Established", "NamesAccepted")]
            return {"conditions": conditions, "acceptedNames": object["spec"]["names"]}
        case _:
            return None


def discovery(kinds: Iterable[Kind], *, core: bool) -> dict[str, Any]:
    """The aggregated discovery document of `/api` (core) or `/apis`."""
    groups: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds:
        if (kind.group == "") is core:
            groups.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_resource(kind) for kind in served],
                }
                for version, served in versions.items()
            ],
        }
        for group, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}


def _resource(kind: Kind) -> dict[str, Any]:
    return {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    }
