"""What a Release says, and how its status is kept bounded."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from parts.a_release import plain_release

from towline.shared.documents import load_documents
from towline.shared.errors import ClusterError
from towline.shared.installation import CRD_FILE, packaged_crd
from towline.shared.model import Health, HookState, Moment, Object, ObjectKey, Phase, Result, Trigger
from towline.shared.pending import HookRun, Pending
from towline.shared.release import (
    CLAIM,
    LOG_LINES,
    NOTES,
    AppliedObject,
    HistoryEntry,
    Quarantine,
    Release,
    ReleaseStatus,
    StoredRevision,
    bounded_history,
    release_of,
    status_to_write,
)

REVISION = "a1" * 20
NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
OPEN = "x-kubernetes-preserve-unknown-fields"

FULL = ReleaseStatus(
    environment="staging",
    repository="shop",
    ref="refs/heads/main",
    revision=REVISION,
    stable_revision="b2" * 20,
    quarantined=Quarantine(revision=REVISION, inputs_digest="d", cause="crash loop", since=NOW),
    phase=Phase.ROLLED_BACK,
    health=Health.HEALTHY,
    message="rolled back",
    inputs_digest="d",
    stored=(StoredRevision(revision=REVISION, name="towline.orders.1", sha256="s", uids=("u1", "u2")),),
    objects=(
        AppliedObject.of(
            ObjectKey(group="apps", kind="Deployment", namespace="shop", name="web"), digest="d", owned="o"
        ),
    ),
    pending=Pending(
        revision=REVISION,
        ref="refs/heads/main",
        inputs_digest="d",
        run="r",
        over_half=True,
        moment=Moment.POST_SYNC,
        wave=1,
        left=1,
        of=3,
        since=NOW,
        timeout_seconds=7,
    ),
    hooks=(
        HookRun(
            group="batch",
            kind="Job",
            namespace="shop",
            name="migrate",
            moment=Moment.PRE_SYNC,
            revision=REVISION,
            state=HookState.FAILED,
            finished_at=NOW,
            delete_on=(HookState.SUCCEEDED,),
        ),
    ),
    synced_at=NOW,
    history=(
        HistoryEntry(
            revision=REVISION,
            ref="refs/heads/main",
            author="Ada",
            subject="Add orders",
            trigger=Trigger.WEBHOOK,
            triggered_by="delivery-1",
            result=Result.FAILED,
            cause="crash loop",
            started_at=NOW,
            stages={"apply": 0.5},
            created=1,
            changed=2,
            left=3,
            pruned=4,
            notes=("took over .spec.replicas",),
            logs=("panic",),
        ),
    ),
)


def a_release(status: ReleaseStatus | None = None) -> Release:
    plain = plain_release(status or ReleaseStatus())
    held = {"annotations": {CLAIM: "token-1"}, "is_held": True}
    return replace(plain, resource_version="7", generation=3, **held)


def written(status: ReleaseStatus, *, release: Release | None = None, now: datetime = NOW) -> dict[str, Any]:
    return status_to_write(status, release or a_release(), history=10, now=now)


def read_back(status: dict[str, Any]) -> ReleaseStatus:
    return release_of({"kind": "Release", "metadata": {"name": "orders"}, "status": status}).status


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


def test_a_status_reads_back_as_it_was_written():
    again = read_back(written(FULL))

    computed = {"short_revision", "short_stable_revision", "observed_generation", "claim", "conditions"}
    assert again.model_dump(exclude=computed) == FULL.model_dump(exclude=computed)
    assert (again.short_revision, again.short_stable_revision) == ("a1" * 5, "b2" * 5)
    assert (again.observed_generation, again.claim) == (3, "token-1")


def test_every_field_that_is_written_is_in_the_schema_of_the_crd():
    properties = packaged_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]

    assert list(strangers(written(FULL), properties, "status")) == []
    named = {field.alias for field in ReleaseStatus.model_fields.values()}
    assert set(properties["properties"]) == named


def test_what_has_no_schema_is_described_with_every_field_of_its_model():
    """The long parts: a schema of them doubles what each write of a Release costs an API server."""
    status = packaged_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    models = {"stored": StoredRevision, "objects": AppliedObject, "hooks": HookRun, "history": HistoryEntry}

    open_parts = {name: part for name, part in status["properties"].items() if OPEN in part}

    assert open_parts.keys() == models.keys()
    for name, part in open_parts.items():
        fields = {str(field.alias) for field in models[name].model_fields.values()}
        assert fields - set(re.findall(r"\w+", part["description"])) == set(), name


def strangers(value: object, schema: Object, path: str) -> list[str]:
    if OPEN in schema:
        return []
    if isinstance(value, dict):
        known = schema.get("properties")
        if known is None:
            return [] if "additionalProperties" in schema else [path]
        return [
            stranger
            for name, inner in value.items()
            for stranger in (
                strangers(inner, known[name], f"{path}.{name}") if name in known else [f"{path}.{name}"]
            )
        ]
    if isinstance(value, list):
        return [stranger for inner in value for stranger in strangers(inner, schema["items"], f"{path}[]")]
    return [] if schema["type"] in ("string", "integer", "number", "boolean") else [path]


def test_every_part_of_the_schema_that_people_see_is_described():
    def undescribed(schema: Object, path: str) -> list[str]:
        inner = [
            name
            for key, part in (schema.get("properties") or {}).items()
            for name in undescribed(part, f"{path}.{key}")
        ]
        return inner + ([] if "description" in schema else [path])

    properties = packaged_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

    assert [name for part in ("spec", "status") for name in undescribed(properties[part], part)] == []


def test_the_published_crd_is_the_packaged_one():
    published = (ROOT / "k8s/base/crd.yaml").read_bytes()

    assert published == CRD_FILE.read_bytes()
    assert len(load_documents(published, file="crd.yaml")) == 1


def test_phases_and_health_of_the_crd_are_those_of_the_model():
    status = packaged_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"][
        "properties"
    ]

    assert status["phase"]["enum"] == list(Phase)
    assert status["health"]["enum"] == list(Health)


@pytest.mark.parametrize(
    ("phase", "health", "expected"),
    [
        (Phase.VERIFYING, Health.PROGRESSING, {"Ready": "Unknown", "Synced": "True", "Healthy": "Unknown"}),
        (Phase.HEALTHY, Health.HEALTHY, {"Ready": "True", "Synced": "True", "Healthy": "True"}),
        (Phase.ROLLING_BACK, Health.FAILED, {"Ready": "False", "Synced": "Unknown", "Healthy": "False"}),
        (
            Phase.ROLLED_BACK,
            Health.HEALTHY,
            {"Ready": "False", "Synced": "False", "Healthy": "True", "Stalled": "True"},
        ),
        (
            Phase.FAILED,
            Health.UNKNOWN,
            {"Ready": "False", "Synced": "False", "Healthy": "Unknown", "Stalled": "True"},
        ),
        (None, None, {"Ready": "Unknown", "Synced": "Unknown", "Healthy": "Unknown"}),
    ],
)
def test_conditions_follow_phase_and_health(
    phase: Phase | None, health: Health | None, expected: dict[str, str]
):
    assert conditions(written(ReleaseStatus(phase=phase, health=health))) == expected


@pytest.mark.parametrize("phase", [Phase.HEALTHY, Phase.FAILED, Phase.SUSPENDED])
def test_what_differs_from_what_was_applied_is_not_synced_and_says_nothing_of_being_ready(phase: Phase):
    status = ReleaseStatus(phase=phase, health=Health.HEALTHY)
    drift = tuple(f"ConfigMap shop/{name} changed" for name in "abcd")

    drifting = written(status.model_copy(update={"drift": drift}))

    (synced,) = (one for one in drifting["conditions"] if one["type"] == "Synced")
    assert (synced["status"], synced["reason"]) == ("False", "Drifted")
    assert synced["message"] == "; ".join(drift[:3])
    assert conditions(drifting) == {**conditions(written(status)), "Synced": "False"}
    assert conditions(written(read_back(drifting).model_copy(update={"drift": ()}))) == conditions(
        written(status)
    )


@pytest.mark.parametrize(
    ("phase", "reason"),
    [(Phase.FAILED, "Refused"), (Phase.VERIFYING, "Verifying")],
    ids=["at rest", "under way"],
)
def test_what_was_refused_last_is_the_reason_not_to_be_synced_once_nothing_is_under_way(
    phase: Phase, reason: str
):
    refused = HistoryEntry(revision=REVISION, result=Result.REFUSED)

    told = written(ReleaseStatus(phase=phase, history=(refused,)))["conditions"]

    assert {one["type"]: one["reason"] for one in told}["Synced"] == reason


def test_a_condition_keeps_its_time_until_it_changes():
    first = read_back(written(ReleaseStatus(phase=Phase.HEALTHY, health=Health.HEALTHY)))
    later = NOW + timedelta(hours=1)

    again = written(first.model_copy(update={"health": Health.PROGRESSING}), now=later)

    times = {one["type"]: one["lastTransitionTime"] for one in again["conditions"]}
    assert times["Ready"] == "2026-11-24T12:00:00Z"
    assert times["Healthy"] == "2026-11-24T13:00:00Z"


def test_history_is_cut_and_keeps_log_lines_for_the_last_failure_only():
    entries = [
        HistoryEntry(revision=str(number), result=Result.FAILED, logs=("line",)) for number in range(20)
    ]

    kept = bounded_history(entries, keep=10)

    assert [entry.revision for entry in kept] == [str(number) for number in range(10)]
    assert [len(entry.logs) for entry in kept] == [1, *[0] * 9]


def test_what_is_kept_for_people_is_bounded_and_stays_so_when_it_is_written_again():
    entry = HistoryEntry(
        revision=REVISION,
        result=Result.FAILED,
        cause="c" * 5000,
        notes=("n" * 900,) * 500,
        logs=("l" * 9000,) * 500,
    )
    status = ReleaseStatus(
        message="m\x00\x1b" * 5000,
        history=(entry,),
        quarantined=Quarantine(revision=REVISION, cause="q" * 5000),
    )

    once = written(status)
    twice = written(read_back(once))

    kept = once["history"][0]
    assert once == twice
    assert len(once["message"]) == len(kept["cause"]) == len(once["quarantined"]["cause"]) == 1000
    assert "\x1b" not in once["message"]
    assert len(kept["notes"]) == NOTES and kept["notes"][-1] == "and 451 more"
    assert len(kept["logs"]) == LOG_LINES


def test_an_attempt_that_never_wrote_its_status_shows():
    finished = a_release(ReleaseStatus(claim="token-1"))

    assert not finished.is_unfinished
    assert replace(finished, annotations={CLAIM: "token-2"}).is_unfinished


def test_who_writes_without_a_claim_does_not_call_a_cut_off_attempt_finished():
    cut_off = replace(a_release(ReleaseStatus(claim="token-0")), is_held=False)

    assert written(ReleaseStatus(), release=cut_off)["claim"] == "token-0"
    assert written(ReleaseStatus(), release=replace(cut_off, is_held=True))["claim"] == "token-1"


def test_fields_of_a_newer_version_are_ignored_and_wrong_ones_are_an_error():
    assert read_back({"revision": REVISION, "fromTheFuture": {"a": 1}}).revision == REVISION

    with pytest.raises(ClusterError, match=r"status of Release orders.*history"):
        read_back({"history": "none"})


def test_parts_of_a_stored_revision_have_names_of_their_own():
    stored = FULL.stored_of(REVISION)

    assert stored is not None
    assert stored.part_names() == ("towline.orders.1", "towline.orders.1-2")
    assert FULL.stored_of("c3" * 20) is None
