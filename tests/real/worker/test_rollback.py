"""A revision that fails is rolled back from the stored objects, on a real Redis and a real API server with controllers."""

import json

import pytest
import yaml
from parts.failing import Fails, made_ill, workload
from parts.manifests import config_map, deployment, nowhere, several

from towline.shared.jobs import SteerArguments, Steering
from towline.shared.model import Health, Phase, Result
from towline.shared.queue import OUTBOX
from towline.worker.steer import steer

ORDERS = "services/orders/app.yaml"
CART = "services/cart/app.yaml"


def good(version: int) -> str:
    """A service that becomes healthy."""
    return several(config_map("orders", version=str(version)), deployment("orders", replicas=1))


def bad(version: int) -> str:
    """The same with pods that never start, one object more and one less."""
    broken = nowhere(deployment("orders", image=f"example.com/app:{version}", replicas=1))
    return several(broken, config_map("added"))


@pytest.fixture
def stable(engine):
    """The revision of a service that was found healthy."""
    revision = engine.deploy({ORDERS: good(1)})
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def rolled_back(engine):
    """Wait until it is back and verified."""
    return engine.eventually("orders", Phase.ROLLED_BACK)


def test_a_healthy_revision_is_the_stable_one(engine):
    revision = engine.deploy({ORDERS: good(1)})

    status = engine.eventually("orders", Phase.HEALTHY).status

    assert status.stable_revision == revision
    assert status.stored_of(revision).stable_at is not None
    assert status.history[0].result is Result.HEALTHY
    assert status.history[0].stages["verify"] >= 0


def test_a_sync_with_nothing_to_do_does_not_hide_a_judgement_that_it_overtook(engine):
    engine.deploy({ORDERS: config_map("orders")})
    engine.overtake_after("judge", "orders")

    engine.conclude("orders")

    assert engine.release("orders").status.phase is Phase.HEALTHY
    again = [call for call in engine.tools.broker.redis.hkeys(OUTBOX) if call.startswith(b"conclude_")]
    assert len(again) == 1
    engine.conclude("orders")
    assert engine.view("orders").status["phase"] == Phase.HEALTHY
    assert engine.tools.views.verifying() == {}


def test_a_revision_that_fails_is_replaced_whole_by_the_stable_one(engine, stable):
    revision = engine.deploy({ORDERS: bad(2)})

    status = rolled_back(engine).status

    assert (status.revision, status.stable_revision) == (stable, stable)
    assert status.quarantined.revision == revision
    assert "ProgressDeadlineExceeded" in status.quarantined.cause
    assert engine.live("ConfigMap", "added") is None
    assert engine.live("ConfigMap", "orders")["data"] == {"version": "1"}
    image = engine.live("Deployment", "orders", api_version="apps/v1")["spec"]["template"]["spec"][
        "containers"
    ]
    assert image[0]["image"] == "example.com/app:1"
    assert (status.history[0].revision, status.history[0].result) == (revision, Result.ROLLED_BACK)
    assert status.history[0].stages["rollback"] > 0


def test_the_cause_is_told_with_the_last_words_of_what_failed_and_without_secrets(engine, stable):
    crashing = workload(engine.namespace, "orders", fails=Fails.CRASH)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"password": "hunter2-of-the-test"},
    }
    engine.deploy({ORDERS: several(yaml.safe_dump(crashing), yaml.safe_dump(secret))})

    status = rolled_back(engine).status

    entry = status.history[0]
    assert (entry.failure.reason, entry.failure.container) == ("CrashLoopBackOff", "main")
    assert entry.failure.exit_code not in (None, 0)
    assert len(entry.logs) == 20
    assert entry.logs[-1].startswith("fatal: no database")
    assert "hunter2-of-the-test" not in status.model_dump_json()
    assert "container main" in status.quarantined.cause
    counted = {name: labels for name, labels in engine.tools.metrics.pending() if "rollbacks" in name}
    assert '"CrashLoopBackOff"' in counted["towline_rollbacks_total"]


