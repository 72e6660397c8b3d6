"""Samples, the table that people read and the file that programs read."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ENOUGH_FOR_P99 = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: what was measured, in seconds, and the raw limit of the same objects in the same run."""

    what: str
    services: int
    samples: tuple[float, ...]
    raw: float | None = None

    @property
    def median(self) -> float:
        """Of all samples."""
        return statistics.median(self.samples)

    @property
    def p99(self) -> float | None:
        """By nearest rank; None where there are too few for it to mean anything."""
        if len(self.samples) < ENOUGH_FOR_P99:
            return None
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]

    def line(self) -> list[str]:
        """For the table."""
        p99 = milliseconds(self.p99) if self.p99 is not None else ""
        ratio = f"{self.median / self.raw:.1f}" if self.raw else ""
        raw = milliseconds(self.raw) if self.raw else ""
        return [
            self.what,
            str(self.services),
            milliseconds(self.median),
            p99,
            raw,
            ratio,
            str(len(self.samples)),
        ]


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one run found."""

    machine: dict[str, object]
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """For people, as Markdown, so that it can be pasted into docs/performance.md."""
        head = ["what", "services", "median ms", "p99 ms", "raw limit ms", "ratio", "samples"]
        named = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        parts = [f"Machine: {named}", table(head, [one.line() for one in self.figures])]
        parts += [f"{title}\n\n{block}" for title, block in self._blocks()]
        return "\n\n".join(parts)

    def _blocks(self) -> list[tuple[str, str]]:
        blocks = []
        for title, rows in self.details.items():
            head, *lines = rows
            blocks.append((title, table(head, lines)))
        return blocks

    def write(self) -> Path:
        """Write bench/results/<date>.json."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
        figures = [{**asdict(one), "median": one.median, "p99": one.p99} for one in self.figures]
        body = {"machine": self.machine, "figures": figures, "details": self.details}
        path.write_text(json.dumps(body, indent=1) + "\n")
        return path


def milliseconds(seconds: float) -> str:
    """With one digit below 100 ms."""
    value = seconds * 1000
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns in line."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])
