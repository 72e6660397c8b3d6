"""The commands that run something until they are stopped: up, receiver, worker, watcher, clock, demo."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from towline.cli.embedded_redis import embedded_url, redis_program, wait_ready
from towline.shared import logs
from towline.shared.config import REDIS_VARIABLE, Config, load_config
from towline.shared.secret_key import secret_key
from towline.shared.supervise import Program, Supervisor

CONFIG = click.option("--config", "-c", type=click.Path(path_type=Path), help="towline.yaml")


@click.command()
@CONFIG
def up(config: Path | None) -> None:
    """Run receiver, workers, watchers and clock in one process group, with a Redis of its own if none is configured."""
    loaded = _loaded(config)
    sys.exit(Supervisor(programs_of(loaded)).run())


@click.command()
@CONFIG
def receiver(config: Path | None) -> None:
    """Run the receiver alone."""
    from towline.receiver.start import serve

    loaded = _loaded(config)
    loaded.redis_url()
    sys.exit(serve(loaded))


@click.command()
@CONFIG
def worker(config: Path | None) -> None:
    """Run this host's workers alone."""
    from towline.worker.start import preload, worker_programs

    loaded = _loaded(config)
    loaded.redis_url()
    preload()
    sys.exit(Supervisor(worker_programs(loaded)).run())


@click.command()
@CONFIG
def watcher(config: Path | None) -> None:
    """Run a watcher for each cluster; where another one is active it waits to take over."""
    from towline.worker.start_watch import preload_watcher, watcher_programs

    loaded = _loaded(config)
    loaded.redis_url()
    programs = watcher_programs(loaded)
    if len(programs) == 1:  # a supervisor would need as much memory as the cluster's objects
        sys.exit(programs[0].run())
    preload_watcher()
    sys.exit(Supervisor(programs).run())


@click.command()
@CONFIG
def clock(config: Path | None) -> None:
    """Run the clock alone; a second one waits to take over."""
    from towline.worker.start import clock_program

    loaded = _loaded(config)
    loaded.redis_url()
    sys.exit(Supervisor([clock_program(loaded)]).run())


@click.command()
@click.option("--check", is_flag=True, help="Go through the story without a person and exit 0 or 1.")
@click.option(
    "--cluster",
    type=click.Choice(["embedded", "real"]),
    default="embedded",
    show_default=True,
    help="A small API server of its own, or the real one of `make cluster`.",
)
def demo(check: bool, cluster: str) -> None:
    """Show the main job: pushes applied, a bad one refused, one that fails rolled back, drift healed, a removal."""
    from towline.demo.story import tell

    sys.exit(tell(check=check, cluster=cluster))


def _loaded(config: Path | None) -> Config:
    """The configuration; raises ConfigError here for what no restart of a program would cure."""
    loaded = load_config(config)
    logs.configure(loaded.secrets)
    secret_key(loaded)
    return loaded


def programs_of(config: Config) -> list[Program]:
    """Everything `up` runs; a Redis of its own comes first, since the others need it."""
    from towline.worker.start import clock_program, preload, worker_programs
    from towline.worker.start_watch import watcher_programs

    preload()
    serving = Program(name="receiver", run=partial(_serve, config))
    working = [*worker_programs(config), *watcher_programs(config), clock_program(config)]
    if config.redis.url is not None or REDIS_VARIABLE in os.environ:
        return [serving, *working]
    os.environ[REDIS_VARIABLE] = embedded_url(config.data_dir)
    waiting = [_after_redis(program, config) for program in working]
    return [redis_program(config.data_dir), serving, *waiting]


def _serve(config: Config) -> int:
    from towline.receiver.start import serve

    return serve(config)


def _after_redis(program: Program, config: Config) -> Program:
    """Workers ask Redis at their start, which with the embedded one may be some milliseconds early."""

    def run() -> int:
        wait_ready(config.redis_url())
        return program.run()

    return Program(name=program.name, run=run)