def test_a_rollback_needs_neither_git_nor_the_forge(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    engine.origin.delete()

    assert rolled_back(engine).status.revision == stable


def test_a_quarantined_revision_is_not_applied_again_after_redis_was_wiped(engine, stable):
    revision = engine.deploy({ORDERS: bad(2)})
    before = rolled_back(engine)
    engine.tools.broker.redis.flushdb()

    engine.push()

    assert engine.lines["staging/orders"].startswith(f"{revision[:10]}: quarantined")
    assert engine.release("orders") == before


def test_a_commit_that_leaves_the_service_alone_does_not_end_its_quarantine(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    before = rolled_back(engine)

    engine.deploy({CART: config_map("cart")})

    assert engine.release("orders") == before


def test_a_fix_goes_through_and_ends_the_quarantine(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    rolled_back(engine)

    fixed = engine.deploy({ORDERS: good(3)})

    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, status.stable_revision, status.quarantined) == (fixed, fixed, None)


def test_going_back_in_git_ends_the_quarantine_without_writing_an_object(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    rolled_back(engine)
    live = engine.live("ConfigMap", "orders")

    revision = engine.deploy({ORDERS: good(1)})

    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, status.quarantined) == (revision, None)
    assert engine.live("ConfigMap", "orders") == live


def test_two_bad_commits_in_a_row_lead_back_to_the_same_stable_revision(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    second = engine.deploy({ORDERS: bad(3)})

    status = rolled_back(engine).status

    assert (status.revision, status.quarantined.revision) == (stable, second)
    assert status.history[1].result is Result.SUPERSEDED


def test_a_first_install_that_fails_stays_and_says_so(engine):
    revision = engine.deploy({ORDERS: bad(1)})

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, status.stable_revision) == (revision, "")
    assert "no stable revision" in status.message
    assert engine.live("ConfigMap", "added") is not None


def test_a_service_that_says_so_is_not_rolled_back(engine, stable):
    team = "services: {orders: {path: services/orders, rollback: false}}"
    revision = engine.deploy({ORDERS: bad(2), ".towline.yaml": team})

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, status.health) == (revision, Health.FAILED)
    assert "rollback: false" in status.message


def test_what_cannot_go_back_is_named_and_the_rest_goes_back(engine, stable):
    engine.deploy({ORDERS: several(bad(2), config_map("orders", version="1") + "immutable: true\n")})

    status = rolled_back(engine).status

    assert status.revision == stable
    assert len(status.quarantined.not_reverted) == 1
    assert "ConfigMap" in status.quarantined.not_reverted[0]
    assert "partly" in status.message
    assert engine.live("ConfigMap", "added") is None


def held(engine, control_plane, *, is_held: bool) -> None:
    """Have a finalizer keep what the bad revision deletes, as that of a load balancer does; or let it go."""
    finalizers = ["example.com/busy"] if is_held else None
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "configmap", "orders", "--type=merge", "--patch", patch
    )


def test_a_rollback_waits_for_what_is_being_deleted(engine, stable, control_plane):
    held(engine, control_plane, is_held=True)
    engine.deploy({ORDERS: bad(2)})

    line = engine.eventually_says("orders", "the rollback waits", within=30)
    waiting = engine.release("orders").status
    held(engine, control_plane, is_held=False)

    assert "finalizers: example.com/busy" in line
    assert (waiting.phase, engine.view("orders").error) == (Phase.ROLLING_BACK, line)
    assert rolled_back(engine).status.revision == stable
    assert engine.live("ConfigMap", "orders")["data"] == {"version": "1"}
    assert engine.view("orders").error == ""


def test_a_rollback_that_was_suspended_half_way_is_done_when_it_is_resumed(engine, stable, control_plane):
    held(engine, control_plane, is_held=True)
    engine.deploy({ORDERS: bad(2)})
    engine.eventually_says("orders", "the rollback waits", within=30)

    say(engine, Steering.SUSPEND)
    held(engine, control_plane, is_held=False)
    say(engine, Steering.RESUME)
    engine.run_pushes()

    assert rolled_back(engine).status.revision == stable
    assert engine.live("ConfigMap", "added") is None


