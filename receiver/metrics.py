"""`/metrics`: what all processes have counted, and what is true at this moment, as Prometheus' text.

Open to whoever reaches the receiver, as scrapers expect; it names environments, services, revisions and clusters and
nothing else. Costs two reads of Redis for the queues, one for the releases, one for the watchers and one for each counted
metric, in one pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from towline.receiver.context import Context
from towline.shared.metrics import QUEUE_DEPTH, QUEUE_OLDEST, RELEASE_INFO, WATCHER_ACTIVE, Gauge
from towline.shared.model import short
from towline.shared.watchers import Watchers


class Exposition(Collector):
    """Collects everything anew for each scrape."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """All families; raises RedisDown."""
        yield from self._context.metrics.families()
        yield self._releases()
        queue = self._context.queue
        yield _queues(QUEUE_DEPTH, {name.value: float(depth) for name, depth in queue.depths().items()})
        ages = queue.oldest_seconds(now=time.time())
        yield _queues(QUEUE_OLDEST, {name.value: seconds for name, seconds in ages.items()})
        yield self._watchers()

    def _watchers(self) -> Metric:
        family = _family(WATCHER_ACTIVE)
        clusters = self._context.config.clusters
        active = Watchers(self._context.broker).active(clusters)
        for name in clusters:
            family.add_metric([name], float(name in active))
        return family

    def _releases(self) -> Metric:
        family = _family(RELEASE_INFO)
        for view in self._context.views.list():
            revision = short(str(view.status.get("revision") or ""))
            health = str(view.status.get("health") or "")
            family.add_metric([view.environment, view.service, revision, view.phase, health], 1)
        return family


def blueprint(context: Context) -> Blueprint:
    """`/metrics`, and the flush of what this process counted after each answer."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def scrape() -> Response:
        context.metrics.flush()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(context))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    @routes.after_app_request
    def flush(answer: Response) -> Response:
        answer.call_on_close(context.metrics.flush)
        return answer

    return routes


def _family(gauge: Gauge) -> GaugeMetricFamily:
    return GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)


def _queues(gauge: Gauge, values: dict[str, float]) -> Metric:
    family = _family(gauge)
    for name, value in values.items():
        family.add_metric([name], value)
    return family
