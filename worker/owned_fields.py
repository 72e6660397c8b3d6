"""Which of our fields somebody else changed, told by managedFields alone. Pure.

In: an object as it is, and as it would be if we applied it again (a dry run). Out: the fields that we owned and do not own
any more, each with whoever has it now. Ownership moves with a change, so values tell only whether somebody changed it back;
see https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management and, for the form of FieldsV1,
https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/fieldpath/serialize-pe.go
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.shared.model import Object
from towline.shared.objects import applied_entry, metadata_of

Path = tuple[str, ...]  # the keys of FieldsV1: `f:spec`, `k:{"name":"app"}`, `v:"x"`, `i:0`

ITSELF = "."  # of FieldsV1: the item or map as such
UNKNOWN = "somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostField:
    """A field that we do not own any more. `pointer` is its place (RFC 6901), `manager` who has it now.

    `is_same`: it has the value that we applied all the same.
    """

    pointer: str
    path: Path
    manager: str
    is_same: bool = False

    def __str__(self) -> str:
        return f"{self.pointer} by {self.manager}"


def lost_fields(live: Object, applied: Object) -> tuple[LostField, ...]:
    """The fields that we own after an apply and not before it, by place. Where `live` is metadata alone, none is the same."""
    lost = _paths(_fields(applied_entry(applied))) - _paths(_fields(applied_entry(live)))
    others = [entry for entry in _entries(live) if entry is not applied_entry(live)]
    return tuple(
        LostField(
            pointer=pointer_of(path, applied),
            path=path,
            manager=_manager(path, others),
            is_same=_value(path, live) == _value(path, applied),
        )
        for path in sorted(lost)
        if path[-1] != ITSELF
    )


def covers(pointers: Iterable[str], field: LostField) -> bool:
    """Whether one of these places is this field, or holds it."""
    return any(field.pointer == pointer or field.pointer.startswith(f"{pointer}/") for pointer in pointers)


def without_field(object: Object, path: Path) -> Object:
    """The object without this field, as it is where it has none. An item of a list of which nothing is left goes as well."""
    without: Object = _without(object, path)
    return without


def _without(value: Any, path: Path) -> Any:  # noqa: ANN401 - any part of an object
    part, *rest = path
    place = _place(part, value)
    if place is None:
        return value
    left = _without(value[place], tuple(rest)) if rest else None
    if isinstance(value, list):
        return [*value[:place], *([left] if left else []), *value[place + 1 :]]
    others = {name: one for name, one in value.items() if name != place or rest}
    return {**others, place: left} if rest else others


def pointer_of(path: Path, object: Object) -> str:
    """A path of FieldsV1 as a JSON pointer; an item of a list by its index in this object."""
    pointer, here = "", object
    for part in path:
        name, here = _step(part, here)
        pointer += f"/{name.replace('~', '~0').replace('/', '~1')}"
    return pointer


def _value(path: Path, object: Object) -> Any:  # noqa: ANN401 - any part of an object
    here: Any = object
    for part in path:
        _, here = _step(part, here)
    return here


def _step(part: str, here: Any) -> tuple[str, Any]:  # noqa: ANN401 - any part of an object
    place = _place(part, here)
    return (part.partition(":")[2], None) if place is None else (str(place), here[place])


def _place(part: str, here: Any) -> Any:  # noqa: ANN401 - a name or an index, None where there is no such part
    kind, _, rest = part.partition(":")
    if kind == "f":
        return rest if isinstance(here, dict) and rest in here else None
    items = here if isinstance(here, list) else []
    wanted = _parsed(rest)
    exact = (index for index, item in enumerate(items) if _is_item(kind, item, index, wanted))
    # What is to be applied may lack a part of its key that the API server fills in.
    brief = (index for index, item in enumerate(items) if _is_item(kind, item, index, wanted, may_lack=True))
    return next(exact, next(brief, None))


def _is_item(kind: str, item: object, index: int, wanted: object, *, may_lack: bool = False) -> bool:
    if kind == "k":
        return (
            isinstance(item, dict)
            and isinstance(wanted, dict)
            and all(item.get(name, value if may_lack else None) == value for name, value in wanted.items())
        )
    return bool(item == wanted) if kind == "v" else index == wanted


def _parsed(text: str) -> Any:  # noqa: ANN401 - what a key of FieldsV1 names
    try:
        return json.loads(text)
    except ValueError:
        return None


def _manager(path: Path, others: Sequence[Mapping[str, Any]]) -> str:
    """Who owns it now; of a field that was removed, who wrote the object last."""
    owners = [entry for entry in others if _has(_fields(entry), path)]
    candidates = owners or [entry for entry in others if not entry.get("subresource")]
    newest = max(candidates, key=lambda entry: str(entry.get("time") or ""), default=None)
    return str(newest.get("manager") or UNKNOWN) if newest is not None else UNKNOWN


def _has(fields: Mapping[str, Any], path: Path) -> bool:
    for part in path:
        following = fields.get(part)
        if not isinstance(following, dict):
            return False
        if not following:
            return True  # the whole below it
        fields = following
    return True


def _paths(fields: Mapping[str, Any]) -> set[Path]:
    return set(_leaves(fields, ()))


def _leaves(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for part, below in fields.items():
        if isinstance(below, dict) and below:
            yield from _leaves(below, (*path, part))
        else:
            yield (*path, part)


def _entries(object: Object) -> list[Mapping[str, Any]]:
    return [one for one in metadata_of(object).get("managedFields") or () if isinstance(one, dict)]


def _fields(entry: Mapping[str, Any] | None) -> Mapping[str, Any]:
    fields = entry.get("fieldsV1") if entry else None
    return fields if isinstance(fields, dict) else {}
