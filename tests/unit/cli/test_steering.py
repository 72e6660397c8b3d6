"""How the attempt that a command asked for ended, by what the release says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from towline.cli.steering import end_of

ASKED = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)
OURS = "2026-11-25T12:00:00.123456Z"
BEFORE = "2026-11-25T11:59:59Z"
LATER = "2026-11-25T12:00:01Z"


def entry(result: str, received: str | None) -> dict[str, Any]:
    return {"revision": "a" * 40, "result": result, "cause": "", "receivedAt": received}


def release(*history: dict[str, Any], error: str = "", updated: str = LATER) -> dict[str, Any]:
    return {"history": list(history), "error": error, "updatedAt": updated, "revision": "b" * 40}


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (release(entry("healthy", OURS), entry("failed", BEFORE)), "healthy"),
        (release(entry("synced", OURS)), None),
        (release(entry("healthy", LATER), entry("refused", OURS)), "refused"),
        (release(entry("synced", LATER), entry("healthy", BEFORE)), "superseded"),
        (release(entry("healthy", BEFORE), entry("healthy", None)), None),
        (release(error="no such branch"), "failed"),
        (release(error="no such branch", updated=BEFORE), None),
        (release(error="to be tried again: the cluster is away"), None),
    ],
)
def test_the_end_of_the_attempt_that_was_asked_for(found: dict[str, Any], result: str | None) -> None:
    end = end_of(found, ASKED)

    assert (end["result"] if end else None) == result
