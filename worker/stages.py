"""How long each stage of a job took: for the history entry, the metric and the bench; a fault point at both ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from towline.shared.faults import fault
from towline.shared.metrics import STAGE_SECONDS, Metrics


class Stages:
    """The stages of one job so far, in seconds; a stage entered twice adds up."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one stage, whether it ends well or not."""
        started = time.perf_counter()
        fault(f"{name}.begin")
        try:
            yield
            fault(f"{name}.end")
        finally:
            seconds = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self._metrics.observe(STAGE_SECONDS, seconds, stage=name)

    def since_begin(self) -> timedelta:
        """How long ago the job began."""
        return timedelta(seconds=time.monotonic() - self._began)

    def rounded(self) -> dict[str, float]:
        """To tenths of a millisecond, which is what a person can use."""
        return {name: round(seconds, 4) for name, seconds in self.seconds.items()}
