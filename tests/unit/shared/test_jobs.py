"""The closed table of jobs: ids, descriptions and seals."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.shared.errors import AccessError
from towline.shared.jobs import JobName, PushArguments, Seal, SyncArguments, job_id, readable

SEAL = Seal("0123456789abcdef0123456789abcdef")
SYNC = SyncArguments(release="staging/orders")


def test_what_we_sealed_for_a_job_opens_for_that_job():
    sealed = SEAL.close("sync_1", JobName.SYNC, SYNC)

    assert SEAL.open("sync_1", sealed) == (JobName.SYNC, SYNC)


def test_an_argument_sealed_for_one_job_does_not_open_for_another():
    sealed = SEAL.close("sync_1", JobName.SYNC, SYNC)

    with pytest.raises(AccessError, match="sync_2"):
        SEAL.open("sync_2", sealed)


def test_another_installations_seal_does_not_open():
    sealed = Seal("fedcba9876543210fedcba9876543210").close("sync_1", JobName.SYNC, SYNC)

    with pytest.raises(AccessError):
        SEAL.open("sync_1", sealed)


def test_a_changed_argument_does_not_open():
    sealed = SEAL.close("sync_1", JobName.SYNC, SYNC).replace("orders", "ledger")

    with pytest.raises(AccessError):
        SEAL.open("sync_1", sealed)


@pytest.mark.parametrize("body", [None, 7, "", "{}", "os.system", b"\xff", [], "[" * 100_000])
def test_what_is_no_seal_at_all_is_refused(body):
    with pytest.raises(AccessError):
        SEAL.open("sync_1", body)


@given(st.text(max_size=300), st.integers(min_value=1, max_value=10**9))
def test_any_label_makes_an_id_that_rq_takes(label, number):
    identifier = job_id(label, number)

    assert re.fullmatch(r"[A-Za-z0-9_-]+", identifier)
    assert len(identifier) < 140
    assert identifier.endswith(f"_{number}")


def test_labels_that_differ_only_in_refused_characters_make_different_ids():
    assert job_id("push_a/b", 1) != job_id("push_a.b", 1)


def test_a_description_holds_nothing_that_a_page_could_run():
    assert (
        readable("push shop refs/heads/<script>alert(1)</script>")
        == "push shop refs/heads/?script?alert(1)?/script?"
    )


def test_a_sealed_argument_shows_no_more_than_names():
    arguments = PushArguments(
        repository="shop", ref="refs/heads/main", sequence=1, trigger="webhook", delivery="d", received_at=1.0
    )

    body = SEAL.close("push_1", JobName.PUSH, arguments)

    assert set(json.loads(body.rpartition(".")[0])) == {"id", "job", "arguments"}
