"""`python -m towline.worker`: the workers of this host, kept running and warm."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from towline.shared import logs
from towline.shared.config import load_config
from towline.shared.supervise import Supervisor
from towline.worker.start import clock_program, preload, worker_programs


def main() -> int:
    """Run until SIGTERM; running jobs end first."""
    parser = argparse.ArgumentParser(prog="python -m towline.worker", description=__doc__)
    parser.add_argument("--config", type=Path, help="towline.yaml")
    parser.add_argument("--clock", action="store_true", help="run the clock instead of the workers")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    logs.configure(config.secrets)
    preload()
    programs = [clock_program(config)] if arguments.clock else worker_programs(config)
    return Supervisor(programs).run()


if __name__ == "__main__":
    sys.exit(main())
