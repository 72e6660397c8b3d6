"""Wires the parts of the receiver into one WSGI application. Nothing connects before the first request."""

from __future__ import annotations

from flask import Flask

from towline.receiver import access, api, dashboard, metrics, page, probes, problem_types, problems, webhooks
from towline.receiver.context import Context
from towline.receiver.long_poll import LongPoll
from towline.receiver.tokens import Revocations, Tokens
from towline.shared.broker import Broker
from towline.shared.config import Config
from towline.shared.ledger import Ledger
from towline.shared.metrics import Metrics
from towline.shared.queue import Queue
from towline.shared.secret_key import secret_key
from towline.shared.views import Views

PARTS = (webhooks, probes, access, api, page, metrics, problem_types)


def create_app(config: Config, broker: Broker | None = None) -> Flask:
    """The application for this configuration, on its Redis unless another one is given."""
    return app_of(context_of(config, broker or Broker(config.redis_url(), patient=False)))


def app_of(context: Context) -> Flask:
    """The application on what its parts work with."""
    app = Flask("towline.receiver", static_folder=None)
    # No redirect for a slash: it would lead to the scheme and host by which a proxy calls us, and forges follow none.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    problems.register(app)
    for part in PARTS:
        app.register_blueprint(part.blueprint(context))
    dashboard.mount(app, context)
    return app


def context_of(config: Config, broker: Broker) -> Context:
    """What the parts work with."""
    key = secret_key(config)
    queue = Queue(broker, key)
    return Context(
        config=config,
        broker=broker,
        queue=queue,
        ledger=Ledger(queue),
        views=Views(broker),
        metrics=Metrics(broker),
        tokens=Tokens(key, Revocations(broker, config.data_dir)),
        secret_key=key,
        long_poll=LongPoll(broker),
    )
