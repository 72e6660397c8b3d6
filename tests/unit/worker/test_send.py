"""What is sent, and what is taken out of it."""

from __future__ import annotations

from typing import Any

import pytest

from towline.shared.objects import PART_OF
from towline.worker.send import as_member, without

DEPLOYMENT: dict[str, Any] = {"spec": {"replicas": 2, "template": {"spec": {"a": 1}}}}


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (".spec.replicas", {"spec": {"template": {"spec": {"a": 1}}}}),
        (".spec.template.spec.a", {"spec": {"replicas": 2, "template": {"spec": {}}}}),
        (".spec.other", DEPLOYMENT),
        (".other.replicas", DEPLOYMENT),
        (".spec.replicas.deeper", DEPLOYMENT),
        ('.spec.containers[name="a"].image', DEPLOYMENT),
        ("", DEPLOYMENT),
    ],
)
def test_a_field_is_taken_out_and_nothing_else(path: str, left: dict[str, Any]) -> None:
    before = {"spec": dict(DEPLOYMENT["spec"])}

    assert without(DEPLOYMENT, path) == left
    assert before == DEPLOYMENT  # objects are never changed in place


def test_a_member_carries_the_label_beside_its_own() -> None:
    object = {"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"app": "x"}}}

    member = as_member(object, "applyset-x-v1")

    assert member["metadata"]["labels"] == {"app": "x", PART_OF: "applyset-x-v1"}
    assert object["metadata"]["labels"] == {"app": "x"}  # type: ignore[index]
