"""What one look at a single key of `towline.yaml` cannot see: names that must exist, be alone, or fit each other; pure.

In: the document as it was read, form unchecked, so that these problems are named in one answer with those of the form:
what has not the form it needs is passed over here. Out: every problem, with its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from towline.shared import branches
from towline.shared.config_values import BRANCH
from towline.shared.model import DNS_LABEL
from towline.shared.paths import is_inside
from towline.shared.urls import RepositoryUrl, parse_repository_url, same_repository
from towline.shared.validation import Fault, Location, as_mapping, as_texts, nearest

Part = Mapping[str, Any]

ADDRESS = "https://host/path or ssh://user@host/path"


def check(value: Any) -> Iterator[Fault]:  # noqa: ANN401 - whatever the file holds
    """The problems of a file beyond those of its form."""
    root = as_mapping(value)
    environments = {name: as_mapping(part) for name, part in as_mapping(root.get("environments")).items()}
    listed = root.get("repositories")
    repositories = [as_mapping(part) for part in listed] if isinstance(listed, list) else []
    yield from _redis(as_mapping(root.get("redis")))
    yield from _environments(environments, clusters=list(as_mapping(root.get("clusters"))))
    yield from _shared_namespaces(environments)
    yield from _ambiguous_names(environments)
    yield from _repositories(repositories, environments=list(environments))


def _redis(part: Part) -> Iterator[Fault]:
    if "@" in _text(part, "url") and urlsplit(_text(part, "url")).password:
        yield ("redis", "url"), "a password never stands in the file itself", "redis.password: {env: NAME}"


def _environments(environments: Mapping[str, Part], *, clusters: Sequence[str]) -> Iterator[Fault]:
    for name, part in environments.items():
        place = ("environments", name)
        cluster, namespace = _text(part, "cluster"), _text(part, "namespace")
        if cluster and cluster not in clusters:
            yield (*place, "cluster"), *_unknown("cluster", cluster, clusters)
        if namespace and not DNS_LABEL.fullmatch(namespace.replace(BRANCH, "x", 1)):
            yield (
                (*place, "namespace"),
                "is not the name of a namespace",
                "a DNS label, with {branch} in a template",
            )
        if BRANCH in namespace:
            room = branches.LABEL_LENGTH - max(len(name) + 1, len(namespace) - len(BRANCH))
            if room < branches.SHORTEST_LABEL:
                yield (
                    place,
                    f"leaves {max(room, 0)} characters for a branch: name or namespace is too long",
                    None,
                )
        elif namespace and "ttl" in part:
            yield (*place, "ttl"), "only an environment with {branch} in its namespace comes to an end", None


def _shared_namespaces(environments: Mapping[str, Part]) -> Iterator[Fault]:
    """Two environments on one namespace would take each other's objects for drift, whatever the branches are called."""
    clusters: dict[str, list[tuple[str, str]]] = {}
    for name, part in environments.items():
        namespace = _text(part, "namespace")
        before = clusters.setdefault(_text(part, "cluster"), [])
        for other, taken in before:
            if namespace and _may_be_equal(taken, namespace):
                message = f"the environment {other} has this namespace of the cluster too ({taken})"
                yield ("environments", name, "namespace"), message, "a namespace of its own"
        before.append((name, namespace))


def _may_be_equal(a: str, b: str) -> bool:
    """Whether two namespaces are, or for some branches could become, the same one."""
    (start_a, mark_a, end_a), (start_b, mark_b, end_b) = a.partition(BRANCH), b.partition(BRANCH)
    if not mark_a and not mark_b:
        return a == b
    if not mark_a or not mark_b:
        fixed, start, end = (a, start_b, end_b) if mark_b else (b, start_a, end_a)
        return len(fixed) > len(start) + len(end) and fixed.startswith(start) and fixed.endswith(end)
    starts = start_a.startswith(start_b) or start_b.startswith(start_a)
    return starts and (end_a.endswith(end_b) or end_b.endswith(end_a))


