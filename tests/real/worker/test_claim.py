"""Who may write a release, and what is left of an attempt that may not, on a real API server."""

import pytest
from parts.manifests import config_map

from towline.shared.errors import Conflict
from towline.shared.model import ReleaseName
from towline.worker.claim import claim, claim_and_store
from towline.worker.plan import Plan
from towline.worker.state import standing

ORDERS = "services/orders/app.yaml"


def stored_revisions(engine) -> set[str]:
    cluster = engine.tools.cluster(engine.tools.config.environment("staging"))
    found = cluster.list(cluster.resource("v1", "Secret"), engine.namespace, metadata_only=True)
    return {one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith("towline.")}


@pytest.mark.parametrize("wanted", [config_map("orders", a="2"), config_map("orders")], ids=["other", "same"])
def test_a_release_of_another_repository_is_not_taken_over(engine, wanted):
    engine.deploy({ORDERS: config_map("orders")})
    before = engine.release("orders")
    place = engine.tools.config.environment("staging")
    records = engine.tools.records(place)
    status = before.status.model_copy(update={"repository": "bank"})
    records.write_status(before, status)
    patch = {"metadata": {"annotations": {"towline.dev/repository": "bank"}}}
    cluster = engine.tools.cluster(place)
    cluster.merge_patch(
        cluster.resource("towline.dev/v1alpha1", "Release"), "orders", engine.namespace, patch
    )

    stored = stored_revisions(engine)
    engine.tools.broker.redis.flushdb()  # so that the next push looks at every service
    engine.deploy({ORDERS: wanted})

    assert "bank" in engine.view("orders").error
    assert "shop" in engine.view("orders").error
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "b"}
    assert stored_revisions(engine) == stored


def test_an_attempt_that_loses_the_release_leaves_a_stored_revision_that_a_search_finds(engine):
    engine.deploy({ORDERS: config_map("orders")})
    before = stored_revisions(engine)
    seen = standing(engine.tools, ReleaseName("staging", "orders"), repository="shop", ref="refs/heads/main")
    plan = Plan(set_id=seen.target.set_id, namespace=engine.namespace)
    winner = claim(seen, plan, token="winner")

    with pytest.raises(Conflict, match="was claimed by another attempt"):
        claim_and_store(seen, plan, token="loser", revision="b" * 40, objects=[{"kind": "ConfigMap"}])

    assert engine.release("orders").claim == "winner"
    assert len(stored_revisions(engine) - before) == 1
    seen.records.prune_stored(winner, winner.status.stored, search=True)
    assert stored_revisions(engine) == before
