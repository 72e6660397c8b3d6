"""Installs the Debian packages that the tests need and the machine lacks, when it may; else says the command.

What goes in: the programs that must be on PATH. What comes out: nothing, or exit code 1 and the command for somebody who
may install packages. Killed half-way, apt goes on at the next call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {"git": "git", "chromium": "chromium"}  # program: Debian package
TRIES = 3  # of a download from a busy mirror


def main() -> int:
    """Install what is missing."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not missing:
        return 0
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"the tests need {', '.join(missing)}: sudo {' '.join(install)}", file=sys.stderr)
        return 1
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    retries = ["-o", f"Acquire::Retries={TRIES}"]
    for command in (["apt-get", "update", "--quiet", *retries], [*install, "--quiet", *retries]):
        if subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode:
            print(f"this failed: {' '.join(command)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
