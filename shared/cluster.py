"""A Kubernetes API server, with objects as plain dicts: get, list, apply, create, patch, delete; and raw, to watch.

In: objects and keys. Out: objects as answered, or one error of our tree (ClusterDown, ClusterError and its kinds); values
of Secrets are masked in messages. State: kept connections, credentials, discovery and time of one cluster, shared by all
threads and by every `acting_as`. Killed half-way: each call is one request, so it happened or it did not.

No write is sent twice by itself, except where the connection could not be made; who may repeat one is told by `retry`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from towline.shared.cluster_errors import error_of
from towline.shared.cluster_session import (
    JSON,
    Answer,
    ClusterAccess,
    Observe,
    Request,
    Session,
    Stream,
)
from towline.shared.cluster_time import ClusterTime
from towline.shared.discovery import Discovery, Resource
from towline.shared.errors import ClusterError, ConfigError
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import MANAGER, canonical, key_of, metadata_of

PAGE_SIZE = 500  # objects a list request, as kubectl asks for
PAGES = 400  # 200,000 objects: a list that goes on after that never ends

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML, and the server parses it faster
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

# An empty Impersonate-User is ignored by the server, which then lets us act as ourselves.
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._@/-]{0,252}")
SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:[a-z0-9][-a-z0-9]{0,62}:[a-z0-9][-.a-z0-9]{0,252}")

# https://github.com/kubernetes/apimachinery/blob/master/pkg/api/validation/path/name.go
PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/%\x00-\x1f]{1,253}")


def connect(
    access: ClusterAccess,
    *,
    parallel: int = 16,
    observe: Observe | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Cluster:
    """A client of this cluster with `parallel` kept connections. Nothing is sent yet; raises ConfigError."""
    return Cluster(Session(access, parallel=parallel, observe=observe), time=ClusterTime(wall_clock))


class Cluster:
    """One API server, as ourselves or as the user that an environment names."""

    def __init__(
        self, session: Session, *, time: ClusterTime, discovery: Discovery | None = None, user: str = ""
    ) -> None:
        self._session = session
        self._time = time
        self._discovery = discovery or Discovery(self._discover)
        self._user = user

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self._session.name

    def acting_as(self, user: str) -> Cluster:
        """The same cluster, every request in the name of a user. Raises ConfigError for what is no such name."""
        valid = SERVICE_ACCOUNT if user.startswith("system:") else USER
        if not valid.fullmatch(user):
            raise ConfigError(
                f"{user[:80]!r} is not the name of a user to act as",
                hint="name a service account: system:serviceaccount:NAMESPACE:NAME",
            )
        return Cluster(self._session, time=self._time, discovery=self._discovery, user=user)

    def resource(self, api_version: str, kind: str) -> Resource:
        """How this kind is served; asks the server again, at most every 0.2 s, for one it did not. UnknownKind."""
        return self._discovery.resource(api_version, kind)

    def preferred(self, group: str, kind: str) -> Resource:
        """How this kind is served where any version will do, as for an ObjectKey. Raises UnknownKind."""
        return self._discovery.preferred(group, kind)

    def resource_of(self, object: Object) -> Resource:
        """How the kind of this object is served. Raises UnknownKind."""
        return self.resource(str(object.get("apiVersion")), str(object.get("kind")))

    def get(
        self, resource: Resource, name: str, namespace: str = "", *, metadata_only: bool = False
    ) -> Object | None:
        """One object, None when there is none; with `metadata_only` just apiVersion, kind and metadata."""
        path = _path(resource, name, namespace)
        accept = f"{METADATA},{JSON}" if metadata_only else JSON
        answer = self._send(Request(verb="get", method="GET", path=path, accept=accept))
        if answer.code == 404:
            return None
        body = self._parsed(answer, doing=f"get {_called(resource, name, namespace)}")
        return _named(body, resource) if metadata_only else body

    def list(
        self, resource: Resource, namespace: str = "", *, labels: str = "", metadata_only: bool = False
    ) -> list[Object]:
        """All objects of a kind, in a namespace or everywhere, that a label selector matches."""
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": labels} if labels else {})
        accept = f"{METADATA_LIST},{JSON}" if metadata_only else JSON
        path = _path(resource, "", namespace)
        found: list[Object] = []
        for _ in range(PAGES):
            answer = self._send(Request(verb="list", method="GET", path=path, query=query, accept=accept))
            if (
                answer.code == 410 and "continue" in query
            ):  # the pages went on for longer than etcd keeps history
                del query["continue"]
                found.clear()
                continue
            body = self._parsed(answer, doing=f"list {resource.plural} in {namespace or 'all namespaces'}")
            found += [_named(item, resource) for item in body.get("items") or ()]
            following = metadata_of(body).get("continue")
            if not following:
                return found
            query["continue"] = str(following)
        raise ClusterError(f"list {resource.plural}: more than {PAGES} pages", code=200, reason="TooLarge")

    def apply(
        self, object: Object, *, dry_run: bool = False, force: bool = True, manager: str = MANAGER
    ) -> Object:
        """Server-side apply: the object as it stands afterwards. Raises FieldConflict only where `force` is False.

        An answer with a deletionTimestamp means that the object was being deleted and will be gone (design section 4).
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        request = Request(
            verb="dry run" if dry_run else "apply",
            method="PATCH",
            path=_path(self.resource_of(object), *_name(object)),
            query=query,
            body=canonical(object),
            content_type=APPLY_PATCH,
        )
        return self._parsed(self._send(request), doing=f"{request.verb} of {key_of(object)}", sent=object)

    def create(self, object: Object, *, manager: str = MANAGER, dry_run: bool = False) -> Object:
        """Create an object; ClusterError with code 409 and reason AlreadyExists when there is one."""
        _, namespace = _name(object)
        query = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        path = _path(self.resource_of(object), "", namespace)
        request = Request(verb="create", method="POST", path=path, query=query, body=canonical(object))
        return self._parsed(self._send(request), doing=f"create {key_of(object)}", sent=object)

    def replace(self, object: Object, *, subresource: str = "", manager: str = MANAGER) -> Object:
        """Put an object, or a subresource of it, in the place of the one whose resourceVersion it names."""
        path = _path(self.resource_of(object), *_name(object), subresource)
        query = {"fieldManager": manager}
        request = Request(verb="update", method="PUT", path=path, query=query, body=canonical(object))
        return self._parsed(self._send(request), doing=f"update {key_of(object)}", sent=object)

    def merge_patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
        manager: str = MANAGER,
    ) -> Object:
        """A JSON merge patch (RFC 7396); a `metadata.resourceVersion` in it is a precondition."""
        request = Request(
            verb="patch",
            method="PATCH",
            path=_path(resource, name, namespace, subresource),
            query={"fieldManager": manager},
            body=canonical(patch),
            content_type=MERGE_PATCH,
        )
        sent = {"apiVersion": resource.api_version, "kind": resource.kind, **patch}
        doing = f"patch of {_called(resource, name, namespace)}"
        return self._parsed(self._send(request), doing=doing, sent=sent)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str,
        resource_version: str,
        propagation: str = "Background",
    ) -> None:
        """Delete exactly this object at exactly this version, as it was judged; one that is gone is fine.

        An empty `resource_version` leaves that precondition out. A changed object is ClusterError 409, Conflict.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions,
        }
        path = _path(resource, name, namespace)
        answer = self._send(Request(verb="delete", method="DELETE", path=path, body=canonical(options)))
        if answer.code != 404:
            self._parsed(answer, doing=f"delete {_called(resource, name, namespace)}")

    def request(self, request: Request) -> Object:
        """Any other call: the parsed answer."""
        return self._parsed(self._send(request), doing=f"{request.method} {request.path}")

    def read(self, request: Request) -> bytes:
        """The answer's bytes, for a caller that decodes only what it needs of them (shared/watching.py)."""
        answer = self._send(request)
        if not 200 <= answer.code < 300:
            doing = f"{request.verb} {request.path} failed"
            raise error_of(answer.code, answer.headers, answer.body, doing=doing)
        return answer.body

    def open(self, request: Request) -> Stream:
        """An answer that goes on, to be read line by line."""
        stream = self._session.open(replace(request, user=self._user) if self._user else request)
        if stream.code != 200:
            doing = f"{request.verb} {request.path} failed"
            raise error_of(stream.code, stream.headers, stream.body(), doing=doing)
        return stream

    def now(self) -> datetime:
        """The time by the server's own clock, as its last answer told it; nothing is asked."""
        return self._time.now()

    def _send(self, request: Request) -> Answer:
        asked_at = time.monotonic()
        answer = self._session.send(replace(request, user=self._user) if self._user else request)
        self._time.hear(answer.headers.get("Date"), asked_at=asked_at)
        return answer

    def _parsed(self, answer: Answer, *, doing: str, sent: Object | None = None) -> Object:
        if not 200 <= answer.code < 300:
            raise error_of(answer.code, answer.headers, answer.body, doing=f"{doing} failed", object=sent)
        return _parsed(answer, doing=doing)

    def _discover(self, path: str, *, accept: str, etag: str) -> tuple[Mapping[str, Any], str] | None:
        # As ourselves: what is served does not depend on the user, and the answer is shared by all of them.
        answer = self._session.send(
            Request(verb="discover", method="GET", path=path, accept=accept, etag=etag)
        )
        if answer.code in (304, 404):
            return None
        return self._parsed(answer, doing="discovery"), answer.headers.get("ETag") or ""


