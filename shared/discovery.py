"""Which kinds an API server serves, by its aggregated discovery: two requests for everything.

In: bodies of `/api` and `/apis`. Out: Resource for a kind. State: the last answers and their ETags, refreshed when a kind
is missed, at most every REFRESH_SECONDS, so that objects of unknown kinds cannot be used to flood an API server.

Aggregated discovery: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery (stable in 1.30).
Older servers ignore the media type and answer as they always did; then each group and version is asked for by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from towline.shared.errors import ClusterDown, UnknownKind
from towline.shared.objects import group_of

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
REFRESH_SECONDS = 0.2
RETRY_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as it is served."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", namespace: str = "") -> str:
        """Where objects of this kind are; the caller has checked both names."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=":"))
        return "/".join(parts)


class Fetch(Protocol):
    """GET of a discovery path: the body and its ETag; None when the path is 404 or what `etag` names still holds."""

    def __call__(self, path: str, *, accept: str, etag: str) -> tuple[Mapping[str, Any], str] | None:
        """Ask once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one path answered; `stale` are group versions whose own API server did not answer."""

    etag: str = ""
    resources: tuple[Resource, ...] = ()
    stale: frozenset[str] = frozenset()


@dataclass(slots=True)
class Discovery:
    """The kinds of one API server; used by many threads."""

    fetch: Fetch
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pages: dict[str, Page] = field(default_factory=dict)
    _kinds: dict[tuple[str, str], Resource] = field(default_factory=dict)
    _refreshed_at: float = float("-inf")

    def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is served. Raises UnknownKind, after a refresh."""
        found = self._look(lambda: self._kinds.get((api_version, kind)))
        if found is None:
            raise self._unknown(f"{kind} in {api_version}", group_of(api_version))
        return found

    def preferred(self, group: str, kind: str) -> Resource:
        """How a kind is served where any version will do: the server's preferred one. Raises UnknownKind."""
        found = self._look(lambda: _first(self._kinds, group, kind))
        if found is None:
            raise self._unknown(f"{kind}.{group}" if group else kind, group)
        return found

    def _look(self, look: Callable[[], Resource | None]) -> Resource | None:
        if found := look():
            return found
        with self._lock:
            if (found := look()) or self.clock() - self._refreshed_at < REFRESH_SECONDS:
                return found
            self._refresh()
            return look()

    def _refresh(self) -> None:
        pages = {path: self._page(path) for path in ("/api", "/apis")}
        self._pages = pages
        self._kinds = {(one.api_version, one.kind): one for one in _unique(pages.values())}
        self._refreshed_at = self.clock()

    def _page(self, path: str) -> Page:
        known = self._pages.get(path, Page())
        answer = self.fetch(path, accept=AGGREGATED, etag=known.etag)
        if answer is None:
            return known
        body, etag = answer
        if body.get("kind") == "APIGroupDiscoveryList":
            return Page(etag=etag, resources=tuple(_aggregated(body)), stale=frozenset(_stale(body)))
        return Page(resources=tuple(self._one_by_one(path, body)))

    def _one_by_one(self, path: str, body: Mapping[str, Any]) -> Iterator[Resource]:
        """Discovery of servers before 1.27: one request for each version of each group."""
        versions = [str(version) for version in _list(body, "versions")]
        for group in _dicts(body, "groups"):
            versions += [str(version.get("groupVersion")) for version in _dicts(group, "versions")]
        for api_version in versions:
            answer = self.fetch(f"{path}/{api_version}", accept="application/json", etag="")
            if answer is not None:
                yield from _plain(answer[0], api_version)

    def _unknown(self, what: str, group: str) -> UnknownKind | ClusterDown:
        stale = sorted(
            name for page in self._pages.values() for name in page.stale if group_of(name) == group
        )
        if stale:
            return ClusterDown(
                f"{what} cannot be looked up: the API server behind {', '.join(stale)} does not answer",
                hint="`kubectl get apiservices` shows which one is unavailable and why",
                retry_after=RETRY_AFTER_SECONDS,
            )
        return UnknownKind(
            f"the API server does not serve {what}",
            code=404,
            reason="NotFound",
            hint="install its CustomResourceDefinition first, or correct apiVersion and kind",
        )


def _first(kinds: Mapping[tuple[str, str], Resource], group: str, kind: str) -> Resource | None:
    # Kept in the server's order, which is that of its preference.
    return next((one for one in list(kinds.values()) if one.group == group and one.kind == kind), None)


def _unique(pages: Iterable[Page]) -> Iterator[Resource]:
    """The first resource of each kind: some groups serve a kind under two paths."""
    seen = set()
    for page in pages:
        for one in page.resources:
            key = (one.api_version, one.kind)
            if key not in seen:
                seen.add(key)
                yield one


def _aggregated(body: Mapping[str, Any]) -> Iterator[Resource]:
    for group, version in _versions(body):
        for one in _dicts(version, "resources"):
            kind = one.get("responseKind")
            if isinstance(kind, dict) and kind.get("kind"):
                yield Resource(
                    group=group,
                    version=str(version.get("version")),
                    kind=str(kind["kind"]),
                    plural=str(one.get("resource")),
                    namespaced=one.get("scope") == "Namespaced",
                )


def _stale(body: Mapping[str, Any]) -> Iterator[str]:
    for group, version in _versions(body):
        if version.get("freshness") == "Stale":
            yield f"{group}/{version.get('version')}"


def _versions(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for group in _dicts(body, "items"):
        metadata = group.get("metadata")
        name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        for version in _dicts(group, "versions"):
            yield name, version


def _plain(body: Mapping[str, Any], api_version: str) -> Iterator[Resource]:
    for one in _dicts(body, "resources"):
        name = str(one.get("name") or "")
        if name and "/" not in name:  # `deployments/scale` is a subresource
            yield Resource(
                group=group_of(api_version),
                version=api_version.rpartition("/")[2],
                kind=str(one.get("kind")),
                plural=name,
                namespaced=bool(one.get("namespaced")),
            )


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    return value if isinstance(value, list) else []


def _dicts(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in _list(body, name) if isinstance(one, dict)]
