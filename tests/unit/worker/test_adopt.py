"""Whose entries become ours when an object comes from kubectl."""

from __future__ import annotations

from typing import Any

from towline.shared.model import Object
from towline.worker.adopt import merged_entries

DATA = {"f:data": {"f:a": {}}}


def live(*entries: dict[str, Any]) -> Object:
    return {"metadata": {"managedFields": list(entries)}}


def entry(manager: str, operation: str = "Update", fields: Any = None, **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsV1": fields or DATA,
        **more,
    }


def test_nothing_is_done_where_kubectl_has_no_entry() -> None:
    assert merged_entries(live(entry("towline", "Apply"), entry("kube-controller-manager"))) is None
    assert merged_entries({}) is None


def test_kubectls_entries_are_merged_into_ours() -> None:
    ours = entry("towline", "Apply", {"f:data": {".": {}, "f:a": {}}})
    theirs = entry("kubectl-client-side-apply", fields={"f:data": {"f:b": {"f:c": {}}}, "f:metadata": {}})
    other = entry("kube-controller-manager")

    merged = merged_entries(live(theirs, other, ours))

    assert merged is not None
    assert merged[0] == {
        **ours,
        "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {"f:c": {}}}, "f:metadata": {}},
    }
    assert merged[1:] == [other]


def test_without_an_entry_of_ours_theirs_becomes_an_apply() -> None:
    merged = merged_entries(live(entry("kubectl", "Apply"), entry("kubectl-create")))

    assert merged is not None
    (only,) = merged
    assert (only["manager"], only["operation"]) == ("towline", "Apply")


def test_what_was_scaled_or_edited_by_hand_is_not_taken_over_silently() -> None:
    scaled, edited = entry("kubectl", subresource="scale"), entry("kubectl-edit")

    assert merged_entries(live(scaled, edited)) is None
