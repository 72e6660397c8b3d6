"""The error tree, its pages and docs/errors.md agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from towline.receiver.problem_types import kebab, markdown, problem_types
from towline.shared import errors

ROOT = Path(__file__).parents[3]


def test_every_error_class_has_a_page() -> None:
    classes = {
        kebab(name)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TowlineError)
    }

    assert {each.name for each in problem_types()} == classes


def test_docs_errors_is_what_the_tree_says() -> None:
    written = (ROOT / "docs/errors.md").read_text()

    assert written == markdown(), "run: python -m towline.receiver.problem_types > docs/errors.md"


@pytest.mark.parametrize(
    ("name", "url"), [("NotFound", "not-found"), ("TowlineError", "towline-error"), ("Conflict", "conflict")]
)
def test_a_class_is_named_in_kebab_case(name: str, url: str) -> None:
    assert kebab(name) == url
