"""A clock that is set forwards: a release is late only where the cluster's clock says so too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from parts.judging import Judge

from towline.shared.model import Health, Phase
from towline.worker.decision import concluded
from towline.worker.verify import time_of

HOUR = timedelta(hours=1)


def conclusion(judge: Judge, *, now: datetime) -> Phase | None:
    """To what phase a worker brings a release that is not healthy yet, with this time on its clock."""
    believed = time_of(judge.target(), judge.release.status, now)
    status = concluded(judge.release, Health.PROGRESSING, "0 of 1 ready", now=believed)
    return status.phase if status else None


def test_a_release_is_not_late_when_only_the_worker_s_clock_says_so(judge: Judge) -> None:
    judge.apply()
    assert conclusion(judge, now=datetime.now(UTC) + HOUR) is None


def test_a_release_is_late_when_the_cluster_s_clock_says_so_too(judge: Judge) -> None:
    judge.apply()
    old = judge.release.status.model_copy(update={"synced_at": datetime.now(UTC) - 2 * HOUR})
    judge.release = replace(judge.release, status=old)
    assert conclusion(judge, now=datetime.now(UTC) + HOUR) is Phase.FAILED
