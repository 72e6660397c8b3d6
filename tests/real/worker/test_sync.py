"""From a commit to applied objects and their record, on a real repository, Redis and API server."""

import time

import pytest
from parts.eventually import eventually
from parts.manifests import config_map, deployment, several

from towline.shared.jobs import SyncArguments
from towline.shared.ledger import NewDelivery
from towline.shared.model import Phase, Push, ReleaseName, Result
from towline.shared.objects import PART_OF
from towline.shared.queue import OUTBOX
from towline.shared.stored_revisions import RELEASE_LABEL, SECRET
from towline.shared.wanted import Lease
from towline.worker.sync import give_up, sync

ORDERS = "services/orders/app.yaml"
CART = "services/cart/app.yaml"


def stored_secrets(engine):
    """The names of the Secrets with stored revisions."""
    cluster = engine.tools.cluster(engine.tools.config.environment("staging"))
    found = cluster.list(SECRET, engine.namespace, labels=RELEASE_LABEL, metadata_only=True)
    return {one["metadata"]["name"] for one in found}


def test_a_first_push_installs_every_service_and_records_it(engine):
    revision = engine.commit(
        {ORDERS: several(config_map("orders"), deployment("orders")), CART: config_map("cart")}
    )

    line = engine.push()

    assert "2 changed, 0 removed of 2" in line
    orders = engine.release("orders")
    assert orders.status.revision == revision
    assert orders.status.phase is Phase.VERIFYING
    assert {one.kind for one in orders.status.objects} == {"ConfigMap", "Deployment"}
    assert orders.status.history[0].result is Result.SYNCED
    assert orders.status.history[0].created == 2
    assert orders.status.stored_of(revision) is not None
    assert PART_OF in engine.live("ConfigMap", "cart")["metadata"]["labels"]


def test_the_same_push_again_changes_nothing(engine):
    engine.deploy({ORDERS: config_map("orders")})
    before = engine.release("orders")

    line = engine.push()

    assert "0 changed" in line
    assert engine.release("orders") == before


def test_a_commit_outside_the_services_wakes_nothing(engine):
    engine.deploy({ORDERS: config_map("orders")})
    before = engine.release("orders")

    engine.commit({"README.md": "Hello", "docs/a.md": "b"})
    line = engine.push()

    assert "0 changed" in line
    assert engine.release("orders") == before


def test_only_the_changed_service_is_synced_and_only_its_changed_object_written(engine):
    engine.deploy(
        {ORDERS: several(config_map("orders", a="1"), config_map("other")), CART: config_map("cart")}
    )
    other, cart = engine.live("ConfigMap", "other"), engine.release("cart")

    revision = engine.deploy({ORDERS: several(config_map("orders", a="2"), config_map("other"))})

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}
    assert engine.live("ConfigMap", "other") == other
    assert engine.release("cart") == cart
    newest = engine.release("orders").status.history[0]
    assert (newest.revision, newest.changed, newest.left, newest.created) == (revision, 1, 1, 0)


def test_a_moved_service_whose_objects_are_the_same_writes_nothing(engine):
    engine.deploy({ORDERS: config_map("orders")})
    before, live = engine.release("orders"), engine.live("ConfigMap", "orders")

    engine.deploy({ORDERS: None, "services/orders/moved.yaml": config_map("orders")})

    assert engine.release("orders") == before
    assert engine.live("ConfigMap", "orders") == live


def test_an_object_that_left_the_service_is_deleted(engine):
    engine.deploy({ORDERS: several(config_map("orders"), config_map("extra"))})

    engine.deploy({ORDERS: config_map("orders")})

    assert engine.live("ConfigMap", "extra") is None
    assert engine.live("ConfigMap", "orders") is not None
    assert engine.release("orders").status.history[0].pruned == 1


def test_a_service_that_left_the_repository_goes_with_its_release(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})

    engine.deploy({CART: None})

    assert engine.release("cart") is None
    assert engine.view("cart") is None
    assert engine.live("ConfigMap", "cart") is None
    assert engine.live("ConfigMap", "orders") is not None


