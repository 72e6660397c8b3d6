"""docs/health-kinds.md says what the rules say."""

from __future__ import annotations

from pathlib import Path

from towline.worker.health.reference import markdown

PAGE = Path(__file__).parents[4] / "docs" / "health-kinds.md"


def test_the_page_is_generated_from_the_rules() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == markdown(), "run python -m towline.worker.health.reference > docs/health-kinds.md"
