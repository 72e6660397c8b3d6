"""`towline diff` of a local checkout against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from parts.control_plane import ControlPlane
from parts.service import Service, config_map, deployment

from towline.cli.main import EXIT_ERROR, EXIT_NEGATIVE, EXIT_OK, main
from towline.shared.documents import dump
from towline.shared.model import Object, ReleaseName
from towline.shared.records import Owner, Records
from towline.shared.release import ReleaseStatus

Diff = Callable[..., tuple[int, str, str]]

SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}


@pytest.fixture
def diff(
    tmp_path: Path, service: Service, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> Diff:
    """`diff(object, ..., options=[...])` writes a checkout and answers exit code, output and errors."""
    config = {
        "clusters": {"local": {"kubeconfig": str(control_plane.kubeconfig)}},
        "environments": {"staging": {"cluster": "local", "namespace": service.environment.namespace}},
    }
    (tmp_path / "towline.yaml").write_text(dump(config))
    (tmp_path / ".towline.yaml").write_text(dump({"services": {"orders": {"path": "deploy"}}}))
    (tmp_path / "deploy").mkdir()

    def run(*objects: Object, name: str = "orders", options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        (tmp_path / "deploy" / "all.yaml").write_text("---\n".join(dump(one) for one in objects))
        arguments = ["diff", name, "-e", "staging", "--path", str(tmp_path)]
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(tmp_path / "towline.yaml"), *options])
        answered = capsys.readouterr()
        return int(str(ended.value.code)), answered.out, answered.err

    return run


def remember(service: Service, records: Records) -> None:
    """Write the record that a sync would have written."""
    owner = Owner(
        name=ReleaseName("staging", "orders"), namespace=service.environment.namespace, repository="shop"
    )
    release = records.claim(owner, None, token="t", group_kinds=["ConfigMap"], namespaces=[])
    records.write_status(release, ReleaseStatus(objects=service.recorded))


def test_a_checkout_that_is_live_already_exits_with_0(service: Service, records: Records, diff: Diff) -> None:
    service.sync(config_map("settings", {"a": "1"}))
    remember(service, records)

    code, out, _ = diff(config_map("settings", {"a": "1"}))

    assert (code, out) == (EXIT_OK, "staging/orders: nothing to change\n")


def test_a_changed_field_is_shown_and_nothing_is_written(
    service: Service, records: Records, diff: Diff
) -> None:
    service.sync(config_map("settings", {"a": "1", "b": "1"}))
    remember(service, records)

    code, out, _ = diff(config_map("settings", {"a": "2", "b": "1"}))

    assert code == EXIT_NEGATIVE
    assert "-  a: '1'\n+  a: '2'\n" in out
    live = service.live("ConfigMap", "settings")
    assert live is not None and live["data"]["a"] == "1"


def test_drift_is_shown_with_whom_the_field_is_taken_over_from(
    service: Service, records: Records, diff: Diff
) -> None:
    service.sync(config_map("settings", {"a": "1"}))
    remember(service, records)
    resource = service.cluster.resource("v1", "ConfigMap")
    patch = {"data": {"a": "9"}}
    service.cluster.merge_patch(
        resource, "settings", service.environment.namespace, patch, manager="somebody"
    )

    code, out, _ = diff(config_map("settings", {"a": "1"}))

    assert code == EXIT_NEGATIVE
    assert "-  a: '9'\n+  a: '1'\n" in out
    assert ".data.a taken over from somebody" in out


def test_what_would_be_created_and_deleted_is_shown(service: Service, records: Records, diff: Diff) -> None:
    service.sync(config_map("old", {"a": "1"}))
    remember(service, records)

    code, out, _ = diff(config_map("new", {"b": "2"}), options=("--output", "json"))

    assert code == EXIT_NEGATIVE
    changes = {one["action"]: one for one in json.loads(out)["changes"]}
    assert changes.keys() == {"create", "delete"}
    assert "+  b: '2'" in changes["create"]["diff"]
    assert "-  a: '1'" in changes["delete"]["diff"]


def test_values_of_secrets_are_told_apart_and_not_told(service: Service, diff: Diff) -> None:
    service.sync({**SECRET, "stringData": {"a": "hunter2", "b": "same-old"}})

    code, out, err = diff({**SECRET, "stringData": {"a": "swordfish", "b": "same-old"}})

    assert code == EXIT_NEGATIVE
    assert "*** (before)" in out and "*** (after)" in out
    for told in ("hunter2", "swordfish", "aHVudGVyMg", "c3dvcmRmaXNo", "same-old", "c2FtZS1vbGQ"):
        assert told not in out + err


def test_objects_that_would_be_refused_exit_with_2_and_their_place(service: Service, diff: Diff) -> None:
    code, _, err = diff(config_map("settings"), deployment("web", replicas=-1))

    assert code == EXIT_ERROR
    assert "deploy/all.yaml:" in err
    assert "spec.replicas" in err


def test_an_unknown_service_exits_with_2_and_the_nearest_name(diff: Diff) -> None:
    code, _, err = diff(config_map("settings"), name="order")

    assert code == EXIT_ERROR
    assert "did you mean orders?" in err
