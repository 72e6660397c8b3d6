"""What somebody changes in the cluster is put back, or reported, by what the record holds: no Git is asked."""

import json
import time

import pytest
from parts.eventually import eventually
from parts.manifests import config_map, deployment, several

from towline.shared.jobs import HealArguments, SteerArguments, Steering
from towline.shared.model import Phase
from towline.worker.heal import heal
from towline.worker.repairs import WINDOW_SECONDS
from towline.worker.steer import steer

ORDERS = "services/orders/app.yaml"
TEAM = ".towline.yaml"


def look(engine) -> str:
    """What the watcher asks for when it sees an object differ."""
    return heal(engine.tools, HealArguments(release="staging/orders"))


def edit(engine, control_plane, kind: str, name: str, patch: dict, *, manager: str = "kubectl-edit") -> None:
    """Somebody changes an object."""
    control_plane.kubectl(
        *("-n", engine.namespace, "patch", kind, name, "--type=merge", f"--field-manager={manager}"),
        *("--patch", json.dumps(patch)),
    )


@pytest.fixture
def orders(engine):
    """A service that is deployed and healthy; its revision."""
    revision = engine.deploy({ORDERS: several(config_map("orders", a="1"), deployment("orders"))})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def test_a_changed_field_is_put_back_and_told_with_whoever_changed_it(engine, orders, control_plane):
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}}, manager="mallory")

    line = look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert "/data/a by mallory" in line
    events = control_plane.kubectl("-n", engine.namespace, "events", "--for", "release/orders")
    assert "DriftHealed" in events


def test_a_removed_field_and_a_deleted_object_come_back(engine, orders, control_plane):
    edit(engine, control_plane, "configmap", "orders", {"data": None})
    control_plane.kubectl("-n", engine.namespace, "delete", "deployment", "orders")

    line = look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert engine.live("Deployment", "orders", api_version="apps/v1") is not None
    assert "Deployment.apps" in line
    assert "was deleted" in line


def test_what_others_add_is_no_drift(engine, orders, control_plane):
    edit(engine, control_plane, "configmap", "orders", {"data": {"b": "theirs"}})
    live = engine.live("ConfigMap", "orders")

    assert look(engine) == "as it was applied"
    assert engine.live("ConfigMap", "orders") == live


def test_nothing_is_written_where_nothing_differs(engine, orders):
    before = engine.release("orders")

    assert look(engine) == "as it was applied"
    assert engine.release("orders") == before


@pytest.mark.parametrize("engine", [{"environment": {"drift": "report"}}], indirect=True)
def test_an_environment_that_only_reports_says_who_changed_what_and_writes_nothing(
    engine, orders, control_plane
):
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}}, manager="mallory")

    look(engine)
    look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}
    assert "/data/a by mallory" in engine.release("orders").status.drift[0]
    events = control_plane.kubectl("-n", engine.namespace, "events", "--for", "release/orders")
    assert events.count("Drifted") == 1


@pytest.mark.parametrize("engine", [{"environment": {"drift": "off"}}], indirect=True)
def test_an_environment_that_does_not_look_leaves_everything(engine, orders, control_plane):
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})

    look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}


def test_a_field_that_is_to_be_ignored_stays_and_the_rest_is_put_back(engine, control_plane):
    team = 'services: {orders: {path: services/orders, ignore_drift: ["/data/a"]}}'
    engine.deploy({ORDERS: config_map("orders", a="1", b="1"), TEAM: team})
    engine.eventually("orders", Phase.HEALTHY)

    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})
    ignored = look(engine)
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "3", "b": "3"}})
    look(engine)

    assert ignored == "as it was applied"
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "3", "b": "1"}


def test_a_field_that_somebody_writes_again_and_again_is_left_alone_and_named(engine, orders, control_plane):
    line = fight(engine, control_plane)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "5"}
    assert "left alone" in line
    assert "/data/a by operator-x" in engine.release("orders").status.drift[0]
    assert synced(engine) == ("False", "Drifted")


def fight(engine, control_plane) -> str:
    """Another controller writes `a` until it is left alone; the last line of the job."""
    for number in range(2, 6):
        edit(engine, control_plane, "configmap", "orders", {"data": {"a": str(number)}}, manager="operator-x")
        line = look(engine)
    return line


def synced(engine) -> tuple[str, str]:
    """The condition."""
    (found,) = (one for one in engine.release("orders").status.conditions if one.type == "Synced")
    return found.status, found.reason


def let_the_window_pass(engine) -> None:
    """As if all repairs had been made so much earlier."""
    redis, key = engine.tools.broker.redis, "towline:repairs:staging/orders"
    assert redis.exists(key)
    for member, at in redis.zrange(key, 0, -1, withscores=True):
        redis.zadd(key, {member: at - WINDOW_SECONDS})


def test_a_fight_is_counted_by_a_clock_that_all_workers_share(engine, orders, control_plane, monkeypatch):
    redis, an_hour_ahead = engine.tools.broker.redis, time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_ahead)
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})

    look(engine)

    ((_, at),) = redis.zrange("towline:repairs:staging/orders", 0, -1, withscores=True)
    assert abs(at - engine.tools.broker.time()) < WINDOW_SECONDS


