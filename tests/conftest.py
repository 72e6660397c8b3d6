"""What all tests share: the real parts, a marker for each folder, and the corpus.

The corpus (real webhook deliveries, real applications) is large and not ours to publish; it lies beside the checkout, in
`../shared/corpus`. Tests that need it carry the marker `needs_corpus` or use the fixture `corpus`; where it is missing
they are left out of the collection, and the closing summary says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest_plugins = [
    "parts.redis",
    "parts.programs",
    "parts.control_plane",
    "parts.git",
    "parts.cluster_client",
    "parts.odd_api_server",
    "parts.api_proxy",
    "parts.a_release",
    "parts.answering",
    "parts.browser",
    "parts.service",
    "parts.judging",
    "parts.engine",
    "parts.watched",
    "parts.intake",
    "parts.towline",
]

TESTS = Path(__file__).parent
CORPUS = TESTS.parent.parent / "shared" / "corpus"
FOLDERS = {
    "unit": "no parts",
    "real": "one module on one real part",
    "journey": "everything, as processes started by the command line",
    "hostile": "what strangers send",
    "crash": "processes killed at any line",
}
LEFT_OUT = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers (--strict-markers)."""
    for folder, meaning in FOLDERS.items():
        config.addinivalue_line("markers", f"{folder}: set for all tests in tests/{folder}: {meaning}")
    config.addinivalue_line("markers", "needs_corpus: left out where ../shared/corpus is missing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by folder; leave out what needs the corpus when there is none."""
    for item in items:
        if item.path.is_relative_to(TESTS) and (folder := item.path.relative_to(TESTS).parts[0]) in FOLDERS:
            item.add_marker(folder)
    if CORPUS.is_dir():
        return
    left_out = [item for item in items if _needs_corpus(item)]
    items[:] = [item for item in items if not _needs_corpus(item)]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = len(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what one of several test processes (pytest-xdist) left out: each of them collects everything."""
    if count := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, before pytest's own closing line."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{count} tests were left out: they need {CORPUS}, which is not there.")


def _needs_corpus(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return item.get_closest_marker("needs_corpus") is not None or "corpus" in fixtures


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus's folder; using it is enough to be left out where it is missing."""
    return CORPUS
