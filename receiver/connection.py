"""Connections that cannot hold a thread of the receiver for long, and the gunicorn worker that uses them.

gunicorn's threaded worker reads request heads and bodies without any time limit, waits 5 s in a thread for the first
byte of a new connection, and lingers on closing ones in its main loop, where nothing else is answered meanwhile. Here:

- a thread is given to a connection when its first byte has arrived;
- one read may wait STALL_SECONDS, all reads of one request together REQUEST_SECONDS; then it is answered 408;
- a connection that is to be closed is emptied in its own thread, LINGER_SECONDS at most, so that a client which is
  still sending gets to read the answer (RFC 9112 9.6).
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

STALL_SECONDS = 2.0
REQUEST_SECONDS = 10.0  # GitHub gives up after as long; 25 MB need 20 Mbit/s
SEND_SECONDS = 10.0
LINGER_SECONDS = 0.5

TIMEOUT_ANSWER = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connection(socket.socket):
    """An accepted connection with time limits of its own, whatever its user sets."""

    deadline = 0.0  # monotonic; end of the reads of the present request
    is_late = False  # a read was not answered in time
    is_answered = False
    head: Any = None  # gunicorn's parsed head of the present request

    @classmethod
    def of(cls, accepted: socket.socket) -> Connection:
        """Takes the accepted connection over."""
        return cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())

    def setblocking(self, flag: bool, /) -> None:
        """gunicorn asks for a blocking socket when it starts on a request, so that is when the clock starts."""
        if self.fileno() < 0:
            return  # closed by its thread; gunicorn asks once more before it closes
        super().setblocking(flag)
        if flag:
            self.deadline = time.monotonic() + REQUEST_SECONDS
            self.is_late = self.is_answered = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Raises TimeoutError when nothing comes, or when the whole request takes too long."""
        self.settimeout(max(0.001, min(STALL_SECONDS, self.deadline - time.monotonic())))
        try:
            if time.monotonic() < self.deadline:
                return super().recv(size, flags)
        except TimeoutError:
            pass
        self.is_late = True
        # With this number gunicorn takes it for a client that went away, which it does not log as its own failure.
        raise TimeoutError(errno.ECONNRESET, "the request did not arrive in time")

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401 - any buffer
        """Raises TimeoutError when the client does not take the answer."""
        self.is_answered = True
        self.settimeout(SEND_SECONDS)
        super().sendall(data, flags)

    def close_after_answer(self) -> None:
        """What is left of the body is not waited for, and no other request is read."""
        if self.head is not None:
            self.head.force_close()

    def finish(self) -> None:
        """Answer a head that never came, read what is still on its way, and close."""
        try:
            if self.is_late and not self.is_answered:
                self.sendall(TIMEOUT_ANSWER)
            self.shutdown(socket.SHUT_WR)
            self.deadline = time.monotonic() + LINGER_SECONDS
            while self.recv(65536):
                pass
        except OSError:
            pass
        finally:
            self.close()


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker with connections of ours."""

    def handle(self, conn: TConn) -> object:
        """One request; False when the connection ends, as gunicorn has it."""
        if not isinstance(conn.sock, Connection):
            conn.sock = Connection.of(conn.sock)
        if not conn.initialized and not conn.wait_for_data(0):
            return _DEFER
        goes_on = super().handle(conn)
        if goes_on is False:
            conn.sock.finish()
        return goes_on

    def handle_request(self, req: object, conn: TConn) -> object:
        """Called by gunicorn when the head of a request was read."""
        conn.sock.head = req
        return super().handle_request(req, conn)
