"""What an environment allows, judged before anything is asked of the cluster but which kinds it serves.

In: rendered objects, which anybody who may push has written. Out: the same objects as they will be sent (normalised, with
their namespace), each with its key, resource and digest; or PolicyRefused with every problem of every object. No state.
The objects of a stored revision come through here too before they are used again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from towline.shared.cluster import PATH_SEGMENT
from towline.shared.config import Environment
from towline.shared.controls import ALLOWED, OURS, Hook, control_problems, hook
from towline.shared.discovery import Resource
from towline.shared.errors import PolicyRefused, Problem, RenderError, UnknownKind
from towline.shared.model import DNS_LABEL, Object, ObjectKey
from towline.shared.objects import (
    GROUP,
    annotations_of,
    canonical,
    digest,
    group_kind,
    key_of,
    metadata_of,
    normalise,
)
from towline.worker.fields import mapping, mappings
from towline.worker.order import is_built_in
from towline.worker.render.rendered import Rendered

OBJECT_BYTES = 1_500_000  # etcd refuses more, and no dry run says so

# KEP-3659: whoever may set these decides what a prune deletes.
APPLYSET = "applyset.kubernetes.io/"
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123, of groups, versions and plurals
REVISION_TYPE = f"{GROUP}/revision"  # the type of the Secrets that hold stored revisions
CONTROLS = frozenset({*(f"{OURS}{name}" for name in ALLOWED), f"{OURS}wave"})

# What goes with these is not in Git: everything in a namespace, every object of a kind, the data of a volume.
PROTECTED_KINDS = frozenset(
    {"Namespace", "CustomResourceDefinition.apiextensions.k8s.io", "PersistentVolumeClaim"}
)

Resources = Callable[[str, str], Resource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One object as it is sent, but for the label of its set; `digest` is of exactly that."""

    object: Object
    key: ObjectKey
    resource: Resource
    digest: str
    file: str
    line: int

    def problem(self, message: str, *, path: str | None = None) -> Problem:
        """Something that is wrong with this object, said with the place where a person can change it."""
        return Problem(message=message, object=str(self.key), file=self.file, line=self.line, path=path)


def check(rendered: Sequence[Rendered], environment: Environment, resources: Resources) -> tuple[Placed, ...]:
    """Every object with its namespace, or PolicyRefused. `resources` is `Cluster.resource`; ClusterDown passes through."""
    own = own_resources(one.object for one in rendered)
    problems: list[Problem] = []
    placed: dict[ObjectKey, Placed] = {}
    for one in rendered:
        found = [_at(one, problem) for problem in _form_problems(one.object)]
        if not found:
            resource = _resource(one.object, own, resources)
            found = _judge(one, resource, environment=environment, placed=placed)
        problems += found
    if problems:
        raise PolicyRefused(
            f"environment {environment.name} does not allow {_count(len(problems))} of what was rendered",
            hint="correct the objects, or change the environment's limits in towline.yaml",
            problems=problems,
        )
    return tuple(placed.values())


def _count(problems: int) -> str:
    return "one thing" if problems == 1 else f"{problems} things"


def own_resources(objects: Iterator[Object] | Sequence[Object]) -> Mapping[tuple[str, str], Resource]:
    """The kinds that CustomResourceDefinitions among these objects define, by apiVersion and kind."""
    return {
        (one.api_version, one.kind): one for object in objects if is_crd(object) for one in _defined(object)
    }


def is_crd(object: Object) -> bool:
    """Whether this is a CustomResourceDefinition."""
    return object.get("kind") == "CustomResourceDefinition" and str(object.get("apiVersion")).startswith(
        "apiextensions.k8s.io/"
    )


def _defined(crd: Object) -> Iterator[Resource]:
    spec = mapping(crd.get("spec"))
    names = mapping(spec.get("names"))
    for version in mappings(spec.get("versions")):
        if not version.get("served"):
            continue
        parts = (spec.get("group"), version.get("name"), names.get("plural"))
        # These become parts of a path.
        if all(isinstance(part, str) and SUBDOMAIN.fullmatch(part) for part in parts):
            yield Resource(
                group=str(spec["group"]),
                version=str(version["name"]),
                kind=str(names.get("kind")),
                plural=str(names["plural"]),
                namespaced=spec.get("scope") == "Namespaced",
            )


def _resource(
    object: Object, own: Mapping[tuple[str, str], Resource], resources: Resources
) -> Resource | UnknownKind:
    api_version, kind = object["apiVersion"], object["kind"]
    try:
        # What is served comes first: a CRD in a repository must not say what a Secret is.
        return resources(api_version, kind)
    except UnknownKind as error:
        return own.get((api_version, kind), error)


def _judge(
    one: Rendered,
    resource: Resource | UnknownKind,
    *,
    environment: Environment,
    placed: dict[ObjectKey, Placed],
) -> list[Problem]:
    """The problems of one object of the right form; without any it is added to `placed`."""
    if isinstance(resource, UnknownKind):
        return [_at(one, Problem(message=f"{resource.message}: {resource.hint}"))]
    try:
        item = _placed(one, resource, environment)
    except RenderError as error:
        return [_at(one, Problem(message=error.message))]
    problems = [
        *_kind_problems(item.key, resource, environment),
        *_namespace_problems(item.key, environment),
        *_reserved_problems(item.object),
        *control_problems(item.object),
        *_hook_problems(item.key, item.object),
        *_size_problems(item.object),
    ]
    if (other := placed.get(item.key)) is not None:
        problems.append(Problem(message=f"the same object is also in {other.file}:{other.line}"))
    if not problems:
        placed[item.key] = item
    return [_at(one, problem, item.key) for problem in problems]


