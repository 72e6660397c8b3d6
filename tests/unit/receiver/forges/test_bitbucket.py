"""Bitbucket: several refs in a delivery or none, and two products with one signature."""

from __future__ import annotations

import json
from typing import Any

import pytest
from parts.deliveries import AFTER, BEFORE, payload, sent

from towline.receiver.forges.forge import Kind, Message, Request
from towline.receiver.forges.rules import RULES
from towline.shared.errors import DeliveryError
from towline.shared.model import Forge

CLOUD, SERVER = Forge.BITBUCKET, Forge.BITBUCKET_SERVER


def read(forge: Forge, said: Any, **headers: str) -> Message:
    """What a payload says."""
    delivery = sent(forge, said)
    lower = {name.lower(): value for name, value in delivery.headers.items()}
    lower |= {name.replace("_", "-"): value for name, value in headers.items()}
    return RULES[forge].message(Request(headers=lower, body=delivery.body), delivery.body)


def state(name: str, revision: str = AFTER, kind: str = "branch") -> dict[str, Any]:
    """A ref as Cloud writes it."""
    return {"type": kind, "name": name, "target": {"hash": revision}}


def with_changes(forge: Forge, *changes: Any) -> dict[str, Any]:
    """A payload with these changes."""
    said = payload(forge)
    if forge is CLOUD:
        said["push"]["changes"] = list(changes)
    else:
        said["changes"] = list(changes)
    return said


def test_all_refs_of_a_cloud_push_are_read() -> None:
    said = with_changes(
        CLOUD,
        {"old": state("a", BEFORE), "new": state("a")},
        {"old": None, "new": state("b")},
        {"old": state("c", BEFORE), "new": None},
        {"old": None, "new": state("v1", kind="tag")},
    )

    pushes = read(CLOUD, said).pushes

    assert [(push.ref, push.before, push.after) for push in pushes] == [
        ("refs/heads/a", BEFORE, AFTER),
        ("refs/heads/b", None, AFTER),
        ("refs/heads/c", BEFORE, None),
        ("refs/tags/v1", None, AFTER),
    ]


def test_all_refs_of_a_server_push_are_read() -> None:
    changes = [{"ref": {"id": f"refs/heads/{name}"}, "fromHash": BEFORE, "toHash": AFTER} for name in "abc"]

    assert [push.ref[-1] for push in read(SERVER, with_changes(SERVER, *changes)).pushes] == ["a", "b", "c"]


@pytest.mark.parametrize("forge", [CLOUD, SERVER])
def test_a_push_may_have_no_refs(forge: Forge) -> None:
    assert read(forge, with_changes(forge)).pushes == ()


def test_a_ref_named_twice_is_one_push() -> None:
    changes = [
        {"ref": {"id": "refs/heads/a"}, "fromHash": "1" * 40, "toHash": "2" * 40},
        {"ref": {"id": "refs/heads/a"}, "fromHash": "2" * 40, "toHash": "3" * 40},
    ]

    (push,) = read(SERVER, with_changes(SERVER, *changes)).pushes

    assert (push.before, push.after) == ("1" * 40, "3" * 40)


def test_more_refs_than_the_limit_are_refused() -> None:
    def changes(count: int) -> list[Any]:
        return [{"ref": {"id": f"refs/heads/{n}"}, "fromHash": BEFORE, "toHash": AFTER} for n in range(count)]

    assert len(read(SERVER, with_changes(SERVER, *changes(1000))).pushes) == 1000
    with pytest.raises(DeliveryError, match="1001 refs"):
        read(SERVER, with_changes(SERVER, *changes(1001)))


def test_a_change_without_states_is_refused() -> None:
    with pytest.raises(DeliveryError):
        read(CLOUD, with_changes(CLOUD, {"old": None, "new": None}))


def test_what_is_neither_branch_nor_tag_is_left_out() -> None:
    said = with_changes(CLOUD, {"old": None, "new": state("x", kind="bookmark")})

    assert read(CLOUD, said).pushes == ()


def test_a_branch_and_a_tag_of_one_name_are_two_refs() -> None:
    said = with_changes(CLOUD, {"old": None, "new": state("x")}, {"old": None, "new": state("x", kind="tag")})

    assert [push.ref for push in read(CLOUD, said).pushes] == ["refs/heads/x", "refs/tags/x"]


@pytest.mark.parametrize(
    ("forge", "event"),
    [
        (CLOUD, "repo:refs_changed"),
        (CLOUD, "diagnostics:ping"),
        (SERVER, "repo:push"),
        (SERVER, "pullrequest:created"),
    ],
)
def test_an_event_of_the_other_product_is_refused(forge: Forge, event: str) -> None:
    with pytest.raises(DeliveryError, match="is not an event of"):
        read(forge, payload(forge), x_event_key=event)


def test_the_test_button_is_a_ping() -> None:
    assert read(SERVER, {"test": True}, x_event_key="diagnostics:ping").kind is Kind.PING


@pytest.mark.parametrize(
    "clone", [None, {}, "x", [None], [{}], [{"href": None}], [{"href": 1}], [{"href": []}]]
)
def test_odd_clone_links_are_refused(clone: Any) -> None:
    said = json.loads(json.dumps(payload(SERVER)))
    said["repository"]["links"] = {"clone": clone}

    with pytest.raises(DeliveryError):
        read(SERVER, said)


def test_an_old_server_names_project_and_slug_only() -> None:
    said = payload(SERVER)
    del said["repository"]["links"]

    message = read(SERVER, said)

    assert (message.urls, message.path) == ((), "ACME/shop")
