import json

import pytest

from towline.shared.documents import load_documents
from towline.shared.errors import RenderError
from towline.shared.model import Object
from towline.worker.render.objects import MAX_OBJECT_BYTES, MAX_OBJECTS, MAX_PROBLEMS, expanded, objects_of
from towline.worker.render.rendered import Loaded, Rendered

ITEMS = b"apiVersion: v1\nkind: List\nitems:\n- kind: A\n  text: |\n    - not an item\n\n- kind: B\n"


def map_named(name: str, **more: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def loaded(*values: object) -> list[Loaded]:
    return [Loaded(value=value, file="a.yaml", line=line) for line, value in enumerate(values, 1)]


def objects(*values: object) -> tuple[Rendered, ...]:
    return objects_of(loaded(*values), substitute={})


def refused(*values: object) -> str:
    with pytest.raises(RenderError) as caught:
        objects(*values)
    return str(caught.value)


def test_objects_keep_their_order_and_place() -> None:
    found = objects(map_named("b"), map_named("a"))
    assert [(r.object["metadata"]["name"], r.place) for r in found] == [("b", "a.yaml:1"), ("a", "a.yaml:2")]


def test_lists_are_taken_apart() -> None:
    # given
    inner = {"apiVersion": "v1", "kind": "List", "items": [map_named("b"), map_named("c")]}
    # when
    found = objects(map_named("a"), {"apiVersion": "v1", "kind": "List", "items": [inner, map_named("d")]})
    # then
    assert [r.object["metadata"]["name"] for r in found] == ["a", "b", "c", "d"]


def test_items_of_a_typed_list_get_its_kind() -> None:
    found = objects({"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": {"name": "a"}}]})
    assert found[0].object == map_named("a")


def test_a_kind_that_only_sounds_like_a_list_is_an_object() -> None:
    value = {
        "apiVersion": "x.example.com/v1",
        "kind": "AllowList",
        "metadata": {"name": "a"},
        "spec": {"items": []},
    }
    assert objects(value)[0].object == value


@pytest.mark.parametrize(
    "source", [ITEMS, b'{"apiVersion": "v1", "kind": "List",\n"items": [\n{"a": 1},\n{"b": 2}]}']
)
def test_items_of_a_list_have_their_own_lines(source: bytes) -> None:
    # given
    [document] = load_documents(source, file="a.yaml")
    whole = Loaded(value=document.value, file="a.yaml", line=1, document=document)
    # when
    lines = [item.line for item in expanded(whole, [])]
    # then
    assert [source.split(b"\n")[line - 1].strip()[:3] for line in lines] in (
        [b"- k", b"- k"],
        [b'{"a', b'{"b'],
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"kind": "ConfigMap", "metadata": {"name": "x"}},
            "a.yaml:1: apiVersion: ConfigMap x: has no apiVersion",
        ),
        ({"apiVersion": "v1", "metadata": {"name": "x"}}, "a.yaml:1: kind: x: has no kind"),
        ({"apiVersion": 1, "kind": "ConfigMap", "metadata": {"name": "x"}}, "has no apiVersion"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "has no metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "has no metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "has no name"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 7}},
            "a name that is a number; put it in",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": True}},
            "a name that is a truth value",
        ),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": 7}}, "not text"),
        ("text", "is a text, not an object"),
        ([map_named("a")], "is a list, not an object; allowed: objects of their own, or a `kind: List`"),
        (7, "is a number"),
        (True, "is a truth value"),
        (map_named("x", sops={"mac": "ENC[]"}), "encrypted with SOPS"),
        (map_named("x", data={"a": float("nan")}), ".nan"),
        (map_named("x", data={"a": "\ud800"}), "no Unicode"),
    ],
)
def test_what_is_wrong_with_an_object_is_said_with_its_place(value: object, said: str) -> None:
    assert said in refused(value)


def test_a_generated_name_is_left_to_the_policy() -> None:
    value = {"apiVersion": "v1", "kind": "Job", "metadata": {"generateName": "x-"}}
    assert len(objects(value, value)) == 2


@pytest.mark.parametrize(
    "second",
    [
        map_named("x"),
        {"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "x"}},  # another version of the same
    ],
)
def test_an_object_that_occurs_twice_is_refused_naming_both_places(second: Object) -> None:
    assert "a.yaml:2: ConfigMap x: is also in a.yaml:1" in refused(map_named("x"), second)


@pytest.mark.parametrize(
    "second",
    [
        {"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "other"}},
    ],
)
def test_objects_of_one_name_that_differ_in_group_kind_or_namespace_are_two(second: Object) -> None:
    assert len(objects(map_named("x"), second)) == 2


def test_all_problems_are_told_at_once_up_to_a_limit() -> None:
    said = refused(*({"kind": "A"} for _ in range(30)))
    assert said.count("\n  - ") == MAX_PROBLEMS
    assert "the first 20 of 60 problems" in said


@pytest.mark.parametrize(
    ("count", "is_refused"), [(2_000, False), (MAX_OBJECTS, False), (MAX_OBJECTS + 1, True)]
)
def test_the_number_of_objects_has_a_limit(count: int, is_refused: bool) -> None:
    values = [map_named(f"x{n}") for n in range(count)]
    if is_refused:
        assert f"at most {MAX_OBJECTS}" in refused(*values)
    else:
        assert len(objects(*values)) == count


@pytest.mark.parametrize(("extra", "is_refused"), [(0, False), (1, True)])
def test_the_size_of_an_object_has_a_limit(extra: int, is_refused: bool) -> None:
    empty = len(json.dumps(map_named("x", data={"a": ""})).encode())
    value = map_named(
        "x",
        data={"a": "ä" * ((MAX_OBJECT_BYTES - empty) // 2) + "b" * ((MAX_OBJECT_BYTES - empty) % 2 + extra)},
    )
    if is_refused:
        assert "ConfigMap x: is 1572865 bytes as JSON, more than Kubernetes can store" in refused(value)
    else:
        assert len(objects(value)) == 1


def test_lists_in_lists_have_a_limit() -> None:
    value: Object = map_named("x")
    for _ in range(10):
        value = {"apiVersion": "v1", "kind": "List", "items": [value]}
    assert "lists are more than 4 deep" in refused(value)


def test_values_are_put_in_before_objects_are_compared() -> None:
    with pytest.raises(RenderError, match="is also in"):
        objects_of(loaded(map_named("${NAME}"), map_named("x")), substitute={"NAME": "x"})