def test_a_bad_commit_is_refused_with_everything_that_is_wrong_and_nothing_written(engine):
    good = engine.deploy({ORDERS: several(config_map("orders", a="1"), deployment("orders"))})
    engine.eventually("orders", Phase.HEALTHY)
    live = engine.live("ConfigMap", "orders")

    bad = engine.deploy({ORDERS: several(config_map("orders", a="2"), deployment("orders", label="else"))})

    status = engine.release("orders").status
    assert status.revision == good
    assert status.phase is Phase.FAILED
    assert "services/orders/app.yaml:" in status.message
    assert "selector" in status.message
    assert (status.history[0].revision, status.history[0].result) == (bad, Result.REFUSED)
    assert engine.live("ConfigMap", "orders") == live


def test_a_change_of_one_object_that_is_refused_leaves_nothing_behind(engine):
    good = engine.deploy({ORDERS: deployment("orders")})
    engine.eventually("orders", Phase.HEALTHY)
    live, stored = engine.live("Deployment", "orders", api_version="apps/v1"), stored_secrets(engine)

    bad = engine.deploy({ORDERS: deployment("orders", label="else")})

    release = engine.release("orders")
    assert (release.status.revision, release.status.phase) == (good, Phase.FAILED)
    assert "services/orders/app.yaml:" in release.status.message
    assert "selector" in release.status.message
    assert (release.status.history[0].revision, release.status.history[0].result) == (bad, Result.REFUSED)
    assert not release.is_unfinished
    assert engine.live("Deployment", "orders", api_version="apps/v1")["spec"] == live["spec"]
    assert stored_secrets(engine) == stored


def test_a_fix_after_a_bad_commit_goes_through_at_once(engine):
    engine.deploy({ORDERS: deployment("orders")})
    engine.deploy({ORDERS: deployment("orders", label="else")})

    fixed = engine.deploy({ORDERS: deployment("orders", image="example.com/app:2")})

    assert engine.release("orders").status.revision == fixed
    assert engine.release("orders").status.phase is Phase.VERIFYING


def test_going_back_to_the_commit_before_the_bad_one_clears_the_failure(engine):
    good = engine.deploy({ORDERS: deployment("orders")})
    engine.deploy({ORDERS: deployment("orders", label="else")})

    engine.origin.force(good)
    engine.push()

    assert engine.release("orders").status.revision == good
    assert engine.release("orders").status.phase is Phase.VERIFYING


def test_one_broken_service_among_ten_harms_only_itself(engine):
    files = {f"services/s{number}/app.yaml": config_map(f"s{number}") for number in range(9)}

    engine.deploy({**files, "services/bad/app.yaml": "kind: ConfigMap\n  name: [unclosed"})

    assert all(engine.live("ConfigMap", f"s{number}") for number in range(9))
    assert engine.release("bad") is None
    assert "services/bad/app.yaml:2:" in engine.view("bad").error


def test_a_broken_team_file_fails_the_push_and_leaves_everything_as_it_was(engine):
    engine.deploy({ORDERS: config_map("orders")})
    before = engine.release("orders")
    engine.commit({".towline.yaml": "services: {discover: 7}", ORDERS: config_map("orders", a="9")})

    with pytest.raises(Exception, match=r"\.towline\.yaml"):
        engine.push()

    assert engine.release("orders") == before


def test_a_newer_wish_supersedes_an_older_one_that_still_waits(engine):
    engine.commit({ORDERS: config_map("orders", a="1")})
    engine.push(run=False)
    newest = engine.commit({ORDERS: config_map("orders", a="2")})
    engine.push(run=False)

    engine.run_syncs()

    status = engine.release("orders").status
    assert status.revision == newest
    assert len(status.history) == 1


def test_a_replayed_old_delivery_takes_nothing_back(engine):
    engine.deploy({ORDERS: config_map("orders", a="1")})
    newest = engine.deploy({ORDERS: config_map("orders", a="2")})

    engine.push(delivery="replayed")

    assert engine.release("orders").status.revision == newest


def test_a_job_whose_release_is_being_synced_ends_and_leaves_it_alone(engine):
    engine.commit({ORDERS: config_map("orders")})
    engine.push(run=False)
    other = Lease(engine.tools.broker, "staging/orders")
    other.acquire()

    engine.run_syncs()

    assert "another worker" in engine.lines["staging/orders"]
    assert engine.release("orders") is None


