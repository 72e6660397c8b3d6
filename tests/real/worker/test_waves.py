"""A revision of several waves: each one healthy before the next, on a real API server with controllers."""

from __future__ import annotations

import pytest
from parts.engine import Engine
from parts.manifests import config_map, deployment, in_wave, nowhere, several

from towline.shared.errors import Unavailable
from towline.shared.jobs import SyncArguments
from towline.shared.model import Phase, Result
from towline.shared.release import Release
from towline.worker.sync import sync

APP = "services/orders/app.yaml"


def waves(version: int, *, first: str = "", leaving: str = "") -> str:
    """Three waves: a Deployment, a ConfigMap, a ConfigMap."""
    image = f"example.com/app:{version}"
    return several(
        first or in_wave(0, deployment("orders", image=image, replicas=1)),
        in_wave(1, config_map("second", version=str(version))),
        in_wave(2, config_map("third", version=str(version))),
        *([in_wave(1, config_map(leaving))] if leaving else []),
    )


def version_of(engine: Engine, name: str) -> str | None:
    live = engine.live("ConfigMap", name)
    return live["data"]["version"] if live else None


def release_of(engine: Engine) -> Release:
    release = engine.release("orders")
    assert release is not None
    return release


def step(engine: Engine) -> None:
    """Judge until the last step is found healthy, and take the next one."""
    engine.eventually_says("orders", "healthy so far")
    engine.run_syncs()


@pytest.fixture
def stable(engine: Engine) -> str:
    """A revision of three waves that was found healthy."""
    revision = engine.deploy({APP: waves(1, leaving="leaving")})
    step(engine)
    step(engine)
    engine.eventually("orders", Phase.HEALTHY)
    return revision


def test_each_wave_is_healthy_before_the_next_is_written(engine: Engine) -> None:
    engine.deploy({APP: waves(1)})

    first = release_of(engine).status
    assert (first.phase, version_of(engine, "second")) == (Phase.VERIFYING, None)
    assert "2 of 3 steps are still to be taken" in first.message
    step(engine)
    assert (version_of(engine, "second"), version_of(engine, "third")) == ("1", None)
    step(engine)
    assert version_of(engine, "third") == "1"
    assert engine.eventually("orders", Phase.HEALTHY).status.pending is None


def test_all_steps_are_one_entry_of_the_history(engine: Engine, stable: str) -> None:
    history = release_of(engine).status.history

    assert [(one.revision, one.result) for one in history] == [(stable, Result.HEALTHY)]
    assert (history[0].created, history[0].changed) == (4, 0)


def test_nothing_is_deleted_before_the_last_step(engine: Engine, stable: str) -> None:
    engine.deploy({APP: waves(2)})
    before = engine.live("ConfigMap", "leaving")
    step(engine)
    between = engine.live("ConfigMap", "leaving")
    step(engine)

    assert before is not None and between is not None
    assert engine.live("ConfigMap", "leaving") is None


def test_a_wave_that_fails_takes_the_whole_revision_back(engine: Engine, stable: str) -> None:
    bad = in_wave(1, nowhere(deployment("broken", replicas=1)))
    first = in_wave(0, config_map("first", version="2"))
    revision = engine.deploy({APP: several(waves(2), bad, first)})
    step(engine)

    status = engine.eventually("orders", Phase.ROLLED_BACK, within=20).status

    assert (status.revision, status.pending) == (stable, None)
    assert status.quarantined is not None and status.quarantined.revision == revision
    assert (version_of(engine, "second"), version_of(engine, "third")) == ("1", "1")
    assert engine.live("ConfigMap", "first") is None
    assert engine.live("ConfigMap", "leaving") is not None


def test_an_object_of_a_later_wave_that_is_broken_does_not_stop_its_own_fix(engine: Engine) -> None:
    broken = several(config_map("first", version="1"), in_wave(1, nowhere(deployment("late", replicas=1))))
    engine.deploy({APP: broken})
    step(engine)
    engine.eventually("orders", Phase.FAILED, within=20)

    fixed = several(config_map("first", version="2"), in_wave(1, deployment("late", replicas=1)))
    engine.deploy({APP: fixed})
    step(engine)

    engine.eventually("orders", Phase.HEALTHY)


def test_every_step_is_checked_before_the_first_is_written(engine: Engine, stable: str) -> None:
    refused = in_wave(3, deployment("refused", label="else"))
    engine.deploy({APP: several(waves(2), refused)})

    status = release_of(engine).status

    assert status.history[0].result is Result.REFUSED
    live = engine.live("Deployment", "orders", api_version="apps/v1")
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/app:1"


@pytest.mark.parametrize("trigger", ["clock", "operator"])
def test_no_step_is_taken_before_the_one_before_is_healthy_whoever_asks(engine: Engine, trigger: str) -> None:
    engine.deploy({APP: waves(1, first=in_wave(0, nowhere(deployment("orders", replicas=1))))})

    engine.push(release="staging/orders", trigger=trigger)

    assert "waits until what was applied is healthy" in engine.lines["staging/orders"]
    assert version_of(engine, "second") is None


def test_what_is_still_to_come_goes_on_after_redis_was_wiped(engine: Engine) -> None:
    engine.deploy({APP: waves(1)})
    engine.tools.broker.redis.flushdb()
    engine.push()

    step(engine)
    step(engine)

    assert version_of(engine, "third") == "1"
    engine.eventually("orders", Phase.HEALTHY)


def test_a_newer_revision_takes_over_between_two_steps(engine: Engine) -> None:
    engine.deploy({APP: waves(1)})

    revision = engine.deploy({APP: waves(2)})
    step(engine)
    step(engine)

    status = engine.eventually("orders", Phase.HEALTHY).status
    assert (status.revision, version_of(engine, "third")) == (revision, "2")
    assert [one.result for one in status.history] == [Result.HEALTHY, Result.SUPERSEDED]


def test_a_refused_commit_does_not_keep_the_one_before_from_going_on(engine: Engine) -> None:
    engine.deploy({APP: waves(1)})
    engine.deploy({APP: deployment("orders", label="else")})

    step(engine)
    step(engine)

    assert version_of(engine, "third") == "1"


@pytest.mark.parametrize("stage", ["claim", "apply", "record"])
def test_a_step_that_dies_is_taken_again(engine: Engine, stage: str) -> None:
    engine.deploy({APP: waves(1)})
    engine.eventually_says("orders", "healthy so far")
    engine.die_after(stage)

    with pytest.raises(Unavailable):
        sync(engine.tools, SyncArguments(release="staging/orders"))
    sync(engine.tools, SyncArguments(release="staging/orders"))
    engine.bring("orders", Phase.HEALTHY)

    assert version_of(engine, "third") == "1"
    assert len(release_of(engine).status.history) == 1
