"""What an operator's rollback does where the revision is not stored, cannot be used, or does not have the service."""

import pytest
from parts.manifests import config_map

from towline.shared.contained import tips_with
from towline.shared.model import Phase, Result

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
    assert (engine.release("orders").status.revision, engine.release("orders").pinned) == (ours, "")
    assert "does not contain" in engine.view("orders").error


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


def assert_is_refused(engine, revision: str, *, stays_at: str, because: str) -> None:
    """The newest attempt is the operator's, which came to nothing."""
    release = engine.release("orders")
    assert (release.status.revision, release.pinned) == (stays_at, "")
    newest = release.status.history[0]
    assert (newest.revision, newest.result, newest.triggered_by) == (revision, Result.REFUSED, "ada")
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