def test_other_fields_of_an_object_are_put_back_while_one_is_fought_for(engine, control_plane):
    engine.deploy({ORDERS: config_map("orders", a="1", b="1", c="1")})
    engine.eventually("orders", Phase.HEALTHY)
    for field in "bcb":  # of one object as often as is borne of one field
        edit(engine, control_plane, "configmap", "orders", {"data": {field: "2"}})
        look(engine)
    fight(engine, control_plane)

    edit(engine, control_plane, "configmap", "orders", {"data": {"c": "2"}})
    line = look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "5", "b": "1", "c": "1"}
    assert "put back: ConfigMap" in line
    assert "/data/c by kubectl-edit" in line
    (said,) = engine.release("orders").status.drift
    assert "/data/a by operator-x" in said
    assert "/data/c" not in said
    assert "/data/a by operator-x" in look(engine)  # which is seen to differ as before


def test_when_the_window_has_passed_a_field_is_put_back_once_more_and_told_of_if_that_lasts(
    engine, orders, control_plane
):
    fight(engine, control_plane)
    let_the_window_pass(engine)

    look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert engine.release("orders").status.drift == ()
    assert synced(engine) == ("True", "Healthy")
    assert "/data/a by operator-x" in events_of_drift(engine, control_plane)[-1]


def test_a_fight_that_goes_on_when_the_window_has_passed_is_stopped_at_once(engine, orders, control_plane):
    fight(engine, control_plane)
    let_the_window_pass(engine)
    look(engine)

    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "6"}}, manager="operator-x")
    line = look(engine)

    assert "left alone" in line
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "6"}


@pytest.mark.parametrize("engine", [{"environment": {"drift": "report"}}], indirect=True)
def test_what_somebody_changes_and_changes_back_is_not_said_to_differ_any_more(engine, orders, control_plane):
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})
    look(engine)
    differing = synced(engine)

    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "1"}})
    look(engine)
    mended, said = synced(engine), engine.release("orders").status.drift
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "3"}})
    look(engine)

    assert differing == ("False", "Drifted")
    assert (mended, said) == (("True", "Healthy"), ())
    assert "/data/a by kubectl-edit" in engine.release("orders").status.drift[0]


def test_what_a_sync_applies_again_is_not_said_to_differ_any_more(engine, control_plane):
    team = "services: {orders: {path: services/orders, drift: report}}"
    engine.deploy({ORDERS: several(config_map("orders", a="1"), config_map("other", a="1")), TEAM: team})
    engine.eventually("orders", Phase.HEALTHY)
    for name in ("orders", "other"):
        edit(engine, control_plane, "configmap", name, {"data": {"a": "2"}})
    look(engine)

    engine.deploy({ORDERS: several(config_map("orders", a="3"), config_map("other", a="1"))})

    (line,) = engine.release("orders").status.drift
    assert "/other changed" in line


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_what_the_api_server_refuses_to_have_put_back_is_told_at_once_and_only_once(
    engine, control_plane, how
):
    engine.deploy({ORDERS: several(config_map("orders", a="1"), config_map("other", a="1"))})
    engine.eventually("orders", Phase.HEALTHY)
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})
    if how == "changed":
        edit(engine, control_plane, "configmap", "other", {"data": {"a": "2"}, "immutable": True})
    else:
        control_plane.kubectl("-n", engine.namespace, "delete", "configmap", "other")
        allow_no_more_config_maps(engine, control_plane)

    look(engine)
    told = engine.release("orders").status.drift
    look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert engine.release("orders").status.drift == told
    (line,) = told
    assert f"/other {'was ' * (how == 'deleted')}{how}" in line
    assert "not put back" in line
    assert sorted("/other" in one for one in events_of_drift(engine, control_plane)) == [False, True]


def events_of_drift(engine, control_plane) -> list[str]:
    """What was told as an Event of what was put back, and of what was not."""
    found = json.loads(control_plane.kubectl("-n", engine.namespace, "get", "events", "-o", "json"))["items"]
    return [one["message"] for one in found if one["reason"] in ("DriftHealed", "Drifted")]


def allow_no_more_config_maps(engine, control_plane) -> None:
    """As many as there are: the one of each namespace, and one of ours."""
    quota = ("quota", "full", "--hard=configmaps=2")
    control_plane.kubectl("-n", engine.namespace, "create", *quota)
    eventually(lambda: engine.live("ResourceQuota", "full")["status"]["used"]["configmaps"] == "2")


def test_replicas_set_through_the_scale_subresource_are_no_drift_a_second_time(engine, orders, control_plane):
    control_plane.kubectl("-n", engine.namespace, "scale", "deployment", "orders", "--replicas=2")

    look(engine)

    assert engine.live("Deployment", "orders", api_version="apps/v1")["spec"]["replicas"] == 2
    assert look(engine) == "as it was applied"


def test_a_suspended_release_is_healed(engine, orders, control_plane):
    steer(engine.tools, SteerArguments(release="staging/orders", action=Steering.SUSPEND, operator="ada"))
    edit(engine, control_plane, "configmap", "orders", {"data": {"a": "2"}})

    look(engine)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert engine.release("orders").status.phase is Phase.SUSPENDED


def test_a_job_that_is_gone_does_not_run_again(engine, control_plane):
    job = """apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: example.com/once}]}
"""
    engine.deploy({ORDERS: several(config_map("orders"), job)})
    eventually(lambda: engine.live("Job", "once", api_version="batch/v1"))
    control_plane.kubectl("-n", engine.namespace, "delete", "job", "once")

    look(engine)

    assert engine.live("Job", "once", api_version="batch/v1") is None