def test_a_rollback_does_not_wait_longer_than_for_health(engine, stable, control_plane):
    held(engine, control_plane, is_held=True)
    team = "services: {orders: {path: services/orders, timeout: 1s}}"
    engine.deploy({ORDERS: bad(2), ".towline.yaml": team})

    status = engine.eventually("orders", Phase.FAILED, within=30).status
    held(engine, control_plane, is_held=False)

    assert "failed as well" in status.message
    assert "finalizers: example.com/busy" in status.message


def test_a_rollback_of_which_nothing_can_go_back_has_failed(engine):
    engine.deploy({ORDERS: config_map("orders", version="1")})
    engine.eventually("orders", Phase.HEALTHY)
    rule = "self.data.version == '2' ? 'failed' : 'healthy'"
    team = yaml.safe_dump(
        {"services": {"orders": {"path": "services/orders", "health": {"ConfigMap": rule}}}}
    )
    bad = config_map("orders", version="2") + "immutable: true\n"
    revision = engine.deploy({ORDERS: bad, ".towline.yaml": team})

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, status.quarantined.revision) == (revision, revision)
    assert "failed as well: one object cannot be applied" in status.message
    assert status.history[0].result is Result.FAILED
    assert "one object cannot be applied" in status.history[0].notes[-1]


def test_stored_objects_that_somebody_changed_are_not_applied(engine, stable, control_plane):
    name = engine.release("orders").status.stable.name
    control_plane.kubectl("-n", engine.namespace, "delete", "secret", name)
    engine.deploy({ORDERS: bad(2)})

    status = engine.eventually("orders", Phase.FAILED).status

    assert "is gone" in status.message
    assert "had failed" in status.message
    assert status.history[0].result is Result.FAILED
    assert "is gone" in status.history[0].notes[-1]


def test_a_newer_revision_goes_before_a_rollback(engine, stable):
    engine.deploy({ORDERS: bad(2)})
    engine.commit({ORDERS: good(3)})
    engine.push(run=False)

    line = engine.eventually_says("orders", "goes before the rollback")
    engine.run_syncs()

    assert line
    status = engine.eventually("orders", Phase.HEALTHY).status
    assert status.history[1].result is Result.ROLLED_BACK or status.history[1].result is Result.SUPERSEDED


def test_an_operator_goes_back_to_a_stored_revision_without_git_and_stays_there(engine, stable):
    engine.deploy({ORDERS: good(2)})
    engine.eventually("orders", Phase.HEALTHY)
    engine.origin.delete()

    engine.roll_back("orders", stable)

    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, status.stable_revision) == (stable, stable)
    assert engine.release("orders").pinned == stable
    assert status.history[0].triggered_by == "ada"
    assert engine.live("ConfigMap", "orders")["data"] == {"version": "1"}


def test_a_pinned_release_stays_until_it_is_unpinned(engine, stable):
    engine.deploy({ORDERS: good(2)})
    engine.eventually("orders", Phase.HEALTHY)
    engine.roll_back("orders", stable)
    engine.eventually("orders", Phase.HEALTHY)

    third = engine.deploy({ORDERS: good(3)})
    pinned = engine.release("orders").status.revision
    say(engine, Steering.UNPIN)
    engine.run_pushes()

    assert pinned == stable
    assert engine.release("orders").status.revision == third


def say(engine, action: Steering, **given: str) -> str:
    """An operator's word."""
    return steer(
        engine.tools, SteerArguments(release="staging/orders", action=action, operator="ada", **given)
    )


def test_a_suspended_release_is_neither_synced_nor_rolled_back_until_it_is_resumed(engine, stable):
    say(engine, Steering.SUSPEND)
    second = engine.deploy({ORDERS: good(2)})
    suspended = engine.release("orders").status

    say(engine, Steering.RESUME)
    engine.run_pushes()

    assert (suspended.phase, suspended.revision) == (Phase.SUSPENDED, stable)
    assert "ada" in suspended.message
    assert engine.eventually("orders", Phase.HEALTHY).status.revision == second


def test_every_word_of_an_operator_is_told_as_an_event(engine, stable, control_plane):
    for action in (Steering.PIN, Steering.UNPIN, Steering.SUSPEND, Steering.RESUME):
        say(engine, action)

    told = events_of(engine, control_plane)
    assert {
        word: "ada" in message for word, message in told.items() if word not in ("Synced", "Healthy")
    } == {
        "Pinned": True,
        "Unpinned": True,
        "Suspended": True,
        "Resumed": True,
    }


