"""The record on a real API server: claims, status, the ApplySet, what must be there before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from parts.a_release import NAME, OLDER, REVISION, applied, claim, full_status, read
from parts.cluster_client import ClientOf, config_map
from parts.control_plane import ControlPlane, KubectlError

from towline.shared.cluster import Cluster
from towline.shared.errors import Conflict, Unavailable
from towline.shared.model import Phase, ReleaseName, Result
from towline.shared.objects import (
    ADDITIONAL_NAMESPACES,
    APPLYSET_ID,
    CONTAINS_GROUP_KINDS,
    TOOLING,
    applyset_id,
    metadata_of,
)
from towline.shared.records import APPLYSET_MANAGER, Owner, Records
from towline.shared.release import RELEASE, HistoryEntry, ReleaseStatus


def test_a_release_that_does_not_exist_reads_as_none(records: Records, owner: Owner):
    assert records.read(NAME, owner.namespace) is None
    assert records.list(owner.namespace) == []


def test_the_first_claim_makes_the_release_as_the_parent_of_its_apply_set(
    records: Records, owner: Owner, cluster: Cluster
):
    release = claim(
        records, owner, kinds=("Service", "Deployment.apps"), namespaces=(owner.namespace, "jobs", "")
    )

    found = cluster.get(RELEASE, "orders", owner.namespace)
    assert found is not None
    assert found["metadata"]["labels"] == {APPLYSET_ID: applyset_id("orders", owner.namespace)}
    assert release.annotations[CONTAINS_GROUP_KINDS] == "Deployment.apps,Service"
    assert release.annotations[ADDITIONAL_NAMESPACES] == "jobs"
    assert release.annotations[TOOLING].startswith("towline/v")
    assert {one["manager"] for one in metadata_of(found)["managedFields"]} == {APPLYSET_MANAGER}
    assert release.is_unfinished
    assert records.still_claimed(release)


def test_an_ordinary_sync_costs_a_read_a_claim_and_a_status(
    records: Records, owner: Owner, requests: Counter[str]
):
    claim(records, owner)
    requests.clear()

    release = claim(records, owner, read(records, owner), token="token-2")
    records.write_status(release, ReleaseStatus(revision=REVISION))

    assert requests == {"get": 1, "update": 2}


def test_a_claim_leaves_what_others_have_written(cluster: Cluster, records: Records, owner: Owner):
    # given a Release that an operator has suspended, and that somebody else has marked and guards
    claim(records, owner)
    theirs = {
        "metadata": {
            "labels": {"team": "a"},
            "annotations": {"note": "ask Ada"},
            "finalizers": ["example.com/backup"],
        },
        "spec": {"suspended": True},
    }
    cluster.merge_patch(RELEASE, "orders", owner.namespace, theirs, manager="kubectl")

    claim(records, owner, read(records, owner), token="token-2")

    found = cluster.get(RELEASE, "orders", owner.namespace)
    none = {"metadata": {"finalizers": None}}
    cluster.merge_patch(RELEASE, "orders", owner.namespace, none, manager="kubectl")
    assert found is not None
    metadata = found["metadata"]
    assert (metadata["labels"]["team"], metadata["annotations"]["note"]) == ("a", "ask Ada")
    assert metadata["finalizers"] == ["example.com/backup"]
    assert found["spec"] == {"suspended": True}
    owned = {one["manager"]: one["fieldsV1"] for one in metadata["managedFields"]}
    assert "f:suspended" in owned["kubectl"]["f:spec"]
    assert "f:team" not in owned[APPLYSET_MANAGER]["f:metadata"]["f:labels"]


def test_an_operators_edit_between_a_read_and_a_claim_costs_the_claim_and_stays(
    records: Records, owner: Owner
):
    claim(records, owner)
    seen = read(records, owner)
    records.set_spec(seen, suspended=True)

    with pytest.raises(Conflict):
        claim(records, owner, seen, token="token-2")

    assert read(records, owner).suspended


def test_one_of_two_claims_of_the_same_state_is_lost(records: Records, owner: Owner):
    claim(records, owner)
    seen = read(records, owner)

    first = claim(records, owner, seen, token="first")
    with pytest.raises(Conflict, match="staging/orders was claimed"):
        claim(records, owner, seen, token="second")

    assert records.still_claimed(first)
    assert read(records, owner).claim == "first"


def test_one_of_two_first_installs_is_lost(records: Records, owner: Owner):
    claim(records, owner, token="first")

    with pytest.raises(Conflict, match="staging/orders was claimed"):
        claim(records, owner, token="second")


def test_an_attempt_that_lost_its_claim_writes_no_status(records: Records, owner: Owner):
    # given an attempt that was paused while another one took over
    paused = claim(records, owner, token="paused")
    newer = claim(records, owner, read(records, owner), token="newer")
    newer = records.write_status(newer, ReleaseStatus(revision=REVISION, phase=Phase.VERIFYING))

    assert not records.still_claimed(paused)
    with pytest.raises(Conflict):
        records.write_status(paused, ReleaseStatus(revision=OLDER))
    assert read(records, owner).status.revision == REVISION
    assert records.still_claimed(newer)


def test_a_refusal_after_an_attempt_that_was_cut_off_leaves_it_unfinished(records: Records, owner: Owner):
    claim(records, owner, token="cut off")

    refused = records.write_status(read(records, owner), ReleaseStatus(message="refused"))

    assert refused.status.message == "refused"
    assert read(records, owner).is_unfinished


def test_who_has_no_claim_does_not_write_over_a_newer_status(records: Records, owner: Owner):
    held = claim(records, owner)
    stale = read(records, owner)
    records.write_status(held, ReleaseStatus(revision=REVISION))

    with pytest.raises(Conflict):
        records.write_status(stale, ReleaseStatus(revision=OLDER))

    assert read(records, owner).status.revision == REVISION


def test_a_release_that_was_deleted_and_made_anew_is_another_one(records: Records, owner: Owner):
    before = claim(records, owner, token="same")
    records.delete(before)
    after = claim(records, owner, token="same")

    assert not records.still_claimed(before)
    with pytest.raises(Conflict):
        records.write_status(before, ReleaseStatus(revision=REVISION))
    with pytest.raises(Conflict):
        claim(records, owner, before, token="again")
    records.delete(before)  # takes nothing but itself
    assert records.still_claimed(after)


def test_an_operator_s_edit_does_not_cost_an_attempt_its_claim_and_is_still_to_be_carried_out(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    release = claim(records, owner)
    control_plane.kubectl(
        "patch",
        "rel",
        "orders",
        "-n",
        owner.namespace,
        "--type=merge",
        "-p",
        f'{{"spec":{{"suspended":true,"pinned":"{OLDER}"}}}}',
    )

    assert records.still_claimed(release)
    written = records.write_status(release, ReleaseStatus(revision=REVISION))

    assert (written.suspended, written.pinned) == (True, OLDER)
    assert (written.status.observed_generation, written.generation) == (1, 2)


def test_a_pinned_revision_that_is_none_is_refused(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    claim(records, owner)

    with pytest.raises(KubectlError, match="pinned"):
        control_plane.kubectl(
            "patch",
            "rel",
            "orders",
            "-n",
            owner.namespace,
            "--type=merge",
            "-p",
            '{"spec":{"pinned":"HEAD"}}',
        )


def test_nothing_of_a_full_status_is_pruned_by_the_schema(records: Records, owner: Owner):
    release = claim(records, owner)
    status = full_status(release, records)

    written = records.write_status(release, status)

    again = read(records, owner)
    assert replace(again, is_held=True) == written
    computed = {"short_revision", "short_stable_revision", "observed_generation", "claim", "conditions"}
    assert again.status.model_dump(exclude=computed) == status.model_dump(exclude=computed)
    assert not again.is_unfinished


def test_a_status_takes_the_place_of_the_one_before(records: Records, owner: Owner):
    release = claim(records, owner)
    release = records.write_status(release, full_status(release, records))

    records.write_status(release, ReleaseStatus(revision=OLDER))

    status = read(records, owner).status
    assert status.quarantined is None
    assert (status.stored, status.objects, status.history) == ((), (), ())


def test_history_is_cut_to_what_is_configured(cluster: Cluster, records: Records, owner: Owner):
    release = claim(records, owner)
    history = tuple(HistoryEntry(revision=REVISION, result=Result.SYNCED, subject=str(n)) for n in range(9))

    written = Records(cluster, history=3).write_status(release, ReleaseStatus(history=history))

    assert [entry.subject for entry in written.status.history] == ["0", "1", "2"]


def test_the_apply_set_grows_before_an_apply_and_shrinks_when_it_was_finished(records: Records, owner: Owner):
    namespace = owner.namespace
    claim(records, owner, kinds=("ConfigMap",), namespaces=("jobs",))

    # an attempt that did not finish: what it may have applied stays in the set
    second = claim(records, owner, read(records, owner), token="2", kinds=("Service",))
    assert second.annotations[CONTAINS_GROUP_KINDS] == "ConfigMap,Service"
    assert second.annotations[ADDITIONAL_NAMESPACES] == "jobs"

    # one that did: only what it left behind counts
    records.write_status(second, ReleaseStatus(objects=applied(namespace, "Service")))
    third = claim(records, owner, read(records, owner), token="3", kinds=("Secret",))
    assert third.annotations[CONTAINS_GROUP_KINDS] == "Secret,Service"
    assert ADDITIONAL_NAMESPACES not in third.annotations


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"repository": "other"}, "repository shop, environment staging; it is claimed by repository other"),
        ({"name": ReleaseName("preview", "orders")}, "environment preview"),
    ],
)
def test_one_name_and_two_owners_is_an_error_that_names_both(
    records: Records, owner: Owner, change: dict[str, Any], named: str
):
    claim(records, owner)  # and killed before its first status

    with pytest.raises(Conflict, match=named):
        claim(records, replace(owner, **change), read(records, owner), token="token-2")

    assert read(records, owner).claim == "token-1"


def test_a_release_that_was_handed_over_to_another_tool_is_left_alone(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    claim(records, owner)
    control_plane.kubectl(
        "annotate", "rel", "orders", "-n", owner.namespace, "--overwrite", f"{TOOLING}=kubectl/v1.36"
    )

    with pytest.raises(Conflict, match=r"handed over to kubectl/v1\.36"):
        claim(records, owner, read(records, owner), token="token-2")


def test_a_claim_in_a_namespace_that_is_missing_says_so(records: Records, owner: Owner):
    with pytest.raises(Exception, match=f'namespaces "{owner.namespace}-x" not found'):
        claim(records, replace(owner, namespace=f"{owner.namespace}-x"))


def test_namespaces_are_made_once_and_not_while_they_are_deleted(
    records: Records, cluster: Cluster, namespace_name: str, requests: Counter[str]
):
    records.ensure_namespace(namespace_name, environment="staging")
    requests.clear()
    records.ensure_namespace(namespace_name, environment="staging")
    assert requests == {"get": 1}

    held = config_map(namespace_name)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.apply(held)
    resource = cluster.resource("v1", "Namespace")
    found = cluster.get(resource, namespace_name)
    assert found is not None
    cluster.delete(resource, namespace_name, uid=metadata_of(found)["uid"], resource_version="")
    with pytest.raises(Unavailable, match="is being deleted"):
        records.ensure_namespace(namespace_name, environment="staging")
    cluster.merge_patch(
        cluster.resource("v1", "ConfigMap"), "settings", namespace_name, {"metadata": {"finalizers": None}}
    )


def test_the_definition_is_written_once(records: Records, requests: Counter[str]):
    requests.clear()

    records.ensure_crd()

    assert requests == {"get": 1}


def test_a_definition_that_we_may_not_write_is_used_as_it_is(records: Records, client_of: ClientOf):
    Records(client_of("nobody")).ensure_crd()