def _ambiguous_names(environments: Mapping[str, Part]) -> Iterator[Fault]:
    for template, part in environments.items():
        for name in environments:
            if BRANCH in _text(part, "namespace") and name.startswith(f"{template}-"):
                message = f"the template {template} may give this name to the environment of a branch"
                yield ("environments", name), message, f"a name that does not begin with {template}-"


def _repositories(repositories: Sequence[Part], *, environments: Sequence[str]) -> Iterator[Fault]:
    owners: dict[tuple[str, str], str] = {}
    names: set[str] = set()
    for index, part in enumerate(repositories):
        place: Location = ("repositories", index)
        name = _text(part, "name")
        if name and name in names:
            yield (*place, "name"), f"another repository is called {name}", "a name of its own"
        names.add(name)
        url = parse_repository_url(_text(part, "url"))
        if url is not None and owners.setdefault(url.place, name) != name:
            yield (*place, "url"), f"the repository {owners[url.place]} has this address too", None
        yield from _urls(part, url, place)
        yield from _credentials(as_mapping(part.get("credentials")), url, (*place, "credentials"))
        yield from _branches(as_mapping(part.get("branches")), (*place, "branches"), environments)
        for number, pattern in enumerate(as_texts(part.get("services"))):
            if not is_inside(pattern):
                yield (
                    (*place, "services", number),
                    "leads out of the repository",
                    "a relative path without `..`",
                )


def _urls(part: Part, url: RepositoryUrl | None, place: Location) -> Iterator[Fault]:
    text = _text(part, "url")
    if text and url is None:
        yield (*place, "url"), "is not the address of a repository", ADDRESS
    elif url is not None:
        yield from _unsafe_url(url, (*place, "url"), allow_insecure=part.get("allow_insecure") is True)
    for number, alias in enumerate(as_texts(part.get("aliases"))):
        if parse_repository_url(alias) is None:
            yield (*place, "aliases", number), "is not the address of a repository", ADDRESS
        elif same_repository(alias, text):
            yield (*place, "aliases", number), "means the same as the repository's url", None


def _unsafe_url(url: RepositoryUrl, place: Location, *, allow_insecure: bool) -> Iterator[Fault]:
    if url.has_password or (url.has_user and url.scheme != "ssh"):
        yield place, "credentials never stand in an address", "credentials: {username: ..., password: ...}"
    if url.scheme == "git":
        yield place, "the git protocol protects nothing on the way", ADDRESS
    if url.scheme in ("http", "file") and not allow_insecure:
        yield (
            place,
            f"{url.scheme} protects nothing on the way",
            f"{ADDRESS}; {url.scheme} with allow_insecure: true",
        )


def _credentials(part: Part, url: RepositoryUrl | None, place: Location) -> Iterator[Fault]:
    if url is None:
        return
    if url.scheme == "ssh" and "password" in part:
        yield (*place, "password"), "the repository's url is one of ssh", "ssh_key"
    if url.scheme != "ssh" and "ssh_key" in part:
        yield (*place, "ssh_key"), f"the repository's url is one of {url.scheme}", "username and password"
    if "passphrase" in part and "ssh_key" not in part:
        yield (*place, "passphrase"), "has no ssh_key beside it", None


def _branches(mapped: Part, place: Location, environments: Sequence[str]) -> Iterator[Fault]:
    for branch, targets in mapped.items():
        here = (*place, branch)
        if not branches.is_branch_name(branch):
            yield (
                here,
                "is not the name of a branch",
                "a name as Git has it, without refs/heads/, or a pattern",
            )
        names = as_texts([targets] if isinstance(targets, str) else targets)
        for name in names:
            if name not in environments:
                yield here, *_unknown("environment", name, environments)
        if len(set(names)) != len(names):
            yield here, "names an environment twice", None


def _unknown(what: str, name: str, names: Sequence[str]) -> tuple[str, str | None]:
    return f"there is no {what} {name}{nearest(name, names)}", ", ".join(names) or None


def _text(part: Part, key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""
