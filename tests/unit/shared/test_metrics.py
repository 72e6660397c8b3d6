"""The metrics that are declared, against the names that others depend on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from towline.shared.broker import Broker
from towline.shared.metrics import COMPUTED, COUNTED, DELIVERIES, Counter, Histogram, Metrics

ROOT = Path(__file__).parents[3]


def test_docs_list_the_metrics_with_their_labels() -> None:
    documented = set(
        re.findall(r"^\| `(towline_\w+\{[\w,]*\})`", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    )

    assert documented == {f"{metric.name}{{{','.join(metric.labels)}}}" for metric in (*COUNTED, *COMPUTED)}


def test_counters_end_in_total_and_histograms_in_seconds() -> None:
    for metric in COUNTED:
        ending = "_total" if isinstance(metric, Counter) else "_seconds"
        assert metric.name.endswith(ending), metric.name


def test_buckets_rise() -> None:
    for metric in COUNTED:
        if isinstance(metric, Histogram):
            assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name


@pytest.mark.parametrize("labels", [{"forge": "github"}, {"forge": "github", "verdict": "x", "ref": "main"}])
def test_a_count_needs_exactly_the_declared_labels(labels: dict[str, str]) -> None:
    metrics = Metrics(Broker("redis://127.0.0.1:1/0", patient=False))

    with pytest.raises((KeyError, TypeError)):
        metrics.count(DELIVERIES, **labels)


def test_counts_are_kept_while_redis_is_away() -> None:
    metrics = Metrics(Broker("redis://127.0.0.1:1/0", patient=False))

    metrics.count(DELIVERIES, forge="github", verdict="accepted")
    metrics.flush()
    metrics.count(DELIVERIES, forge="github", verdict="accepted")
    metrics.flush()

    assert metrics.pending() == {("towline_deliveries_total", '["github","accepted"]'): 2.0}