def _placed(one: Rendered, resource: Resource, environment: Environment) -> Placed:
    object = normalise(one.object)
    metadata = {name: value for name, value in metadata_of(object).items() if name != "namespace"}
    if resource.namespaced:
        metadata["namespace"] = metadata_of(object).get("namespace") or environment.namespace
    object = {**object, "metadata": metadata}
    return Placed(
        object=object,
        key=key_of(object),
        resource=resource,
        digest=digest(object),
        file=one.file,
        line=one.line,
    )


def _at(one: Rendered, problem: Problem, key: ObjectKey | None = None) -> Problem:
    return replace(problem, file=one.file, line=one.line, object=str(key or key_of(one.object)))


def _form_problems(object: Object) -> Iterator[Problem]:
    """What everything after this takes for granted."""
    for field in ("apiVersion", "kind"):
        if not isinstance(object.get(field), str) or not object[field]:
            yield Problem(message="every object needs one", path=field)
    metadata = object.get("metadata")
    if not isinstance(metadata, dict):
        yield Problem(message="every object needs one, with a name in it", path="metadata")
        return
    yield from _name_problems(metadata)
    for field in ("labels", "annotations"):
        yield from _text_problems(metadata.get(field), f"metadata.{field}")


def _name_problems(metadata: Mapping[str, Any]) -> Iterator[Problem]:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if metadata.get("generateName"):
        yield Problem(
            message="cannot be used: every sync would make another object; give it a name",
            path="metadata.generateName",
        )
    elif not isinstance(name, str) or not PATH_SEGMENT.fullmatch(name):
        yield Problem(
            message="is not the name of an object",
            path="metadata.name",
            found=_short(name),
            allowed="text without / or %",
        )
    if namespace and not (isinstance(namespace, str) and DNS_LABEL.fullmatch(namespace)):
        yield Problem(
            message="is not the name of a namespace",
            path="metadata.namespace",
            found=_short(namespace),
            allowed="a DNS label",
        )


def _text_problems(values: object, path: str) -> Iterator[Problem]:
    if values is None:
        return
    if not isinstance(values, dict):
        yield Problem(message="must be a mapping of names to texts", path=path)
        return
    for name, value in values.items():
        if not isinstance(value, str):
            yield Problem(
                message="must be a text; put it in quotes",
                path=f"{path}[{_short(name)}]",
                found=_short(value),
            )


def _kind_problems(key: ObjectKey, resource: Resource, environment: Environment) -> Iterator[Problem]:
    if key.group == GROUP:
        yield Problem(message="Towline keeps its own records in this kind; it cannot come from a repository")
    allowed = environment.allowed_kinds
    if allowed is not None and not _is_allowed(key, allowed):
        yield Problem(
            message=f"the environment does not allow this kind ({group_kind(key)})",
            allowed=", ".join(sorted(allowed)),
        )
    if not resource.namespaced and not environment.cluster_scoped:
        yield Problem(message="the environment does not allow cluster-scoped objects (cluster_scoped: false)")


def _is_allowed(key: ObjectKey, allowed: frozenset[str]) -> bool:
    # A bare name is Kubernetes' own kind: others have an Ingress or a Service that is something else altogether.
    return group_kind(key) in allowed or (is_built_in(key.group) and key.kind in allowed)


def _namespace_problems(key: ObjectKey, environment: Environment) -> Iterator[Problem]:
    is_namespace = (key.group, key.kind) == ("", "Namespace")
    named = key.name if is_namespace else key.namespace
    allowed = (environment.namespace, *environment.allowed_namespaces)
    if named and named not in allowed:
        yield Problem(
            message=f"namespace {named} is outside the environment",
            path="metadata.name" if is_namespace else "metadata.namespace",
            allowed=", ".join(allowed),
        )


def _reserved_problems(object: Object) -> Iterator[Problem]:
    for field in ("labels", "annotations"):
        for name in metadata_of(object).get(field) or ():
            if str(name).startswith(APPLYSET):
                yield Problem(
                    message="says what belongs to a release, which only Towline does; take it out",
                    path=f"metadata.{field}[{name}]",
                )
    if object.get("kind") == "Secret" and object.get("type") == REVISION_TYPE:
        yield Problem(message="Towline keeps its stored revisions in Secrets of this type", path="type")
    yield from _unknown_controls(object)


def _unknown_controls(object: Object) -> Iterator[Problem]:
    """A misspelt annotation of ours would silently do nothing, and `prune: disabled` must never do nothing."""
    for name in annotations_of(object):
        if str(name).startswith(OURS) and name not in CONTROLS:
            near = difflib.get_close_matches(str(name), CONTROLS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield Problem(
                message=f"is not an annotation that Towline knows{meant}",
                path=f"metadata.annotations[{name}]",
                allowed=", ".join(sorted(CONTROLS)),
            )


def _hook_problems(key: ObjectKey, object: Object) -> Iterator[Problem]:
    """A hook is deleted before its next run: what would go with these is not in Git."""
    if hook(object) in (Hook.PRE_SYNC, Hook.POST_SYNC) and group_kind(key) in PROTECTED_KINDS:
        yield Problem(
            message=f"a {key.kind} cannot be a hook, since hooks are deleted; take the annotation off"
        )


def _size_problems(object: Object) -> Iterator[Problem]:
    size_bytes = len(canonical(object))
    if size_bytes > OBJECT_BYTES:
        yield Problem(
            message=f"has {size_bytes:,} bytes; a cluster stores at most {OBJECT_BYTES:,} an object"
        )


def _short(value: object) -> str:
    return repr(value)[:80]