def _parsed(answer: Answer, *, doing: str) -> Object:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise _not_json(answer, doing) from error
    if not isinstance(body, dict):
        raise _not_json(answer, doing)
    return body


def _not_json(answer: Answer, doing: str) -> ClusterError:
    return ClusterError(
        f"{doing}: the answer is not a JSON object",
        code=answer.code,
        hint="the address in the kubeconfig may be that of something else than an API server",
    )


def _path(resource: Resource, name: str, namespace: str, subresource: str = "") -> str:
    for part in (name, namespace):
        if part and not PATH_SEGMENT.fullmatch(part):
            raise ClusterError(f"{part[:80]!r} cannot be the name of an object", code=422, reason="Invalid")
    path = resource.path(name, namespace)
    return f"{path}/{subresource}" if subresource else path


def _name(object: Object) -> tuple[str, str]:
    """Name and namespace of an object to be written."""
    key = key_of(object)
    if not key.name:
        raise ClusterError(
            f"{key.kind}: an object without a name cannot be written", code=422, reason="Invalid"
        )
    return key.name, key.namespace


def _called(resource: Resource, name: str, namespace: str) -> str:
    return str(ObjectKey(group=resource.group, kind=resource.kind, namespace=namespace, name=name))


def _named(object: Object, resource: Resource) -> Object:
    """Items of a list have no kind, and metadata alone is a PartialObjectMetadata: call both what they are."""
    return {**object, "apiVersion": resource.api_version, "kind": resource.kind}
