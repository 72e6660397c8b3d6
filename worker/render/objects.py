"""From documents to the objects of a service: lists taken apart, values put in, and everything that can be known
to be wrong without a cluster, all of it in one error.

In: rendered documents. Out: objects in the same order. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from towline.shared.errors import Problem, RenderError
from towline.worker.render.rendered import Loaded, Rendered
from towline.worker.render.substitute import substituted

MAX_OBJECTS = 5_000  # of one service; the largest real ones have some hundred
MAX_OBJECT_BYTES = 1_572_864  # 1.5 MiB as JSON: etcd's default limit for one request
MAX_PROBLEMS = 20
MAX_LIST_DEPTH = 4  # a List in a List

LIST = "List"


def objects_of(documents: Iterable[Loaded], *, substitute: Mapping[str, str]) -> tuple[Rendered, ...]:
    """The objects in these documents; raises RenderError with every problem found."""
    problems: list[Problem] = []
    objects: list[Rendered] = []
    for document in documents:
        for item in expanded(document, problems):
            value = substituted(item.value, substitute)
            rendered = Rendered(object=value, file=item.file, line=item.line)
            objects.append(rendered)
            problems += checked(rendered)
    if len(objects) > MAX_OBJECTS:
        problems.append(
            Problem(message=f"renders {len(objects)} objects", allowed=f"at most {MAX_OBJECTS} a service")
        )
    problems += duplicates(objects)
    if problems:
        raise failed(problems)
    return tuple(objects)


def failed(problems: Sequence[Problem], *, what: str = "the manifests cannot be used") -> RenderError:
    """One error for all these problems; of very many, the first."""
    hint = "correct what is named and push again; nothing was changed"
    if len(problems) > MAX_PROBLEMS:
        what = f"{what} (the first {MAX_PROBLEMS} of {len(problems)} problems)"
    return RenderError(what, hint=hint, problems=problems[:MAX_PROBLEMS])


def expanded(document: Loaded, problems: list[Problem], *, depth: int = 0) -> Iterator[Loaded]:
    """The document, or what is in it when it is a `List` of any kind."""
    value = document.value
    if not isinstance(value, dict):
        allowed = "objects of their own, or a `kind: List`" if isinstance(value, list) else "a mapping"
        message = f"is a {_kind_of(value)}, not an object"
        problems.append(Problem(message=message, file=document.file, line=document.line, allowed=allowed))
    elif not is_list(value):
        yield document
    elif depth >= MAX_LIST_DEPTH:
        message = f"lists are more than {MAX_LIST_DEPTH} deep"
        problems.append(Problem(message=message, file=document.file, line=document.line))
    else:
        places = document.document.places() if document.document else None
        for index, item in enumerate(value["items"]):
            line = places.line_of(("items", index)) if places else document.line
            inner = Loaded(value=_typed_item(item, value), file=document.file, line=line)
            yield from expanded(inner, problems, depth=depth + 1)


def is_list(value: Mapping[str, Any]) -> bool:
    """As the API's own clients tell: the kind ends in List and there are items."""
    return str(value.get("kind")).endswith(LIST) and isinstance(value.get("items"), list)


def _typed_item(item: object, parent: Mapping[str, Any]) -> object:
    """Items of a typed list (`ConfigMapList`) may leave out what the list already says."""
    kind = str(parent["kind"])[: -len(LIST)]
    if not kind or not isinstance(item, dict):
        return item
    return {"apiVersion": parent.get("apiVersion"), "kind": kind, **item}


def checked(rendered: Rendered) -> list[Problem]:
    """What is wrong with one object by itself."""
    value = rendered.object
    problems = []
    for field in ("apiVersion", "kind"):
        if not _is_text(value.get(field)):
            problems.append(_problem(rendered, f"has no {field}", path=field))
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        problems.append(_problem(rendered, "has no metadata", path="metadata"))
    elif not (_is_text(metadata.get("name")) or _is_text(metadata.get("generateName"))):
        problems.append(_problem(rendered, _missing_name(metadata.get("name")), path="metadata.name"))
    elif not isinstance(metadata.get("namespace", ""), str):
        problems.append(_problem(rendered, "has a namespace that is not text", path="metadata.namespace"))
    if isinstance(value.get("sops"), dict) and "mac" in value["sops"]:
        problems.append(
            _problem(rendered, "is encrypted with SOPS, which cannot be decrypted yet", path="sops")
        )
    return problems or _size(rendered)


def _missing_name(name: object) -> str:
    if isinstance(name, bool | int | float):  # `name: 123`, and in YAML also `name: y`
        return f"has a name that is a {_kind_of(name)}; put it in quotes"
    return "has no name"


def _size(rendered: Rendered) -> list[Problem]:
    try:
        size_bytes = len(json.dumps(rendered.object, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError:
        return [_problem(rendered, "holds characters that are no Unicode text")]
    except ValueError:
        return [_problem(rendered, "holds a number that JSON does not know (.inf or .nan)")]
    if size_bytes > MAX_OBJECT_BYTES:
        message = f"is {size_bytes} bytes as JSON, more than Kubernetes can store"
        return [_problem(rendered, message, allowed=f"at most {MAX_OBJECT_BYTES} bytes")]
    return []


def duplicates(objects: Iterable[Rendered]) -> list[Problem]:
    """Objects that occur twice; names both places."""
    seen: dict[tuple[str, str, str, str], Rendered] = {}
    problems = []
    for rendered in objects:
        key = _key(rendered.object)
        if key is None:
            continue
        first = seen.setdefault(key, rendered)
        if first is not rendered:
            problems.append(_problem(rendered, f"is also in {first.place}", allowed="each object once"))
    return problems


def _key(value: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """Group, kind, namespace and name: two versions of a kind are one object."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not _is_text(metadata.get("name")):
        return None
    group = str(value.get("apiVersion")).rpartition("/")[0]
    return group, str(value.get("kind")), str(metadata.get("namespace") or ""), metadata["name"]


def _problem(
    rendered: Rendered, message: str, *, path: str | None = None, allowed: str | None = None
) -> Problem:
    return Problem(
        message=message,
        object=_shown(rendered.object),
        file=rendered.file,
        line=rendered.line,
        path=path,
        allowed=allowed,
    )


def _shown(value: object) -> str | None:
    """Kind and name, as far as there are any."""
    if not isinstance(value, dict):
        return None
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    text = " ".join(str(part) for part in (value.get("kind"), name) if _is_text(part))
    return text or None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _kind_of(value: object) -> str:
    return {list: "list", str: "text", bool: "truth value"}.get(type(value), "number")
