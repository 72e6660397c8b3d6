"""The commands and docs/cli.md agree."""

from __future__ import annotations

from pathlib import Path

from towline.cli.main import COMMANDS
from towline.cli.reference import markdown

ROOT = Path(__file__).parents[3]


def test_the_page_says_what_the_commands_say() -> None:
    written = (ROOT / "docs/cli.md").read_text()

    assert written == markdown(), "run: python -m towline.cli.reference > docs/cli.md"


def test_every_command_has_its_section() -> None:
    page = markdown()

    for name in COMMANDS:
        assert f"\n## towline {name}" in page, name
