"""Hooks run once, before and after what they belong to, on a real API server whose Job controller runs them."""

from __future__ import annotations

import pytest
import yaml
from parts.engine import Engine
from parts.manifests import config_map, deployment, in_wave, job, several

from towline.shared.errors import Unavailable
from towline.shared.jobs import SyncArguments
from towline.shared.model import HookState, Phase, Result
from towline.shared.objects import metadata_of
from towline.shared.release import Release
from towline.worker.sync import sync

APP = "services/orders/app.yaml"
CART = "services/cart/app.yaml"


def service(version: int, *hooks: str) -> str:
    return several(config_map("orders", version=str(version)), *hooks)


KEPT = {"argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}


def version_of(engine: Engine) -> str | None:
    live = engine.live("ConfigMap", "orders")
    return live["data"]["version"] if live else None


def live_job(engine: Engine, name: str) -> dict[str, object] | None:
    return engine.live("Job", name, api_version="batch/v1")


def release_of(engine: Engine) -> Release:
    release = engine.release("orders")
    assert release is not None
    return release


def uid(engine: Engine, name: str) -> str:
    live = live_job(engine, name)
    assert live is not None
    return str(metadata_of(live)["uid"])


@pytest.fixture
def stable(engine: Engine) -> str:
    """A revision without hooks that was found healthy."""
    revision = engine.deploy({APP: service(1)})
    engine.bring("orders", Phase.HEALTHY)
    return revision


def test_a_pre_sync_hook_runs_before_anything_else_is_written(engine: Engine, stable: str) -> None:
    revision = engine.deploy({APP: service(2, job("migrate"))})

    during = release_of(engine).status
    assert (during.revision, during.phase, version_of(engine)) == (stable, Phase.HEALTHY, "1")
    assert during.pending is not None and during.pending.revision == revision
    assert live_job(engine, "migrate") is not None
    engine.eventually_says("orders", "healthy so far")
    engine.run_syncs()
    assert version_of(engine) == "2"
    status = engine.bring("orders", Phase.HEALTHY).status
    assert [(one.name, one.state) for one in status.hooks] == [("migrate", HookState.SUCCEEDED)]
    assert (status.revision, status.pending) == (revision, None)
    assert {one.kind for one in status.objects} == {"ConfigMap"}


def test_a_post_sync_hook_runs_when_everything_is_healthy(engine: Engine) -> None:
    app = several(deployment("orders", replicas=1), job("smoke", when="post-sync"))
    engine.deploy({APP: app})

    before = live_job(engine, "smoke")
    engine.eventually_says("orders", "healthy so far")
    engine.run_syncs()

    assert before is None
    assert live_job(engine, "smoke") is not None
    assert engine.bring("orders", Phase.HEALTHY).status.history[0].result is Result.HEALTHY


def test_a_first_install_runs_its_hooks_too(engine: Engine) -> None:
    revision = engine.deploy({APP: service(1, job("migrate"), job("smoke", when="post-sync"))})

    during = release_of(engine).status
    assert (during.phase, during.revision, version_of(engine)) == (Phase.VERIFYING, "", None)
    status = engine.bring("orders", Phase.HEALTHY).status
    assert (status.revision, len(status.history)) == (revision, 1)


def test_a_hook_is_deleted_after_success_unless_its_policy_keeps_it(engine: Engine) -> None:
    engine.deploy({APP: service(1, job("gone"), job("kept", **KEPT))})
    engine.bring("orders", Phase.HEALTHY)

    assert live_job(engine, "gone") is None
    assert live_job(engine, "kept") is not None


def test_a_hook_runs_anew_for_a_new_revision_and_not_for_a_mere_look(engine: Engine) -> None:
    engine.deploy({APP: service(1, job("migrate", **KEPT))})
    engine.bring("orders", Phase.HEALTHY)
    first = uid(engine, "migrate")

    engine.push(release="staging/orders", trigger="operator")
    engine.deploy({CART: config_map("cart")})
    engine.bring("orders", Phase.HEALTHY)
    after_a_look = uid(engine, "migrate")
    engine.deploy({APP: service(2, job("migrate", **KEPT))})
    engine.bring("orders", Phase.HEALTHY)

    assert after_a_look == first
    assert uid(engine, "migrate") != first


def test_a_pre_sync_hook_that_fails_leaves_what_ran_before_and_does_not_run_again(
    engine: Engine, stable: str
) -> None:
    revision = engine.deploy({APP: service(2, job("migrate", fails=True))})

    status = engine.eventually("orders", Phase.FAILED).status

    assert (status.revision, version_of(engine)) == (stable, "1")
    assert "DeadlineExceeded" in status.message
    assert (status.history[0].revision, status.history[0].result) == (revision, Result.FAILED)
    first = uid(engine, "migrate")
    engine.tools.broker.redis.flushdb()
    engine.push()
    assert "quarantined" in engine.lines["staging/orders"]
    assert uid(engine, "migrate") == first


def test_a_fix_ends_what_a_failed_hook_began(engine: Engine, stable: str) -> None:
    engine.deploy({APP: service(2, job("migrate", fails=True))})
    engine.eventually("orders", Phase.FAILED)

    engine.deploy({APP: service(2, job("migrate"))})

    status = engine.bring("orders", Phase.HEALTHY).status
    assert (version_of(engine), status.quarantined) == ("2", None)


def test_a_hook_that_fails_over_a_revision_that_was_only_half_brought_takes_both_back(
    engine: Engine, stable: str
) -> None:
    half = several(config_map("orders", version="2"), in_wave(1, config_map("never")))
    engine.deploy({APP: half})
    revision = engine.deploy({APP: service(3, job("migrate", fails=True))})

    status = engine.bring("orders", Phase.ROLLED_BACK).status

    assert (status.revision, version_of(engine)) == (stable, "1")
    assert status.quarantined is not None and status.quarantined.revision == revision


def test_a_post_sync_hook_that_fails_takes_everything_back_but_what_hooks_did(
    engine: Engine, stable: str
) -> None:
    app = service(2, job("migrate"), job("smoke", when="post-sync", fails=True))
    engine.deploy({APP: app})

    status = engine.bring("orders", Phase.ROLLED_BACK).status

    assert (status.revision, version_of(engine)) == (stable, "1")
    assert status.quarantined is not None
    notes = " ".join(status.quarantined.not_reverted)
    assert "migrate: ran as a pre-sync hook, and what it did is not undone" in notes
    assert "partly" in status.message


def test_a_hook_that_would_be_refused_stops_everything_before(engine: Engine, stable: str) -> None:
    broken = job("smoke", when="post-sync").replace("restartPolicy: Never", "restartPolicy: Always")
    engine.deploy({APP: service(2, job("migrate"), broken)})

    assert release_of(engine).status.history[0].result is Result.REFUSED
    assert live_job(engine, "migrate") is None


def test_somebody_elses_object_is_not_taken_for_an_earlier_run(engine: Engine, stable: str) -> None:
    engine.deploy({CART: job("migrate").replace("towline.dev/hook: pre-sync", "{}").replace("{}", "a: b")})
    before = uid(engine, "migrate")

    engine.deploy({APP: service(2, job("migrate"))})

    assert "is no hook of this release" in release_of(engine).status.message
    assert uid(engine, "migrate") == before


@pytest.mark.parametrize("stage", ["claim", "apply", "record"])
def test_a_worker_that_dies_while_it_starts_a_hook_does_not_start_it_twice(
    engine: Engine, stable: str, stage: str
) -> None:
    engine.commit({APP: service(2, job("migrate", **KEPT))})
    engine.push(run=False)
    engine.die_after(stage)
    with pytest.raises(Unavailable):
        sync(engine.tools, SyncArguments(release="staging/orders"))
    before = live_job(engine, "migrate")

    sync(engine.tools, SyncArguments(release="staging/orders"))

    engine.bring("orders", Phase.HEALTHY)
    assert before is None or metadata_of(before)["uid"] == uid(engine, "migrate")
    assert version_of(engine) == "2"


def test_a_hook_of_a_superseded_revision_does_not_run_on(engine: Engine, stable: str) -> None:
    slow = nowhere_job("slow")
    engine.deploy({APP: service(2, slow)})

    engine.deploy({APP: service(3)})

    assert live_job(engine, "slow") is None
    assert version_of(engine) == "3"


def nowhere_job(name: str) -> str:
    object = yaml.safe_load(job(name, fails=True))
    del object["spec"]["activeDeadlineSeconds"]
    return yaml.safe_dump(object)


def test_hooks_go_with_the_service(engine: Engine) -> None:
    engine.deploy({APP: service(1, job("migrate", **KEPT)), CART: config_map("cart")})
    engine.bring("orders", Phase.HEALTHY)

    engine.deploy({APP: None})

    assert live_job(engine, "migrate") is None
