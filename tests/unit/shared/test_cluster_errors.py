"""A server's error answers as errors of our tree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from towline.shared.cluster_errors import MESSAGE_LENGTH, error_of
from towline.shared.errors import ClusterDown, ClusterError, FieldConflict, Immutable, TowlineError
from towline.shared.model import Object

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
}


def status(message: str, *, reason: str = "", causes: Any = None) -> bytes:
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason}
    return json.dumps(body | {"details": {"causes": causes or []}}).encode()


def error(
    code: int, body: bytes, *, headers: dict[str, str] | None = None, sent: Object = DEPLOYMENT
) -> TowlineError:
    return error_of(code, headers or {}, body, doing="apply of Deployment.apps shop/web failed", object=sent)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (429, "too many requests"),
        (500, "Internal error occurred: failed calling webhook"),
        (500, "etcdserver: request timed out"),
        (
            500,
            "failed to convert live object (x) to proper version: conversion webhook for a/v1 failed: refused",
        ),
        (502, "bad gateway"),
        (503, "apiserver is shutting down"),
        (504, "timeout"),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(code: int, message: str):
    failed = error(code, status(message))

    assert isinstance(failed, ClusterDown)
    assert failed.retry
    assert message in failed.message


@pytest.mark.parametrize(
    "message",
    [
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.x: field not declared in schema",
        "failed to convert new object (shop/web; apps/v1, Kind=Deployment) to proper version: unable to convert",
        "failed to convert new object (shop/web; apps/v1, Kind=Deployment) to smd typed: duplicate entries",
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2105000 vs. 2097152)",
    ],
)
def test_permanent_faults_sent_as_500_are_not_tried_again(message: str):
    failed = error(500, status(message))

    assert isinstance(failed, ClusterError)
    assert not failed.retry
    assert failed.code == 500


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("100000", 60.0), ("soon", 2.0), ("-1", 2.0), ("²", 2.0), (None, 2.0)]
)
def test_retry_after_is_read_within_reason(header: str | None, seconds: float):
    failed = error(429, status("slow down"), headers={} if header is None else {"Retry-After": header})

    assert failed.retry_after == seconds


def test_a_field_conflict_names_the_fields_and_their_manager():
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl-scale" with subresource "scale" using apps/v1',
        "field": ".spec.replicas",
    }

    failed = error(409, status("Apply failed with 1 conflict", reason="Conflict", causes=[cause]))

    assert isinstance(failed, FieldConflict)
    assert not failed.retry
    assert [(one.path, "kubectl-scale" in one.message) for one in failed.problems] == [
        (".spec.replicas", True)
    ]


def test_a_namespace_that_is_being_deleted_is_waited_for_and_no_question_of_rights():
    cause = {"reason": "NamespaceTerminating", "message": "namespace shop is being terminated"}
    text = 'configmaps "web" is forbidden: unable to create new content in namespace shop'

    failed = error(403, status(text, reason="Forbidden", causes=[cause]))

    assert failed.retry
    assert text in failed.message
    assert "service account" not in failed.hint


def test_a_write_that_lost_a_race_may_be_tried_again_and_an_existing_object_not():
    race = error(409, status("the object has been modified", reason="Conflict"))
    exists = error(409, status('"web" already exists', reason="AlreadyExists"))

    assert (type(race), race.retry) == (ClusterError, True)
    assert (type(exists), exists.retry) == (ClusterError, False)


@pytest.mark.parametrize(
    "message",
    [
        'Deployment.apps "web" is invalid: spec.selector: Invalid value: {}: field is immutable',
        'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: []: may not change once set',
        'RoleBinding "r" is invalid: roleRef: Invalid value: {}: cannot change roleRef',
        'StatefulSet.apps "s" is invalid: spec: Forbidden: updates to statefulset spec for fields other than x',
        'StorageClass.storage.k8s.io "s" is invalid: parameters: Forbidden: updates to parameters are forbidden.',
        'ConfigMap "c" is invalid: data: Forbidden: field is immutable when `immutable` is set',
        'PriorityClass.scheduling.k8s.io "p" is invalid: value: Forbidden: may not be changed in an update.',
        'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.tolerations`',
    ],
)
def test_immutable_fields_are_told_apart_and_the_hint_names_the_annotation(message: str):
    failed = error(422, status(message, reason="Invalid"))

    assert isinstance(failed, Immutable)
    assert "towline.dev/recreate" in failed.hint


def test_other_invalid_values_are_not_immutable_fields():
    failed = error(
        422, status("spec.replicas: Invalid value: -1: must be greater than or equal to 0", reason="Invalid")
    )

    assert type(failed) is ClusterError


def test_a_refused_right_says_who_needs_what():
    failed = error(
        403, status('deployments.apps "web" is forbidden: User "x" cannot patch resource', reason="Forbidden")
    )

    assert isinstance(failed, ClusterError)
    assert "cannot patch" in failed.message
    assert "service account" in failed.hint


def test_values_of_a_secret_are_in_no_message_and_no_cause():
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"a": 4711471147},
    }
    cause = {"reason": "FieldValueInvalid", "message": 'Invalid value: "4711471147"', "field": "data[a]"}

    failed = error(
        500,
        status(
            "failed to create typed patch object (x): .data.a: expected string, got 4711471147",
            causes=[cause],
        ),
        sent=secret,
    )

    assert "4711471147" not in str(failed)
    assert "data[a]" in str(failed)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>bad gateway</html>",
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"kind":"Status","message":7,"details":[]}',
        b'{"kind":"Status","details":{"causes":[1,{"message":[]}]}}',
        b"[" * 100_000,
    ],
)
def test_bodies_of_any_shape_become_an_error(body: bytes):
    assert isinstance(error(503, body), ClusterDown)
    assert isinstance(error(400, body), ClusterError)


def test_messages_are_one_line_and_bounded():
    failed = error(400, status("a\x1b[31m\nb" + "x" * 100_000))

    assert "\x1b" not in failed.message and "\n" not in failed.message
    assert len(failed.message) < MESSAGE_LENGTH + 100


def test_a_message_about_a_secret_that_is_too_long_to_search_is_not_shown():
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"a": "hunter2x"},
    }

    failed = error(400, status("hunter2x " * 50_000), sent=secret)

    assert "hunter" not in str(failed)
    assert "too long" in failed.message