def events_of(engine, control_plane) -> dict[str, str]:
    """The Events on the release: reason and message."""
    found = json.loads(control_plane.kubectl("-n", engine.namespace, "get", "events", "-o", "json"))["items"]
    return {one["reason"]: one["message"] for one in found if one["involvedObject"]["kind"] == "Release"}


def test_a_suspended_release_that_is_pinned_elsewhere_goes_there_when_it_is_resumed(engine, stable):
    engine.deploy({ORDERS: good(2)})
    second = engine.eventually("orders", Phase.HEALTHY).status.revision
    say(engine, Steering.SUSPEND)

    line = say(engine, Steering.PIN, revision=stable)
    engine.run_syncs()
    suspended = engine.release("orders")
    say(engine, Steering.RESUME)
    engine.run_syncs()

    assert line.startswith(f"pinned to {stable[:10]}")
    assert (suspended.status.phase, suspended.status.revision) == (Phase.SUSPENDED, second)
    assert suspended.status.observed_generation == suspended.generation
    assert engine.eventually("orders", Phase.HEALTHY).status.revision == stable


def test_a_sync_that_meets_an_operators_word_gets_another_job(engine, stable):
    revision = engine.commit({ORDERS: good(2)})
    engine.push(run=False)
    engine.tools.broker.redis.delete(OUTBOX)  # its job has ended, since it found the release held

    say(engine, Steering.RESUME)
    engine.run_syncs()

    assert engine.release("orders").status.revision == revision


@pytest.mark.parametrize("is_suspended", [True, False])
def test_what_kubectl_says_in_the_spec_counts_too(engine, stable, control_plane, is_suspended):
    spec = {"suspended": True} if is_suspended else {"pinned": stable}
    patch = json.dumps({"spec": spec})
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "release", "orders", "--type=merge", "--patch", patch
    )
    engine.conclude("orders")

    engine.deploy({ORDERS: good(2)})

    told = events_of(engine, control_plane)
    assert "by an edit of the Release" in told["Suspended" if is_suspended else "Pinned"]
    status = engine.release("orders").status
    assert status.revision == stable
    assert status.observed_generation == engine.release("orders").generation
    assert (status.phase is Phase.SUSPENDED) == is_suspended


def test_a_refused_commit_does_not_end_the_verification_of_the_one_before(engine):
    revision = engine.deploy({ORDERS: good(1)})

    engine.deploy({ORDERS: deployment("orders", label="else")})

    status = engine.eventually("orders", Phase.FAILED).status
    assert status.stable_revision == status.revision
    assert "was refused" in status.message
    assert [one.result for one in status.history] == [Result.REFUSED, Result.HEALTHY]
    assert engine.tools.views.revision("shop", revision)["staging/orders"].state == "healthy"


def test_what_was_refused_after_a_rollback_stays_said_when_the_stable_revision_recovers(
    engine, stable, control_plane
):
    bad_one = engine.deploy({ORDERS: bad(2)})
    rolled_back(engine)
    refused = engine.deploy({ORDERS: deployment("orders", label="else")})
    before = engine.release("orders").status
    control_plane.kubectl(
        "-n", engine.namespace, "patch", "deployment", "orders", "-p", made_ill(Fails.IMAGE)
    )
    engine.eventually_says("orders", "was healthy and is not any more")

    control_plane.kubectl("-n", engine.namespace, "patch", "deployment", "orders", "-p", made_ill(None))
    engine.eventually_says("orders", "Failed: ")

    status = engine.release("orders").status
    assert (status.phase, status.health, status.revision) == (Phase.FAILED, Health.HEALTHY, stable)
    assert (status.phase, status.message) == (before.phase, before.message)
    assert status.message.startswith(f"{refused[:10]} was refused, nothing was written: ")
    assert f"; rolled back to {stable[:10]}: {bad_one[:10]} failed: " in status.message
    assert {one.type: one.status for one in status.conditions}["Synced"] == "False"
