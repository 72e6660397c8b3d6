"""A revision whose turn never came is told so."""

from parts.manifests import config_map

from towline.shared.jobs import PushArguments
from towline.worker.push import _enqueue, changes_of

REF = "refs/heads/main"
ORDERS = "services/orders/app.yaml"


def test_a_revision_that_a_newer_one_overtakes_before_its_sync_is_superseded(engine):
    first = engine.commit({ORDERS: config_map("orders", a="1")})
    engine.push(run=False)
    second = engine.commit({ORDERS: config_map("orders", a="2")})
    engine.push()

    touched = engine.tools.views.revision("shop", first)["staging/orders"]

    assert touched.state == "superseded"
    assert second[:10] in touched.text
    assert engine.tools.views.revision("shop", second)["staging/orders"].state == "synced"


def test_a_revision_that_was_synced_stays_so_when_a_newer_one_comes(engine):
    first = engine.deploy({ORDERS: config_map("orders", a="1")})
    engine.deploy({ORDERS: config_map("orders", a="2")})

    assert engine.tools.views.revision("shop", first)["staging/orders"].state == "synced"


def test_a_revision_that_was_fetched_before_a_newer_one_and_enqueued_after_it_is_superseded(engine):
    first = engine.commit({ORDERS: config_map("orders", a="1")})
    tip = engine.tools.mirror(engine.tools.config.repository("shop")).fetch(REF, deadline_seconds=10)
    slow = PushArguments(
        repository="shop", ref=REF, sequence=1, trigger="webhook", delivery="slow", received_at=0.0
    )
    changes = changes_of(engine.tools, engine.tools.config.repository("shop"), slow, tip)
    second = engine.deploy({ORDERS: config_map("orders", a="2")})

    _enqueue(engine.tools, slow, tip, changes)

    assert engine.tools.views.revision("shop", first)["staging/orders"].state == "superseded"
    assert engine.release("orders").status.revision == second
