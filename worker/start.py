"""What the worker and the clock consist of as programs, for `python -m towline.worker` and for `towline up`."""

from __future__ import annotations

import os
import secrets
import socket
from functools import partial

from towline.shared import logs
from towline.shared.broker import Broker
from towline.shared.config import Config
from towline.shared.jobs import QueueName
from towline.shared.ledger import Ledger
from towline.shared.metrics import Metrics
from towline.shared.queue import Queue
from towline.shared.secret_key import secret_key
from towline.shared.supervise import Program
from towline.shared.views import Views
from towline.worker.clock import run_clock
from towline.worker.render.programs import Programs
from towline.worker.runner import work
from towline.worker.tools import Tools

GENERAL = [QueueName.URGENT, QueueName.PUSHES, QueueName.SYNCS, QueueName.BACKGROUND]
URGENT = [QueueName.URGENT]  # a worker for it alone: rollbacks and operators never wait for a sync to end


def tools_of(config: Config) -> Tools:
    """The clients of one process; made after the fork, since connections are not shared."""
    broker = Broker(config.redis_url())
    queue = Queue(broker, secret_key(config))
    return Tools(
        config=config,
        broker=broker,
        queue=queue,
        ledger=Ledger(queue),
        views=Views(broker),
        metrics=Metrics(broker),
        programs=Programs.find(),
    )


def worker_programs(config: Config) -> list[Program]:
    """One worker for `urgent` alone, and as many general ones as configured."""
    general = [
        Program(name=f"worker-{number}", run=partial(_work, config, GENERAL, f"general-{number}"))
        for number in range(1, config.sync.workers + 1)
    ]
    return [Program(name="worker-urgent", run=partial(_work, config, URGENT, "urgent")), *general]


def clock_program(config: Config) -> Program:
    """The clock."""
    return Program(name="clock", run=partial(_clock, config))


def preload() -> None:
    """Import what jobs need before forking: the official Kubernetes client alone takes 0.6 s."""
    import kubernetes.client
    import kubernetes.config  # noqa: F401


def _work(config: Config, queues: list[QueueName], role: str) -> int:
    logs.configure(config.secrets)
    name = f"{socket.gethostname().split('.')[0]}-{role}-{os.getpid()}-{secrets.token_hex(3)}"
    return work(tools_of(config), queues, name=name)


def _clock(config: Config) -> int:
    logs.configure(config.secrets)
    return run_clock(tools_of(config))