def test_after_redis_was_wiped_a_push_finds_what_is_deployed_in_the_cluster(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})
    before = engine.release("cart")
    engine.tools.broker.redis.flushdb()
    engine.commit({ORDERS: config_map("orders", a="2")})

    line = engine.push()

    assert "1 changed, 0 removed of 2" in line
    assert engine.release("cart") == before
    assert engine.live("ConfigMap", "orders")["data"] == {"a": "2"}


def test_after_redis_was_wiped_a_push_shows_again_what_it_does_not_change(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})
    before = engine.tools.views.get(ReleaseName("staging", "cart"))
    engine.tools.broker.redis.flushdb()

    line = engine.push()

    assert "0 changed, 0 removed of 2" in line
    after = engine.tools.views.get(ReleaseName("staging", "cart"))
    assert after.model_copy(update={"updated_at": before.updated_at}) == before
    assert [str(view.name) for view in engine.tools.views.list()] == ["staging/cart", "staging/orders"]


def test_a_suspended_release_is_left_alone_and_a_pinned_one_stays(engine, control_plane):
    engine.deploy({ORDERS: config_map("orders", a="1"), CART: config_map("cart", a="1")})
    pin = engine.release("cart").status.revision
    patches = {"orders": '{"spec":{"suspended":true}}', "cart": f'{{"spec":{{"pinned":"{pin}"}}}}'}
    for name, patch in patches.items():
        control_plane.kubectl("-n", engine.namespace, "patch", "rel", name, "--type=merge", "-p", patch)

    revision = engine.deploy({ORDERS: config_map("orders", a="2"), CART: config_map("cart", a="2")})

    assert engine.live("ConfigMap", "orders")["data"] == {"a": "1"}
    assert engine.live("ConfigMap", "cart")["data"] == {"a": "1"}
    assert "suspended" in engine.lines["staging/orders"]
    assert "pinned" in engine.lines["staging/cart"]
    assert {one.state for one in engine.tools.views.revision("shop", revision).values()} == {"waiting"}


def test_a_release_becomes_stable_when_it_is_healthy(engine):
    revision = engine.deploy({ORDERS: several(config_map("orders"), deployment("orders"))})

    def is_stable():
        engine.conclude("orders")
        return engine.release("orders").status.stable_revision == revision

    eventually(is_stable, within=5)
    assert engine.release("orders").status.phase is Phase.HEALTHY


