"""Which services a revision has, and how each is rendered in one environment.

In: a tree, its .towline.yaml and the operator's patterns. Out: services by name. A service that cannot be used keeps
its place with its problem, so that it fails alone and is never taken for one that was removed. State: what a folder's
id tells about its renderer is remembered.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import translate

from towline.shared.errors import ConfigError, GitError, RenderError, TowlineError
from towline.shared.model import DNS_LABEL
from towline.shared.team_config import ServiceEntry, TeamConfig, parse_team_config
from towline.worker.remembered import Remembered
from towline.worker.render.kustomization import FILE_NAMES
from towline.worker.render.plain import CHART
from towline.worker.resolve import joined, resolve
from towline.worker.tree import Entry, EntryKind, Tree, lasting

TEAM_FILE = ".towline.yaml"
MAX_TEAM_FILE_BYTES = 1024 * 1024
MAX_SERVICES = 20_000  # of one revision; each costs some microseconds a push
MAX_LOOKED_AT = 100_000  # names, for all patterns of a revision
MAX_SEARCH_DEPTH = 12  # folders that `**` stands for
WILDCARDS = "*?["
OVERLAYS = "overlays"
LABEL_LENGTH = 63


class Renderer(StrEnum):
    """How files become objects."""

    PLAIN = "plain"
    KUSTOMIZE = "kustomize"
    HELM = "helm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service as one environment renders it; `path` is a folder, or a single file of manifests."""

    name: str
    path: str
    renderer: Renderer
    values: tuple[str, ...] = ()
    substitute: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    group: tuple[str, ...] = ()  # the services that are verified and rolled back together with it
    entry: ServiceEntry | None = None  # None for one found by a pattern
    entry_digest: str = ""
    problem: TowlineError | None = None


