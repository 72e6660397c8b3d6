"""What every part of the receiver works with, made once a process by `app.py`."""

from __future__ import annotations

from dataclasses import dataclass

from towline.receiver.long_poll import LongPoll
from towline.receiver.tokens import Tokens
from towline.shared.broker import Broker
from towline.shared.config import Config
from towline.shared.ledger import Ledger
from towline.shared.metrics import Metrics
from towline.shared.queue import Queue
from towline.shared.views import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The configuration and the ways to Redis; nothing here connects before it is used."""

    config: Config
    broker: Broker
    queue: Queue
    ledger: Ledger
    views: Views
    metrics: Metrics
    tokens: Tokens
    secret_key: str
    long_poll: LongPoll
