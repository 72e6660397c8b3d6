"""What an operator's rollback does where the revision is not stored, cannot be used, or does not have the service."""

import json
from functools import partial

import pytest
from parts.failing import Fails, made_ill
from parts.manifests import config_map, deployment

from towline.shared.contained import tips_with
from towline.shared.errors import Unavailable
from towline.shared.jobs import SyncArguments
from towline.shared.model import Phase, Result
from towline.worker.steer import KUBECTL

ORDERS = "services/orders/app.yaml"
KEEP_TWO = [{"sync": {"stored_revisions": 2}}]


def deployed(engine, **data: str) -> str:
    revision = engine.deploy({ORDERS: config_map("orders", **data)})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


@pytest.mark.parametrize("engine", KEEP_TWO, indirect=True)
@pytest.mark.parametrize("pin", [True, False])
def test_a_revision_that_is_not_stored_any_more_is_rendered_again(engine, pin):
    first = deployed(engine, a="1")
    deployed(engine, a="2")
    deployed(engine, a="3")
    assert engine.release("orders").status.stored_of(first) is None

    engine.roll_back("orders", first, pin=pin)

    release = engine.eventually("orders", Phase.HEALTHY)
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert (release.status.stable_revision, release.pinned) == (first, first if pin else "")
    assert release.status.history[0].triggered_by == "ada"


def test_a_revision_that_only_a_fork_has_is_not_deployed(engine):
    engine.origin.allow_ids()  # as a forge, which then gives those of every fork
    foreign = engine.commit({ORDERS: config_map("orders", a="theirs")}, branch="of-a-fork")
    engine.origin.delete_branch("of-a-fork")
    ours = deployed(engine, a="ours")

    engine.roll_back("orders", foreign)

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "ours"}
    assert_is_refused(engine, foreign, stays_at=ours, because="does not contain")
    assert f"name one that is stored: {ours[:10]} (was stable)" in engine.release("orders").status.message


def test_a_refusal_whose_worker_died_after_it_was_recorded_is_one(engine):
    deployed(engine, a="1")
    engine.roll_back("orders", "9" * 40)
    once = engine.release("orders").status.history

    wishes = engine.tools.queue.wishes
    wishes.again(wishes.newest("staging/orders"))
    engine.run(SyncArguments(release="staging/orders"))

    again = engine.release("orders").status.history
    assert [one.result for one in again] == [one.result for one in once] == [Result.REFUSED, Result.HEALTHY]


def test_a_revision_that_kubectl_pins_and_nobody_pushed_is_refused_once_and_what_runs_is_judged_on(
    engine, control_plane
):
    ours = engine.deploy({ORDERS: deployment("orders", replicas=1)})
    engine.eventually("orders", Phase.HEALTHY)
    unknown = "9" * 40
    kubectl = partial(control_plane.kubectl, "-n", engine.namespace)
    kubectl(
        "patch", "release", "orders", "--type=merge", "--patch", json.dumps({"spec": {"pinned": unknown}})
    )

    engine.conclude("orders")
    engine.run_syncs()
    engine.push(trigger="clock")
    engine.conclude("orders")

    release = engine.release("orders")
    assert [one.revision for one in release.status.history] == [unknown, ours]
    assert_is_refused(engine, unknown, stays_at=ours, because="does not contain", by=KUBECTL, pinned=unknown)
    said = f"`towline unpin staging/orders`, or pin it to one that is stored: {ours[:10]} (was stable)"
    assert said in release.status.message
    conditions = {one.type: (one.status, one.reason) for one in release.status.conditions}
    assert conditions["Synced"] == ("False", "Refused")
    assert conditions["Healthy"] == ("True", "Healthy")
    events = kubectl("get", "events", "--field-selector=reason=Refused", "-o", "jsonpath={.items[*].message}")
    assert events.count("does not contain") == 1

    kubectl("patch", "deployment", "orders", "--patch", made_ill(Fails.IMAGE))

    assert "was refused" in engine.eventually_says("orders", "was healthy and is not any more")


def test_a_rollback_whose_stored_objects_are_gone_pins_nothing_and_is_told(engine, control_plane):
    first = deployed(engine, a="1")
    second = deployed(engine, a="2")
    name = engine.release("orders").status.stored_of(first).name
    control_plane.kubectl("-n", engine.namespace, "delete", "secret", name)

    engine.roll_back("orders", first)

    assert_is_refused(engine, first, stays_at=second, because="is gone")
    assert "is gone" in engine.view("orders").status["message"]


def test_a_rollback_of_which_nothing_can_go_back_is_refused(engine):
    first = deployed(engine, a="1")
    second = engine.deploy({ORDERS: config_map("orders", a="2") + "immutable: true\n"})
    engine.eventually("orders", Phase.HEALTHY)

    engine.roll_back("orders", first)

    assert_is_refused(engine, first, stays_at=second, because="one object cannot be applied")
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}


def test_a_pin_to_what_nobody_pushed_is_refused_once_where_a_sync_was_cut_off_before(engine, control_plane):
    deployed(engine, a="1")
    engine.die_after("apply")
    with pytest.raises(Unavailable):
        engine.deploy({ORDERS: config_map("orders", a="2")})
    patch = json.dumps({"spec": {"pinned": "9" * 40}})
    control_plane.kubectl("-n", engine.namespace, "patch", "rel", "orders", "--type=merge", "--patch", patch)
    engine.conclude("orders")
    engine.run_syncs()

    engine.deploy({ORDERS: config_map("orders", a="3")})

    history = engine.release("orders").status.history
    assert [one.result for one in history] == [Result.REFUSED, Result.HEALTHY]


def assert_is_refused(
    engine, revision: str, *, stays_at: str, because: str, by: str = "ada", pinned: str = ""
) -> None:
    """The newest attempt is the operator's, which came to nothing."""
    release = engine.release("orders")
    assert (release.status.revision, release.pinned) == (stays_at, pinned)
    newest = release.status.history[0]
    assert (newest.revision, newest.result, newest.triggered_by) == (revision, Result.REFUSED, by)
    assert because in newest.cause


def test_a_rollback_to_a_revision_without_the_service_removes_nothing(engine):
    before = engine.deploy({"services/cart/app.yaml": config_map("cart")})
    deployed(engine, a="1")

    engine.roll_back("orders", before)

    release = engine.release("orders")
    assert release.status.history[0].result is Result.REFUSED
    assert "does not have this service" in release.status.message
    assert (release.pinned, engine.live("ConfigMap", "orders")["data"]) == ("", {"a": "1"})


def test_commits_of_one_push_are_known_to_be_contained_in_its_tip(engine):
    first = deployed(engine, a="1")  # where the history of the mirror begins
    older = engine.commit({ORDERS: config_map("orders", a="2")})
    newest = deployed(engine, a="3")

    assert tips_with(engine.tools.broker, "shop", first) == {"refs/heads/main": first}
    assert tips_with(engine.tools.broker, "shop", older) == {"refs/heads/main": newest}
    assert tips_with(engine.tools.broker, "shop", newest) == {"refs/heads/main": newest}