def team_config_of(tree: Tree) -> TeamConfig | None:
    """The repository's own .towline.yaml, if it has one. Raises ConfigError with all that is wrong in it."""
    try:
        entry = resolve(tree, TEAM_FILE).entry
        if entry is None:
            return None
        data = tree.read(entry, limit_bytes=MAX_TEAM_FILE_BYTES) if entry.kind is EntryKind.FILE else None
    except GitError as error:
        raise ConfigError(f"{TEAM_FILE} cannot be read: {lasting(error)}", hint=error.hint) from error
    if data is None:
        raise ConfigError(f"{TEAM_FILE} is not a file", hint="make it one, or remove it")
    return parse_team_config(data, file=TEAM_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the names in a folder say about how it renders; `overlays` are the folders with a kustomization in there."""

    is_kustomization: bool
    is_chart: bool
    overlays: tuple[str, ...] = ()


_SHAPES: Remembered[str, Shape] = Remembered(16_384)
_DISCOVERED: Remembered[tuple[str, ...], Service] = Remembered(16_384)  # by name, path, id and environment


def services_of(
    tree: Tree,
    *,
    team: TeamConfig | None,
    patterns: Sequence[str],
    environment: str,
    template: str | None = None,
) -> dict[str, Service]:
    """The services of a revision in one environment, by name, declared ones first.

    `patterns`: the operator's, used where .towline.yaml names no services. `template`: the environment that this one
    was made from, whose overlays and values serve it too. Raises ConfigError when the list as a whole cannot be
    trusted: whoever is missing from it would be removed.
    """
    made = _Maker(tree, [name for name in (environment, template) if name])
    declared = team.services if team else {}
    services = {name: made.declared(name, entry) for name, entry in declared.items()}
    discover = team.discover if team and (team.services or team.discover) else patterns
    taken = {service.path for service in services.values()} | {entry.path for entry in declared.values()}
    try:
        found = _discovered(tree, discover)
    except GitError as error:
        raise ConfigError(f"the services cannot be listed: {lasting(error)}", hint=error.hint) from error
    for name, folders in found.items():
        folders = [folder for folder in folders if folder.path not in taken]
        if folders and name not in declared:
            service = made.discovered(name, folders, free=lambda label: label not in services)
            services[service.name] = service
    _check_size(services, discover)
    services = {name: _with_known_dependencies(service, services) for name, service in services.items()}
    grouped = _groups(team.groups if team else {})
    return services | {
        name: replace(services[name], group=group) for name, group in grouped.items() if name in services
    }


class _Maker:
    """Makes services for one environment, which goes by one name or by its own and its template's."""

    def __init__(self, tree: Tree, names: Sequence[str]) -> None:
        self._tree = tree
        self._names = names

    def declared(self, name: str, entry: ServiceEntry) -> Service:
        """A service of .towline.yaml."""
        written = next((entry.overlays[n] for n in self._names if n in entry.overlays), entry.path)
        service = Service(
            name=name,
            path=written,
            renderer=Renderer(entry.render or Renderer.PLAIN),
            values=tuple(self._filled(value) for value in entry.values),
            substitute=dict(entry.substitute),
            depends_on=tuple(entry.depends_on),
            entry=entry,
            entry_digest=_digest(entry.model_dump(mode="json"), self._names),
        )
        return self._placed(service, said=entry.render is not None)

    def discovered(self, name: str, folders: Sequence[Entry], *, free: Callable[[str], bool]) -> Service:
        """A service found by a pattern; under a name that releases can have, whatever the folder is called."""
        label = _label(name, free)
        if label == name and len(folders) == 1:
            key = (name, folders[0].path, folders[0].id, *self._names)
            return _DISCOVERED.get(key, lambda: self._single(name, folders[0]))
        paths = [folder.path for folder in folders]
        service = Service(
            name=label, path=paths[0], renderer=Renderer.PLAIN, entry_digest=_digest(paths, self._names)
        )
        if label != name:
            error = ConfigError(
                f"{paths[0]} cannot name a service: {name!r} is not a DNS label",
                hint=f"rename the folder to {label}, or name the service under `services` in {TEAM_FILE}",
            )
            return _broken(service, error)
        error = ConfigError(
            f"{len(paths)} folders would be the service {name}: {', '.join(paths)}",
            hint=f"name all but one of them under `services` in {TEAM_FILE}",
        )
        return _broken(service, error)

    def _single(self, name: str, folder: Entry) -> Service:
        service = Service(
            name=name,
            path=folder.path,
            renderer=Renderer.PLAIN,
            entry_digest=_digest([folder.path], self._names),
        )
        try:
            return self._found_out(service, folder.path, shape_of(self._tree, folder))
        except TowlineError as error:
            return _broken(service, error)

    def _placed(self, service: Service, *, said: bool) -> Service:
        """The service with its real renderer and, where overlays lie in its folder, the one of the environment."""
        try:
            path = joined("", service.path)
            entry = resolve(self._tree, path).entry
            if entry is None:
                raise RenderError(f"{service.path} does not exist", hint=f"correct its path in {TEAM_FILE}")
            if said or entry.kind is not EntryKind.FOLDER:
                return _changed(service, path, service.renderer)
            return self._found_out(service, path, shape_of(self._tree, entry))
        except TowlineError as error:
            return _broken(service, error)

    def _found_out(self, service: Service, path: str, shape: Shape) -> Service:
        if shape.is_kustomization and shape.is_chart:
            raise RenderError(
                f"{path} holds a kustomization and a chart", hint=f"say `render` for it in {TEAM_FILE}"
            )
        if shape.is_kustomization or shape.is_chart:
            return _changed(service, path, Renderer.KUSTOMIZE if shape.is_kustomization else Renderer.HELM)
        if not shape.overlays:
            return _changed(service, path, Renderer.PLAIN)
        name = next((name for name in self._names if name in shape.overlays), None)
        if name is None:
            raise RenderError(
                f"{path} has overlays for {', '.join(shape.overlays)}, and none for {self._names[0]}",
                hint=f"add {path}/{OVERLAYS}/{self._names[0]}, or name a folder under `overlays` in {TEAM_FILE}",
            )
        return _changed(service, posixpath.join(path, OVERLAYS, name), Renderer.KUSTOMIZE)

    def _filled(self, value: str) -> str:
        """A values file; of an environment made from a template, the template's name is the one in the repository."""
        return value.replace("{environment}", self._names[-1])


def shape_of(tree: Tree, folder: Entry) -> Shape:
    """The shape of a folder, from memory when one of this id was seen before; its path may lead through a link."""
    return _SHAPES.get(folder.id, lambda: _shape(tree, resolve(tree, folder.path).entry or folder))


def _shape(tree: Tree, folder: Entry) -> Shape:
    children = tree.children(folder.path)
    names = {entry.name for entry in children}
    kustomization = not names.isdisjoint(FILE_NAMES)
    overlays = [e for e in children if e.name == OVERLAYS and e.kind is EntryKind.FOLDER]
    if kustomization or CHART in names or not overlays:
        return Shape(is_kustomization=kustomization, is_chart=CHART in names)
    folders = [entry for entry in tree.children(overlays[0].path) if entry.kind is EntryKind.FOLDER]
    found = tuple(e.name for e in folders if shape_of(tree, e).is_kustomization)
    return Shape(is_kustomization=False, is_chart=False, overlays=found)


def _changed(service: Service, path: str, renderer: Renderer) -> Service:
    if (path, renderer) == (service.path, service.renderer):
        return service
    return replace(service, path=path, renderer=renderer)


def _broken(service: Service, error: TowlineError) -> Service:
    if error.retry:
        raise error  # nothing is wrong with the service
    return replace(service, problem=error)


def _with_known_dependencies(service: Service, services: Mapping[str, Service]) -> Service:
    unknown = [name for name in service.depends_on if name not in services]
    if not unknown or service.problem:
        return service
    error = ConfigError(
        f"{service.name} depends on {', '.join(unknown)}, which this revision does not have",
        hint=f"correct `depends_on` in {TEAM_FILE}",
    )
    return _broken(service, error)


def _groups(groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Whom each service goes together with; groups that share a service are one."""
    together: dict[str, set[str]] = {}
    for members in groups.values():
        merged = set(members).union(*(together.get(name, ()) for name in members))
        together.update(dict.fromkeys(merged, merged))
    return {name: tuple(sorted(merged)) for name, merged in together.items()}


def _check_size(services: Mapping[str, Service], patterns: Sequence[str]) -> None:
    if not services:
        raise ConfigError(
            f"no service is found by {', '.join(patterns) or 'any pattern'}; nothing was removed for that",
            hint=f"name services or patterns in {TEAM_FILE}, or `services` of the repository in towline.yaml",
        )
    if len(services) > MAX_SERVICES:
        raise ConfigError(
            f"{len(services)} services are more than {MAX_SERVICES}", hint="split the repository"
        )


def _discovered(tree: Tree, patterns: Sequence[str]) -> dict[str, list[Entry]]:
    """Folders that match, by the name of the service each would be; names that releases can have come first."""
    found: dict[str, dict[str, Entry]] = {}
    search = _Search(tree)
    for pattern in patterns:
        steps = [step for step in pattern.split("/") if step not in ("", ".")]
        if ".." in steps:
            raise ConfigError(
                f"the pattern {pattern} leads out of the repository", hint="write it without `..`"
            )
        named_by = _named_by(steps)
        for folder in search.folders("", steps, depth=0):
            found.setdefault(folder.path.split("/")[named_by], {})[folder.path] = folder
    names = sorted(found, key=lambda name: (DNS_LABEL.fullmatch(name) is None, name))
    return {name: list(found[name].values()) for name in names}


class _Search:
    """Finds folders by pattern: `*` and `?` inside one name, `**` for any number of folders."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._looked_at = 0

    def folders(self, path: str, steps: Sequence[str], *, depth: int) -> Iterator[Entry]:
        """The folders below `path` that match all steps."""
        if depth > MAX_SEARCH_DEPTH:
            return
        step, further = steps[0], steps[1:]
        if step == "**":
            if further:
                yield from self.folders(path, further, depth=depth + 1)
            for folder in self._children(path, "*", follow=False):
                if not further:
                    yield folder
                yield from self.folders(folder.path, steps, depth=depth + 1)
            return
        for folder in self._matching(path, step):
            if further:
                yield from self.folders(folder.path, further, depth=depth + 1)
            else:
                yield folder

    def _matching(self, path: str, step: str) -> Iterator[Entry]:
        if any(mark in step for mark in WILDCARDS):
            yield from self._children(path, step, follow=True)
            return
        folder = self._folder(f"{path}/{step}" if path else step)
        if folder:
            yield folder

    def _children(self, path: str, step: str, *, follow: bool) -> Iterator[Entry]:
        """Folders whose name matches; names that start with `.` or `_` only if the pattern does so too."""
        matches = re.compile(translate(step)).match
        for entry in self._tree.children(path):
            self._looked_at += 1
            if self._looked_at > MAX_LOOKED_AT:
                raise ConfigError("the patterns of services match too much", hint="write them more narrowly")
            name = entry.name
            hidden = name[0] in "._" and step[0] != name[0]
            if hidden or not matches(name):
                continue
            if entry.kind is EntryKind.FOLDER:
                yield entry
            elif follow and entry.kind is EntryKind.SYMLINK and (folder := self._folder(entry.path)):
                yield folder

    def _folder(self, path: str) -> Entry | None:
        try:
            entry = resolve(self._tree, path).entry
        except GitError as error:
            lasting(error)
            return None
        return replace(entry, path=path) if entry and entry.kind is EntryKind.FOLDER else None


def _named_by(steps: Sequence[str]) -> int:
    """Which part of a path that matches names the service: that at the pattern's last wildcard, or the last."""
    at = [index for index, step in enumerate(steps) if any(mark in step for mark in WILDCARDS)]
    return -1 if "**" in steps or not at else at[-1]


def _label(name: str, free: Callable[[str], bool]) -> str:
    """The name itself if it is a DNS label, or the nearest one that no other service has."""
    if DNS_LABEL.fullmatch(name):
        return name
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LABEL_LENGTH].strip("-") or "service"
    if free(label):
        return label
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{label[: LABEL_LENGTH - 7]}-{digest}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
