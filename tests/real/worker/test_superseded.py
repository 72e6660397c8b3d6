"""A revision whose turn never came is told so."""

from parts.manifests import config_map

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
