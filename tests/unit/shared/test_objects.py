"""Pure helpers on plain objects."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.shared.errors import RenderError
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import (
    LAST_APPLIED,
    PART_OF,
    applyset_id,
    canonical,
    digest,
    group_kind,
    is_ours,
    is_terminating,
    key_of,
    mask,
    mask_pair,
    normalise,
    owned_hash,
    redact,
)

SET = applyset_id("orders", "shop")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def applied(manager: str = "towline", **fields: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}, **fields}


def member(**metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "labels": {PART_OF: SET},
            "managedFields": [applied()],
            **metadata,
        },
    }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(**parts: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, **parts}


def test_key_ignores_the_version_and_the_namespace_of_cluster_scoped_objects():
    object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "r", "namespace": "x"},
    }

    assert key_of(object, namespaced=False) == ObjectKey(
        group="rbac.authorization.k8s.io", kind="ClusterRole", namespace="", name="r"
    )
    assert key_of(object).namespace == "x"
    assert group_kind(key_of(object)) == "ClusterRole.rbac.authorization.k8s.io"
    assert group_kind(key_of(member())) == "ConfigMap"


@pytest.mark.parametrize(
    "odd", [{}, {"metadata": None}, {"metadata": []}, {"kind": 3, "metadata": {"name": {}}}]
)
def test_helpers_survive_objects_of_a_wrong_shape(odd: Object):
    assert key_of(odd).name == ""
    assert owned_hash(odd) == ""
    assert not is_ours(odd, SET)
    assert not is_terminating(odd)
    assert mask(odd) == odd
    assert normalise(odd) == odd


@given(JSON_VALUES)
def test_canonical_json_is_the_same_for_equal_values(value: Any):
    again = json.loads(canonical(value))

    assert again == value
    assert canonical(again) == canonical(value)


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_value_that_json_cannot_express_is_a_render_error(value: object):
    with pytest.raises(RenderError):
        canonical({"spec": value})


def test_a_very_deep_value_is_a_render_error():
    value: Any = "x"
    for _ in range(100_000):
        value = [value]

    with pytest.raises(RenderError):
        canonical(value)


def test_normalise_drops_what_a_server_sets_and_changes_nothing_in_place():
    object = member(
        uid="1",
        resourceVersion="2",
        creationTimestamp=None,
        annotations={LAST_APPLIED: "{}", "team": "a"},
    ) | {"status": {"phase": "x"}, "data": {"a": "b"}}
    before = json.dumps(object)

    result = normalise(object)

    assert result == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "labels": {PART_OF: SET},
            "annotations": {"team": "a"},
        },
        "data": {"a": "b"},
    }
    assert json.dumps(object) == before
    assert normalise(result) == result


def test_string_data_becomes_data_and_wins_over_it():
    result = normalise(secret(data={"a": encoded("old"), "b": encoded("kept")}, stringData={"a": "new ü"}))

    assert result["data"] == {"a": encoded("new ü"), "b": encoded("kept")}
    assert "stringData" not in result


def test_string_data_of_a_wrong_type_is_left_to_the_server_to_refuse():
    assert normalise(secret(stringData=["x"]))["stringData"] == ["x"]
    assert normalise(secret(stringData={"a": 1}))["data"] == {"a": 1}


def test_owned_hash_follows_our_apply_entry_alone():
    mine = member()
    with_others = member(
        managedFields=[
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {}}},
            applied(subresource="status", fieldsV1={"f:status": {}}),
            applied(time="2026-01-01T00:00:00Z"),
        ]
    )
    lost_a_field = member(managedFields=[applied(fieldsV1={"f:data": {}})])

    assert owned_hash(mine) == owned_hash(with_others) != ""
    assert owned_hash(mine) != owned_hash(lost_a_field)
    assert owned_hash(member(managedFields=[applied(operation="Update")])) == ""


def test_applyset_id_is_that_of_the_kep():
    # From kubectl's own tests (k8s.io/kubectl/pkg/cmd/apply/apply_test.go): Secret my-set in namespace test.
    kubectl_s = "applyset-0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY-v1"

    assert applyset_id("my-set", "test", group="", kind="Secret") == kubectl_s
    assert len(SET) <= 63


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"labels": {}}, "label"),
        ({"labels": {PART_OF: applyset_id("other", "shop")}}, "another set's label"),
        ({"managedFields": [applied("kubectl")]}, "apply entry"),
        ({"managedFields": [applied(operation="Update")]}, "apply entry, only an update"),
        ({"ownerReferences": [{"kind": "Service", "controller": True}]}, "no controller owner"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_object_without_one_of_the_marks_is_not_ours(changed: dict[str, Any], missing: str):
    assert is_ours(member(), SET)
    assert is_ours(member(ownerReferences=[{"kind": "ConfigMap"}]), SET)

    assert not is_ours(member(**changed), SET), missing


def test_the_release_s_own_namespace_is_never_ours():
    namespace = member(name="shop", namespace=None) | {"kind": "Namespace"}

    assert not is_ours(namespace, SET, release_namespace="shop")
    assert not is_ours(namespace, SET)
    assert is_ours(namespace, SET, release_namespace="elsewhere")


def test_masking_hides_every_value_and_copy_of_a_secret():
    object = secret(data={"password": encoded("hunter2x"), "empty": None}, stringData={"token": "t0ken-abc"})
    object["metadata"]["annotations"] = {
        LAST_APPLIED: json.dumps(object),
        "backup": f"old password {encoded('hunter2x')}",
        "plain": "was hunter2x",
        "team": "payments",
    }

    text = json.dumps(mask(object))

    for value in ("hunter2x", encoded("hunter2x"), "t0ken-abc"):
        assert value not in text
    assert mask(object)["metadata"]["annotations"]["team"] == "payments"
    assert set(mask(object)["data"]) == {"password", "empty"}
    assert object["stringData"] == {"token": "t0ken-abc"}


def test_masking_hides_kubectl_s_copy_on_any_object():
    object = member(annotations={LAST_APPLIED: '{"kind":"ConfigMap"}', "team": "a"})

    assert mask(object)["metadata"]["annotations"] == {LAST_APPLIED: "***", "team": "a"}


@pytest.mark.parametrize("data", ["text", ["a"], 7])
def test_masking_a_secret_whose_data_has_a_wrong_type_shows_none_of_it(data: object):
    assert mask(secret(data=data))["data"] == "***"


def test_masked_diff_tells_changed_values_apart_without_showing_them():
    before, after = mask_pair(
        secret(data={"a": "MQ==", "b": "Mg=="}), secret(data={"a": "MQ==", "b": "Mw==", "c": "NA=="})
    )

    assert before is not None and after is not None
    assert before["data"] == {"a": "***", "b": "*** (before)"}
    assert after["data"] == {"a": "***", "b": "*** (after)", "c": "*** (after)"}
    assert mask_pair(None, secret(data={"a": "MQ=="}))[0] is None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"data": {"a": 31337}}, ".data.a: expected string, got &value.valueUnstructured{Value:31337}"),
        (
            {"data": {"a": {"deep": "pa55word"}}},
            'expected string, got map[string]interface {}{"deep":"pa55word"}',
        ),
        ({"stringData": {"a": 'quo"ted\nlong'}}, r'bad value "quo\"ted\nlong" here'),
        ({"data": {"a": "not base64!"}}, 'Invalid value: "not base64!": illegal'),
        ({"data": {"a": encoded("pa55word")}}, "cannot use pa55word"),
    ],
)
def test_redacting_a_server_s_message_leaves_no_value_in_it(parts: dict[str, Any], message: str):
    text = redact(message, secret(**parts))

    for leaked in ("31337", "pa55word", "quo", "not base64!"):
        assert leaked not in text


def test_redacting_leaves_messages_about_other_objects_and_short_values_readable():
    message = 'Deployment.apps "a" is invalid: spec.x: Invalid value: "b"'

    assert redact(message, member()) == message
    assert redact("secrets is forbidden", secret(data={"a": "s"})) == "secrets is forbidden"
