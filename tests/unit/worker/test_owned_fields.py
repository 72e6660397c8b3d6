"""Which fields somebody took from us, by managedFields alone."""

import pytest

from towline.worker.owned_fields import covers, lost_fields, without_field

CONTAINER = {"name": "app", "image": "example.com/app:1"}
SPEC = {"template": {"spec": {"containers": [{"name": "proxy"}, CONTAINER]}}}
IMAGE = {
    "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}}}
}


def entry(
    manager: str, fields: dict, *, operation: str = "Update", time: str = "", subresource: str = ""
) -> dict:
    """An entry of managedFields."""
    return {
        "manager": manager,
        "operation": operation,
        "time": time,
        "subresource": subresource,
        "fieldsV1": fields,
    }


def thing(*entries: dict) -> dict:
    """An object with these entries."""
    return {"metadata": {"managedFields": list(entries)}, "spec": SPEC}


def ours(fields: dict) -> dict:
    """Our own entry."""
    return entry("towline", fields, operation="Apply")


def test_a_field_in_a_list_is_named_by_its_place_and_its_owner():
    live = thing(ours({}), entry("kubectl-edit", IMAGE))

    (lost,) = lost_fields(live, thing(ours(IMAGE)))

    assert (lost.pointer, lost.manager) == ("/spec/template/spec/containers/1/image", "kubectl-edit")


def test_nothing_is_lost_where_we_own_the_same():
    live = thing(ours({"f:data": {"f:a": {}}}), entry("other", {"f:data": {"f:b": {}}}))

    assert lost_fields(live, thing(ours({"f:data": {"f:a": {}}}))) == ()


def test_a_removed_field_is_told_by_whoever_wrote_last():
    live = thing(
        ours({}),
        entry("early", {"f:x": {}}, time="2026-01-01T00:00:00Z"),
        entry("late", {"f:y": {}}, time="2026-01-02T00:00:00Z"),
        entry("status", {"f:status": {}}, time="2026-01-03T00:00:00Z", subresource="status"),
    )

    (lost,) = lost_fields(live, thing(ours({"f:data": {"f:a": {}}})))

    assert lost.manager == "late"


def test_names_with_slashes_and_values_of_sets_become_pointers():
    fields = {"f:metadata": {"f:annotations": {"f:a/b~c": {}}, "f:finalizers": {'v:"z"': {}}}}
    applied = {"metadata": {"finalizers": ["y", "z"], "managedFields": [ours(fields)]}}

    found = {field.pointer for field in lost_fields(thing(), applied)}

    assert found == {"/metadata/annotations/a~1b~0c", "/metadata/finalizers/1"}


@pytest.mark.parametrize(
    ("pointer", "is_covered"),
    [("/spec", True), ("/spec/template/spec/containers/1", True), ("/spec/te", False), ("/", False)],
)
def test_a_place_covers_what_is_in_it(pointer, is_covered):
    (lost,) = lost_fields(thing(ours({})), thing(ours(IMAGE)))

    assert covers([pointer], lost) == is_covered


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("f:a f:b", {"a": {"c": [1, {"d": 2, "e": 3}]}}),
        ('f:a f:c k:{"d":2} f:e', {"a": {"b": 1, "c": [1, {"d": 2}]}}),
        ('f:a f:c k:{"d":2}', {"a": {"b": 1, "c": [1]}}),
        ('f:a f:c k:{"d":2,"protocol":"TCP"} f:e', {"a": {"b": 1, "c": [1, {"d": 2}]}}),
        ('f:a f:c k:{"d":9} f:e', {"a": {"b": 1, "c": [1, {"d": 2, "e": 3}]}}),
        ("f:a f:c v:1", {"a": {"b": 1, "c": [{"d": 2, "e": 3}]}}),
        ("f:x f:y", {"a": {"b": 1, "c": [1, {"d": 2, "e": 3}]}}),
    ],
)
def test_a_field_is_left_out_of_a_copy(path, expected):
    value = {"a": {"b": 1, "c": [1, {"d": 2, "e": 3}]}}

    assert without_field(value, tuple(path.split())) == expected
    assert value == {"a": {"b": 1, "c": [1, {"d": 2, "e": 3}]}}


def test_an_item_of_a_list_whose_fields_are_all_left_out_is_left_out_whole():
    value = {"list": [{"name": "a", "x": 1}, {"name": "b"}]}

    for field in ("f:x", "f:name"):
        value = without_field(value, ("f:list", 'k:{"name":"a"}', field))

    assert value == {"list": [{"name": "b"}]}


@pytest.mark.parametrize(("image", "is_same"), [("example.com/app:1", True), ("example.com/app:2", False)])
def test_a_field_that_somebody_changed_back_is_the_same(image, is_same):
    live = thing(ours({}), entry("kubectl-edit", IMAGE))
    containers = [{"name": "app", "image": image}, {"name": "proxy"}]
    live["spec"] = {"template": {"spec": {"containers": containers}}}

    (lost,) = lost_fields(live, thing(ours(IMAGE)))

    assert lost.is_same is is_same
