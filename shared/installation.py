"""What must be in a cluster before a release can be recorded: the Release CRD, and the environment's namespace.

In: a Cluster. Out: nothing. State: the CustomResourceDefinition `releases.towline.dev`, namespaces of environments.
Killed half-way: called again at the next start or sync.
"""

from __future__ import annotations

import time
from pathlib import Path

from towline.shared.cluster import Cluster
from towline.shared.discovery import Resource
from towline.shared.documents import load_documents
from towline.shared.errors import ClusterDown, ClusterError, Unavailable, UnknownKind
from towline.shared.model import Object
from towline.shared.objects import GROUP, MANAGER, annotations_of, digest, is_terminating
from towline.shared.release import ENVIRONMENT, RELEASE

CRD_FILE = Path(__file__).with_name("crd.yaml")
CRD_DIGEST = f"{GROUP}/crd-digest"
CRD_SECONDS = 15.0  # until a new CRD is served

NAMESPACE = Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
CRD = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
)


def ensure_namespace(cluster: Cluster, name: str, *, environment: str) -> None:
    """Make the namespace of an environment when it is missing. Raises Unavailable while it is being deleted."""
    found = cluster.get(NAMESPACE, name, metadata_only=True)
    if found is None:
        try:
            cluster.create(_namespace(name, environment))
        except ClusterError as error:
            if error.reason != "AlreadyExists":
                raise
    elif is_terminating(found):
        raise Unavailable(
            f"namespace {name} is being deleted",
            hint="this is tried again until it is gone; `kubectl describe` shows what is left",
        )


def ensure_crd(cluster: Cluster) -> None:
    """Install or update the Release CRD and wait until it is served; one that we may not write is used as it is."""
    crd = packaged_crd()
    wanted = digest(crd)
    try:
        found = cluster.get(CRD, crd["metadata"]["name"], metadata_only=True)
        if found is None or annotations_of(found).get(CRD_DIGEST) != wanted:
            metadata = {**crd["metadata"], "annotations": {CRD_DIGEST: wanted}}
            cluster.apply({**crd, "metadata": metadata})
    except ClusterError as error:
        if error.code != 403:
            raise
    _await_served(cluster)


def packaged_crd() -> Object:
    """The CRD that this version of Towline works with."""
    return dict(load_documents(CRD_FILE.read_bytes(), file=str(CRD_FILE))[0].value)


def _await_served(cluster: Cluster) -> None:
    deadline = time.monotonic() + CRD_SECONDS
    while True:
        try:
            cluster.resource(RELEASE.api_version, RELEASE.kind)
            return
        except UnknownKind as error:
            if time.monotonic() > deadline:
                raise ClusterDown(
                    f"the API server {cluster.name} does not serve the Release kind",
                    hint="install it: kubectl apply --server-side -f k8s/base/crd.yaml",
                ) from error
        time.sleep(0.1)


def _namespace(name: str, environment: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": MANAGER},
            "annotations": {ENVIRONMENT: environment},
        },
    }
