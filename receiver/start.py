"""Serves the receiver by gunicorn, in this process and a child that answers; no configuration of gunicorn's own.

SIGTERM: no new connections, requests that run are answered, then it ends. The child dies with its parent and is started
again when it is killed; a delivery that it was answering is shown as failed by the forge, or was enqueued.
"""

from __future__ import annotations

import logging
import threading
from typing import Any
from wsgiref.util import setup_testing_defaults

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from towline.receiver.app import create_app
from towline.receiver.connection import Worker
from towline.shared.config import Config
from towline.shared.supervise import die_with_parent

THREADS = 32  # each may be held for some seconds by a slow client; an idle one costs little
CONNECTIONS = 1_000
KEEP_ALIVE_SECONDS = 15
GRACEFUL_SECONDS = (
    5  # every answer takes less, but for slow bodies, event streams and who waits for a revision
)
BACKLOG = 512

# Heads of real deliveries have some 20 fields and 1.5 kB; a session cookie has 4 kB at most.
LINE_BYTES = 4094
FIELD_BYTES = 8190
FIELDS = 64


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own messages, through our log."""

    def setup(self, cfg: object) -> None:
        """Leave handlers and form to `shared/logs.py`."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, told everything by `settings`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in settings(self._config).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called by gunicorn, before it forks."""
        return create_app(self._config)


def settings(config: Config) -> dict[str, Any]:
    """How gunicorn runs."""
    host, port = config.server.listen
    return {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "backlog": BACKLOG,
        "workers": 1,
        "worker_class": Worker,
        "threads": THREADS,
        "worker_connections": CONNECTIONS,
        "keepalive": KEEP_ALIVE_SECONDS,
        "graceful_timeout": GRACEFUL_SECONDS,
        "limit_request_line": LINE_BYTES,
        "limit_request_field_size": FIELD_BYTES,
        "limit_request_fields": FIELDS,
        "logger_class": Log,
        "preload_app": True,
        "control_socket_disable": True,
        "post_fork": _ends_with_parent,
        "post_worker_init": _warms_up,
        "proc_name": "towline-receiver",
    }


def _ends_with_parent(arbiter: Any, worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    die_with_parent(worker.ppid)


def _warms_up(worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Connect to Redis and run the application once, so that the first delivery is answered as fast as the others."""
    environ: dict[str, Any] = {"PATH_INFO": "/readyz"}
    setup_testing_defaults(environ)
    threading.Thread(target=worker.wsgi, args=(environ, lambda *_: None), daemon=True).start()


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    try:
        Server(config).run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0
