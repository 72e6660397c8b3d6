"""The demo, as somebody who tries Towline starts it."""

from __future__ import annotations

import subprocess
import sys

SECONDS = 120  # the machine may be busy; alone it takes 10


def test_the_demo_shows_what_it_says_and_ends_well() -> None:
    command = [sys.executable, "-m", "towline.cli", "demo", "--check"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    shown = ended.stdout + ended.stderr
    assert ended.returncode == 0, shown
    for step in ("a bad commit refused", "payments rolled back", "payments 1.5.0 healthy", "drift healed"):
        assert f"✓ {step} after" in shown
    assert "ImagePullBackOff" in shown
    assert "Traceback" not in shown