def test_events_say_what_a_release_came_to(engine, control_plane):
    engine.deploy({ORDERS: config_map("orders")})
    engine.conclude("orders")
    engine.deploy({ORDERS: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n"})

    events = control_plane.kubectl("-n", engine.namespace, "events", "--for", "release/orders")

    assert ["Normal", "Healthy", "Release/orders"] in [line.split()[1:4] for line in events.splitlines()]
    assert ["Warning", "Refused", "Release/orders"] in [line.split()[1:4] for line in events.splitlines()]
    assert "was refused, nothing was written" in events


@pytest.mark.parametrize("engine", [{"environment": {"max_prune": "50%"}}], indirect=True)
def test_a_prune_above_the_limit_waits_for_an_operators_word(engine):
    many = several(*(config_map(f"c{number}") for number in range(12)))
    engine.deploy({ORDERS: many})

    engine.deploy({ORDERS: config_map("c0")})
    refused = engine.release("orders").status
    engine.push(release="staging/orders", allow_prune=True)

    assert "would be deleted" in refused.message
    assert engine.live("ConfigMap", "c5") is None
    assert engine.live("ConfigMap", "c0") is not None
    assert len(engine.release("orders").status.objects) == 1


def test_many_releases_that_vanish_in_one_push_wait_for_an_operators_word(engine):
    files = {f"services/s{number}/app.yaml": config_map(f"s{number}") for number in range(8)}
    engine.deploy(files)
    engine.commit(dict.fromkeys(list(files)[1:]))

    with pytest.raises(Exception, match="7 of 8 releases are gone"):
        engine.push()
    kept = [engine.live("ConfigMap", f"s{number}") for number in range(8)]
    engine.push(allow_prune=True)

    assert all(kept)
    assert engine.live("ConfigMap", "s3") is None
    assert engine.live("ConfigMap", "s0") is not None


@pytest.mark.parametrize("order", [["cart", "orders"], ["orders", "cart"]])
def test_an_object_that_moves_to_another_service_in_one_push_is_handed_over(engine, order):
    shared = config_map("shared")
    engine.deploy({ORDERS: several(config_map("orders"), shared), CART: config_map("cart")})

    engine.commit({ORDERS: config_map("orders"), CART: several(config_map("cart"), shared)})
    engine.push(run=False)
    for service in order:
        sync(engine.tools, SyncArguments(release=f"staging/{service}"))

    kept = {one.name for one in engine.release("cart").status.objects}
    assert kept == {"cart", "shared"}
    assert engine.live("ConfigMap", "shared") is not None
    assert {one.name for one in engine.release("orders").status.objects} == {"orders"}


def test_an_object_that_two_services_want_stays_with_the_first_and_both_are_named(engine):
    engine.deploy({ORDERS: config_map("shared"), CART: config_map("cart")})

    engine.deploy({CART: several(config_map("cart"), config_map("shared"))})

    message = engine.release("cart").status.message
    assert "orders" in message
    assert "shared" in message
    assert engine.release("orders").status.phase is not Phase.FAILED


def test_an_object_of_a_service_that_left_the_repository_is_handed_over(engine):
    engine.deploy({ORDERS: config_map("shared"), CART: config_map("cart")})

    engine.commit({ORDERS: None, CART: several(config_map("cart"), config_map("shared"))})
    engine.push(run=False)
    for service in ("cart", "orders"):
        sync(engine.tools, SyncArguments(release=f"staging/{service}"))

    assert engine.live("ConfigMap", "shared") is not None
    assert engine.release("orders") is None


def test_a_sync_that_meets_a_judgement_of_its_release_goes_on(engine):
    engine.deploy({ORDERS: config_map("orders", a="1")})
    revision = engine.commit({ORDERS: config_map("orders", a="2")})
    engine.push(run=False)
    judge = Lease(engine.tools.broker, "staging/orders", yields=True)
    judge.acquire()

    engine.run_syncs()

    assert engine.release("orders").status.revision == revision


def test_what_is_wanted_for_a_removed_release_outlives_its_removal(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})

    engine.deploy({CART: None})

    assert engine.release("cart") is None
    assert engine.tools.queue.wishes.newest_sequence("staging/cart") == engine.pushes


@pytest.mark.parametrize(
    "engine", [{"repository": {"branches": {"main": "staging", "next": "staging"}}}], indirect=True
)
def test_a_branch_without_a_service_does_not_remove_what_another_branch_deployed(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})

    engine.deploy({ORDERS: config_map("orders")}, branch="next")

    assert engine.release("cart").status.ref == "refs/heads/main"
    assert engine.live("ConfigMap", "cart") is not None


def test_a_removal_that_was_given_up_is_done_with_the_next_push(engine):
    engine.deploy({ORDERS: config_map("orders"), CART: config_map("cart")})
    engine.commit({CART: None})
    engine.push(run=False)
    give_up(engine.tools, SyncArguments(release="staging/cart"), "gave up after 12 attempts")
    engine.tools.broker.redis.delete(OUTBOX)

    engine.push()

    assert engine.release("cart") is None


def test_an_operators_word_for_a_removal_is_not_lost_to_a_later_push(engine):
    files = {f"services/s{number}/app.yaml": config_map(f"s{number}") for number in range(8)}
    engine.deploy(files)
    engine.commit(dict.fromkeys(list(files)[1:]))
    earlier = engine.tools.queue.wishes.next_sequence()
    ref = "refs/heads/main"
    later = NewDelivery(
        id="later",
        repository="shop",
        forge="github",
        event="push",
        pushes=(Push(ref=ref, before=None, after=None),),
        received_at=time.time(),
    )
    engine.tools.ledger.accept(later)

    engine.push(sequence=earlier, allow_prune=True)

    assert engine.live("ConfigMap", "s3") is None
