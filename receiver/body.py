"""Reads a request's body, which comes from a stranger: never more than the limit and never longer than the deadline.

In: the request. Out: all of the body, or TooLarge, TooSlow, DeliveryError. Flask's own limit cuts a chunked body off in
silence, so what arrives is counted here. How long one read may take, and all of them, is watched by the connection
itself (`connection.py`); its time-out arrives here as TimeoutError.
"""

from __future__ import annotations

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from towline.receiver.connection import Connection
from towline.shared.errors import DeliveryError, TooLarge, TooSlow

PIECE_BYTES = 256 * 1024


def read_body(request: Request, *, limit_bytes: int) -> bytes:
    """The whole body, `limit_bytes` at most."""
    try:
        return _read(request, limit_bytes)
    except DeliveryError:
        _close_after_answer(request)
        raise


def check_length(request: Request, *, limit_bytes: int) -> None:
    """Raises TooLarge when the request itself says that its body is above the limit; reads nothing of it."""
    if (request.content_length or 0) > limit_bytes:
        _close_after_answer(request)
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> TooLarge:
    """The error for a body above the limit."""
    return TooLarge(f"the body is longer than {limit_bytes} bytes", hint="see server.max_body_bytes")


def _read(request: Request, limit_bytes: int) -> bytes:
    pieces, size = [], 0
    try:
        while piece := request.stream.read(min(PIECE_BYTES, limit_bytes + 1 - size)):
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                raise too_large(limit_bytes)
    except TimeoutError as error:
        raise TooSlow("the body did not arrive in time", hint="send it again") from error
    except (ClientDisconnected, OSError) as error:
        raise _ended_early() from error
    except ParseException as error:
        raise DeliveryError("the body is not chunked in the way of HTTP", hint="see RFC 9112 7.1") from error
    if request.content_length is not None and size < request.content_length:
        raise _ended_early()
    return b"".join(pieces)


def _ended_early() -> DeliveryError:
    return DeliveryError("the body ended early", hint="send it again")


def _close_after_answer(request: Request) -> None:
    """What is left of the body is not waited for."""
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, Connection):
        connection.close_after_answer()
