"""Every metric of Towline, declared once, and how several processes count in them together.

Receivers, workers and the clock are processes of their own, perhaps on several hosts, and only the receiver answers
`/metrics`. So each process adds up in memory and now and then adds its sums to one place, Redis; the receiver renders
what stands there. That stays right when processes come, go and are killed, which files in a shared folder do not.

Redis keys, without an end: they start at 0 again after a wiped Redis, which Prometheus takes for a restart:

    towline:metric:<name>    hash   counter: `<labels as a JSON list>` -> sum
                                    histogram: `<labels as a JSON list>|<le>` -> observations in that bucket alone
                                    (the first bucket they fit), and `<labels>|sum` -> sum of the observed values

A process that is killed loses what it has not flushed; what Redis added without being able to say so is added twice.
Whoever counts calls `flush` when a job or an answer is done.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from towline.shared.broker import Broker
from towline.shared.errors import RedisDown

KEY = "towline:metric:"
SERIES_LIMIT = 20_000  # label sets of one metric; a scrape of more would take seconds
LABEL_LIMIT = 200  # characters of one label value

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WHOLE = (0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Counter:
    """Goes up; `<name>_total` in the text, as Prometheus has it."""

    name: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observed seconds, sorted into buckets by their upper bounds."""

    name: str
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A state, computed by the receiver when it is asked."""

    name: str
    labels: tuple[str, ...]
    text: str


DELIVERIES = Counter(
    "towline_deliveries_total", ("forge", "verdict"), "Webhook deliveries by what was decided about them."
)
PUSH_TO_APPLIED = Histogram(
    "towline_push_to_applied_seconds",
    ("environment",),
    "From the receipt of a push to a release applied.",
    WHOLE,
)
PUSH_TO_HEALTHY = Histogram(
    "towline_push_to_healthy_seconds",
    ("environment",),
    "From the receipt of a push to a release found healthy.",
    WHOLE,
)
STAGE_SECONDS = Histogram("towline_stage_seconds", ("stage",), "Time in one stage of a push or a sync.", FAST)
SYNCS = Counter("towline_syncs_total", ("environment", "service", "result"), "Syncs by how they ended.")
ROLLBACKS = Counter(
    "towline_rollbacks_total",
    ("environment", "service", "cause"),
    "Revisions that failed and were rolled back, by what was seen.",
)
DRIFT = Counter(
    "towline_drift_total",
    ("environment", "service"),
    "Objects seen to differ from what was applied.",
)
OBJECTS = Counter("towline_objects_total", ("action",), "Kubernetes objects by what a sync did to them.")
KUBERNETES_SECONDS = Histogram(
    "towline_kubernetes_request_seconds",
    ("verb", "code"),
    "Requests to Kubernetes API servers; code 0 when there was no answer.",
    FAST,
)
RELEASE_INFO = Gauge(
    "towline_release_info",
    ("environment", "service", "revision", "phase", "health"),
    "1 for each release, with its state as labels.",
)
QUEUE_DEPTH = Gauge("towline_queue_depth", ("queue",), "Jobs waiting in a queue.")
QUEUE_OLDEST = Gauge(
    "towline_queue_oldest_seconds", ("queue",), "How long the first job of a queue has waited."
)

WATCHER_ACTIVE = Gauge("towline_watcher_active", ("cluster",), "1 where a watcher keeps up with the cluster.")

COUNTED: tuple[Counter | Histogram, ...] = (
    DELIVERIES,
    PUSH_TO_APPLIED,
    PUSH_TO_HEALTHY,
    STAGE_SECONDS,
    SYNCS,
    ROLLBACKS,
    DRIFT,
    OBJECTS,
    KUBERNETES_SECONDS,
)
COMPUTED: tuple[Gauge, ...] = (RELEASE_INFO, QUEUE_DEPTH, QUEUE_OLDEST, WATCHER_ACTIVE)


class Metrics:
    """One process's sums since the last flush; safe to use from several threads."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str], float] = {}  # (metric's name, field) -> what to add

    def count(self, counter: Counter, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter; costs no request."""
        with self._lock:
            self._add(counter.name, _field(counter, labels), amount)

    def observe(self, histogram: Histogram, seconds: float, /, **labels: str) -> None:
        """Sort one observation into its bucket; costs no request."""
        field = _field(histogram, labels)
        with self._lock:
            self._add(histogram.name, f"{field}|{_bucket(histogram, seconds)}", 1)
            self._add(histogram.name, f"{field}|sum", seconds)

    def observe_request(self, verb: str, code: str, seconds: float) -> None:
        """One request to a Kubernetes API server: what `shared/cluster.py` calls after each."""
        self.observe(KUBERNETES_SECONDS, seconds, verb=verb, code=code)

    def _add(self, name: str, field: str, amount: float) -> None:
        self._sums[name, field] = self._sums.get((name, field), 0.0) + amount

    def flush(self) -> None:
        """Add the sums to Redis in one round trip; when it does not answer they are kept for the next time."""
        with self._lock:
            sums, self._sums = self._sums, {}
        if not sums:
            return
        try:
            with self._broker.guard(), self._broker.redis.pipeline(transaction=True) as pipe:
                for (name, field), amount in sums.items():
                    pipe.hincrbyfloat(KEY + name, field, amount)
                pipe.execute()
        except RedisDown:
            with self._lock:
                for (name, field), amount in sums.items():
                    self._add(name, field, amount)

    def pending(self) -> dict[tuple[str, str], float]:
        """What is not flushed yet: metric and field in Redis -> what will be added."""
        with self._lock:
            return dict(self._sums)

    def families(self) -> Iterator[Metric]:
        """What all processes have counted, for prometheus_client's text format; raises RedisDown."""
        with self._broker.guard(), self._broker.redis.pipeline(transaction=False) as pipe:
            for metric in COUNTED:
                pipe.hgetall(KEY + metric.name)
            answers: list[dict[bytes, bytes]] = pipe.execute()
        for metric, raw in zip(COUNTED, answers, strict=True):
            yield _counters(metric, raw) if isinstance(metric, Counter) else _histograms(metric, raw)


def _field(metric: Counter | Histogram, labels: dict[str, str]) -> str:
    values = [labels.pop(name)[:LABEL_LIMIT] for name in metric.labels]
    if labels:
        raise TypeError(f"{metric.name} has no label {', '.join(labels)}")
    return json.dumps(values, separators=(",", ":"))


def _bucket(histogram: Histogram, seconds: float) -> str:
    index = bisect_left(histogram.buckets, seconds)
    return repr(histogram.buckets[index]) if index < len(histogram.buckets) else "+Inf"


def _series(metric: Counter | Histogram, raw: dict[bytes, bytes]) -> Iterator[tuple[list[str], str, float]]:
    """Labels, suffix and value of each field; what is not of our form is left out, since others may write to Redis."""
    for field, number in sorted(raw.items())[: SERIES_LIMIT * 20]:
        text, _, suffix = field.decode("utf-8", "replace").rpartition("]")
        try:
            labels, value = json.loads(text + "]"), float(number)
        except (ValueError, RecursionError):
            continue
        if isinstance(labels, list) and len(labels) == len(metric.labels):
            yield [str(label) for label in labels], suffix.removeprefix("|"), value


def _counters(metric: Counter, raw: dict[bytes, bytes]) -> Metric:
    family = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, _, value in _series(metric, raw):
        family.add_metric(labels, value)
    return family


def _histograms(metric: Histogram, raw: dict[bytes, bytes]) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    parts: dict[tuple[str, ...], dict[str, float]] = {}
    for labels, suffix, value in _series(metric, raw):
        parts.setdefault(tuple(labels), {})[suffix] = value
    for key, found in parts.items():
        total, buckets = 0.0, []
        for bound in [*map(repr, metric.buckets), "+Inf"]:
            total += found.get(bound, 0.0)
            buckets.append((bound, total))
        family.add_metric(key, buckets=buckets, sum_value=found.get("sum", 0.0))
    return family
