"""Who set which field: `metadata.managedFields` read and written, and what an apply does to the entries of others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from towline.demo.fields import Fields, changed, common, merge, minus, names_of
from towline.demo.request import Object, Refusal, Target, Writer

Entries = dict[tuple[str, str, str], Fields]  # (manager, operation, subresource) -> fields


def entries_of(object: Object) -> Entries:
    """The entries of an object."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in object["metadata"].get("managedFields") or []
    }


def entry_of(object: Object, writer: Writer) -> Fields:
    """The fields of one writer."""
    return entries_of(object).get((writer.manager, writer.operation, ""), {})


def after_apply(
    live: Object, applied: Object, mine: Fields, writer: Writer
) -> tuple[Entries, dict[str, Fields]]:
    """The other managers' fields after this apply, and those of them that it sets to another value."""
    theirs = {key: fields for key, fields in entries_of(live).items() if key[:2] != (writer.manager, "Apply")}
    differing = common(mine, changed(live, merge(live, applied)))
    conflicts = {key[0]: both for key, fields in theirs.items() if (both := common(fields, differing))}
    return {key: minus(fields, differing) for key, fields in theirs.items()}, conflicts


def after_update(live: Object, result: Object, target: Target, writer: Writer) -> Entries:
    """All fields after an update: what it changed is the writer's."""
    mine = changed(live, result)
    entries = {key: minus(fields, mine) for key, fields in entries_of(live).items()}
    own = (writer.manager, "Update", target.subresource)
    entries[own] = union({own: entries.get(own, {}), ("", "", ""): mine})
    return entries


def union(entries: Mapping[tuple[str, str, str], Fields]) -> Fields:
    """The fields of all of them."""
    total: Fields = {}
    for fields in entries.values():
        total = _joined(total, fields)
    return total


def _joined(left: Fields, right: Fields) -> Fields:
    return {name: _joined(left.get(name, {}), right.get(name, {})) for name in dict.fromkeys([*left, *right])}


def written(target: Target, entries: Entries) -> list[Object]:
    """The entries as `managedFields` has them."""
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": target.kind.api_version,
            "time": now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
            **({"subresource": subresource} if subresource else {}),
        }
        for (manager, operation, subresource), fields in entries.items()
        if fields
    ]


def conflict(conflicts: dict[str, Fields]) -> Refusal:
    """The refusal of an apply without force."""
    problems = [
        (path, f'conflict with "{manager}"')
        for manager, fields in conflicts.items()
        for path in names_of(fields)
    ]
    text = ", ".join(f"{what}: {where}" for where, what in problems)
    message = f"Apply failed with {len(problems)} conflicts: {text}"
    return Refusal(409, "Conflict", message, problems, cause="FieldManagerConflict")


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
