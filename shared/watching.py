"""Listing and watching the objects of one kind, decoded as little as possible.

In: a Selection. Out: pages and events whose objects are still bytes, so that whoever asks decodes of each what it needs.
No state. What a server says on a watch that went wrong (410: the version is too old) is raised as from any other call.

The protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from towline.shared.cluster import METADATA, METADATA_LIST, Cluster
from towline.shared.cluster_errors import error_of
from towline.shared.cluster_session import JSON, Request, Stream
from towline.shared.discovery import Resource
from towline.shared.errors import ClusterError

PAGE_SIZE = 250  # objects a list request: several kinds are listed at once, and each page is held whole
GONE = 410  # the version is older than what the server remembers: list again


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Selection:
    """The objects that one watch is about: a kind, in a namespace or ("") everywhere, as ourselves or as `user`."""

    group: str
    kind: str
    namespace: str = ""
    user: str = ""
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} in {self.namespace or 'all namespaces'}"

    def query(self) -> dict[str, str]:
        """What narrows the objects down."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: text for name, text in selectors.items() if text}


class Metadata(msgspec.Struct):
    """Of a list, or of the object in a bookmark."""

    resource_version: str = msgspec.field(default="", name="resourceVersion")
    following: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """A part of a list."""

    metadata: Metadata
    items: list[msgspec.Raw]


class Event(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


class _Versioned(msgspec.Struct):
    metadata: Metadata


_PAGE = msgspec.json.Decoder(Page)
_EVENT = msgspec.json.Decoder(Event)
_VERSIONED = msgspec.json.Decoder(_Versioned)
_STATUS = msgspec.json.Decoder(dict[str, object])


def pages(cluster: Cluster, resource: Resource, selection: Selection) -> Iterator[Page]:
    """The list, page by page. Raises ClusterDown, ClusterError; 410 when it went on for too long."""
    query = {"limit": str(PAGE_SIZE), **selection.query()}
    accept = f"{METADATA_LIST},{JSON}" if selection.metadata_only else JSON
    while True:
        request = Request(
            verb="list",
            method="GET",
            path=resource.path(namespace=selection.namespace),
            query=query,
            accept=accept,
        )
        try:
            page = _PAGE.decode(cluster.read(request))
        except msgspec.MsgspecError as error:
            raise _odd(f"the list of {selection}") from error
        yield page
        if not page.metadata.following:
            return
        query["continue"] = page.metadata.following


def watch(
    cluster: Cluster, resource: Resource, selection: Selection, *, since: str, seconds: int, silent: float
) -> Stream:
    """Ask for what happens after version `since`, for so many seconds; cut off when silent for longer than `silent`."""
    accept = f"{METADATA},{JSON}" if selection.metadata_only else JSON
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": since,
        "timeoutSeconds": str(seconds),
        **selection.query(),
    }
    path = resource.path(namespace=selection.namespace)
    request = Request(verb="watch", method="GET", path=path, query=query, accept=accept, read_seconds=silent)
    return cluster.open(request)


def events(stream: Stream, *, of: str) -> Iterator[Event]:
    """Each event. Raises what the server reports in an ERROR, ClusterDown when the connection is cut."""
    for line in stream.lines():
        if not line.strip():
            continue
        try:
            event = _EVENT.decode(line)
            status = _STATUS.decode(event.object) if event.type == "ERROR" else None
        except msgspec.MsgspecError as error:
            raise _odd(f"the watch of {of}") from error
        if status is not None:
            code = status.get("code")
            raise error_of(
                code if isinstance(code, int) else 500, {}, bytes(event.object), doing=f"watch of {of} failed"
            )
        yield event


def version_of(object: msgspec.Raw) -> str:
    """The resourceVersion of an object, "" when it has none."""
    try:
        return _VERSIONED.decode(object).metadata.resource_version
    except msgspec.MsgspecError:
        return ""


def _odd(what: str) -> ClusterError:
    return ClusterError(f"{what} is not of the form that an API server answers", code=200, reason="NotAWatch")
