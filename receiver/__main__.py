"""`python -m towline.receiver`: serves until SIGTERM."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from towline.receiver.start import serve
from towline.shared import logs
from towline.shared.config import load_config
from towline.shared.errors import TowlineError

EXIT_ERROR = 2


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m towline.receiver", description=__doc__)
    parser.add_argument(
        "--config", "-c", type=Path, help="towline.yaml (otherwise TOWLINE_CONFIG, ./towline.yaml)"
    )
    try:
        config = load_config(parser.parse_args().config)
        logs.configure(config.secrets)
        return serve(config)
    except TowlineError as error:
        sys.stderr.write(f"error: {error}\n  {error.hint}\n")
        return EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main())
