"""`/metrics`, counted by several processes and read by Prometheus' own parser."""

from __future__ import annotations

import subprocess
import sys
import time

from flask.testing import FlaskClient
from parts.answering import deliver, show
from parts.redis import RedisServer
from prometheus_client.parser import text_string_to_metric_families

from towline.receiver.context import Context
from towline.shared.metrics import COMPUTED, COUNTED, DELIVERIES, STAGE_SECONDS, SYNCS

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(web: FlaskClient) -> Samples:
    answer = web.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


COUNTING = """
import sys
from towline.shared.broker import Broker
from towline.shared.metrics import DELIVERIES, STAGE_SECONDS, Metrics
metrics = Metrics(Broker(sys.argv[1]))
for _ in range(100):
    metrics.count(DELIVERIES, forge="github", verdict="accepted")
    metrics.observe(STAGE_SECONDS, 0.02, stage="fetch")
    metrics.flush()
"""


def test_processes_add_up(web: FlaskClient, context: Context) -> None:
    command = [sys.executable, "-c", COUNTING, context.broker.url]
    processes = [subprocess.Popen(command) for _ in range(3)]

    assert [process.wait() for process in processes] == [0, 0, 0]

    samples = scrape(web)
    labels = (("forge", "github"), ("verdict", "accepted"))
    assert samples["towline_deliveries_total", labels] == 300
    assert samples["towline_stage_seconds_count", (("stage", "fetch"),)] == 300


def test_observations_fall_into_their_buckets(web: FlaskClient, context: Context) -> None:
    for seconds in (0.0, 0.001, 0.0011, 0.03, 29.9, 30.0, 30.1, 1e9):
        context.metrics.observe(STAGE_SECONDS, seconds, stage="apply")

    samples = scrape(web)

    def below(bound: str) -> float:
        return samples["towline_stage_seconds_bucket", (("le", bound), ("stage", "apply"))]

    assert [below(bound) for bound in ("0.001", "0.0025", "0.05", "30.0", "+Inf")] == [2, 3, 4, 6, 8]
    assert samples["towline_stage_seconds_count", (("stage", "apply"),)] == 8
    assert samples["towline_stage_seconds_sum", (("stage", "apply"),)] == 1e9 + 90.0321


def test_every_declared_metric_is_in_the_text(web: FlaskClient) -> None:
    text = web.get("/metrics").text

    for metric in (*COUNTED, *COMPUTED):
        assert f"# TYPE {metric.name} " in text


def test_labels_of_others_are_escaped(web: FlaskClient, context: Context) -> None:
    service = 'a"} 1\ntowline_syncs_total{x="\\'
    context.metrics.count(SYNCS, environment="staging", service=service, result="synced")

    samples = scrape(web)

    labels = (("environment", "staging"), ("result", "synced"), ("service", service))
    assert samples["towline_syncs_total", labels] == 1


def test_fields_that_are_not_ours_are_left_out(web: FlaskClient, context: Context) -> None:
    context.metrics.count(SYNCS, environment="staging", service="orders", result="synced")
    context.metrics.flush()
    key = "towline:metric:towline_syncs_total"
    for field in ("", "]", "[]", '["a"]', '{"a":1}', "[" * 10_000 + "]", "\xff", '["a","b","c","d"]'):
        context.broker.redis.hset(key, field, "1")
    context.broker.redis.hset(key, '["staging","web","synced"]', "many")

    found = [name for name in scrape(web) if name[0] == "towline_syncs_total"]

    assert len(found) == 1


def test_queues_and_releases_are_looked_at_when_scraped(web: FlaskClient, context: Context) -> None:
    show(context, "staging/orders", phase="Failed", health="failed")
    deliver(context, "d-1")

    samples = scrape(web)

    assert samples["towline_queue_depth", (("queue", "pushes"),)] == 1
    assert samples["towline_queue_depth", (("queue", "syncs"),)] == 0
    assert 0 <= samples["towline_queue_oldest_seconds", (("queue", "pushes"),)] < 60
    labels = {
        "environment": "staging",
        "service": "orders",
        "revision": "1" * 10,
        "phase": "Failed",
        "health": "failed",
    }
    assert samples["towline_release_info", tuple(sorted(labels.items()))] == 1


def test_what_was_counted_while_redis_was_away_is_added_later(
    context: Context, redis_server: RedisServer
) -> None:
    redis_server.pause()
    context.metrics.count(DELIVERIES, forge="gitea", verdict="refused")
    started = time.monotonic()
    context.metrics.flush()
    assert time.monotonic() - started < 2
    redis_server.resume()

    context.metrics.count(DELIVERIES, forge="gitea", verdict="refused")
    context.metrics.flush()

    stored = context.broker.redis.hget("towline:metric:towline_deliveries_total", '["gitea","refused"]')
    assert float(stored) >= 2
    assert context.metrics.pending() == {}


def test_an_answer_flushes_what_its_process_counted(web: FlaskClient, context: Context) -> None:
    context.metrics.count(DELIVERIES, forge="github", verdict="accepted")

    web.get("/sign-in").close()

    assert context.metrics.pending() == {}
