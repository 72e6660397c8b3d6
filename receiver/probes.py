"""`/healthz`: this process answers. `/readyz`: it could take a delivery now, for which Redis is all it needs.

Clusters and Git servers have no say here: a receiver receives while they are away.
"""

from __future__ import annotations

from flask import Blueprint, Response

from towline.receiver.api_models import Probe
from towline.receiver.context import Context


def blueprint(context: Context) -> Blueprint:
    """Both probes, open to everybody: they tell nothing else."""
    routes = Blueprint("probes", __name__)

    @routes.get("/healthz")
    def alive() -> Response:
        return _well()

    @routes.get("/readyz")
    def ready() -> Response:
        with context.broker.guard():
            context.broker.redis.ping()
        return _well()

    return routes


def _well() -> Response:
    return Response(Probe().model_dump_json(), mimetype="application/json")
