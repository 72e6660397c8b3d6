"""A watcher on a real API server and a real Redis, without any worker or clock: what it asks for, and when."""

from __future__ import annotations

import time

from parts.eventually import eventually
from parts.watched import Watched, deployment, settings

from towline.shared.jobs import QueueName


def test_a_rollout_that_becomes_healthy_is_asked_for_once_and_without_a_clock(watched: Watched):
    watched.start()

    watched.apply("orders", [deployment(), settings()])

    eventually(lambda: watched.asked("orders", QueueName.BACKGROUND))
    assert len(watched.asked("orders")) == 1
