"""Structured logs: a fixed dotted event and its facts as fields, JSON unless a person reads along.

One redaction step removes secrets, by value (whatever the configuration names as secret, as it is now) and by key.
Libraries that log through the standard library pass the same steps.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import structlog

MASK = "***"
SHORTEST = 4  # characters; a shorter secret would mask every other word, and protects nothing
SECRET_KEY = re.compile(r"password|passphrase|secret|authorization|cookie|private|credential", re.IGNORECASE)
URL_USER = re.compile(r"(?<=://)[^/\s@]+@")  # user and password before the host of any URL

Event = MutableMapping[str, Any]


class Redaction:
    """Removes secrets from everything that is logged; `secrets` is asked each time, since they rotate."""

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        self._secrets = secrets

    def __call__(self, logger: object, method: str, event: Event) -> Event:
        """A structlog processor."""
        values = sorted((s for s in self._secrets() if len(s) >= SHORTEST), key=len, reverse=True)
        return {
            key: MASK if SECRET_KEY.search(key) and value else redact(value, values)
            for key, value in event.items()
        }


def redact(value: Any, secrets: list[str]) -> Any:  # noqa: ANN401 - whatever somebody logs
    """The same value without any of these secrets, nor credentials in URLs; longest secrets first."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return URL_USER.sub(f"{MASK}@", value)
    if isinstance(value, dict):
        return {key: redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    if isinstance(value, int | float | bool | None):
        return value
    return redact(str(value), secrets)


def configure(secrets: Callable[[], Iterable[str]] = tuple, *, level: str = "INFO") -> None:
    """Set up logging for this process, to standard error."""
    person = sys.stderr.isatty()
    steps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        Redaction(secrets),
    ]
    render: Any = structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("urllib3", "kubernetes", "rq.worker", "werkzeug"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
