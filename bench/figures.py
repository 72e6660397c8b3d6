"""Samples, the table that people read and the file that programs read."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from goals import Goal, goal_of

RESULTS = Path(__file__).parent / "results"
ENOUGH_FOR_P99 = 20


class Unit(StrEnum):
    """What a figure is counted in."""

    SECONDS = "ms"  # measured in seconds, shown in milliseconds
    MEMORY = "MiB"
    RATIO = "times"
    COUNT = "a push"
    HELD = "workers"

    def shown(self, value: float | None) -> str:
        """A value as it stands in the table."""
        if value is None:
            return ""
        return milliseconds(value) if self is Unit.SECONDS else f"{value:,.2f}".rstrip("0").rstrip(".")


HEAD = [
    "what",
    "services",
    "must",
    "aim",
    "median",
    "p99",
    "met",
    "unit",
    "raw limit",
    "ratio",
    "must, aim as ratios",
    "samples",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: what was measured, and the raw limit of the same objects in the same run."""

    what: str
    services: int
    samples: tuple[float, ...]
    raw: float | None = None
    unit: Unit = Unit.SECONDS

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
        return ordered[math.ceil(0.99 * len(ordered)) - 1]

    @property
    def goal(self) -> Goal | None:
        """What it must be and should be."""
        return goal_of(self.what, self.services)

    def line(self) -> list[str]:
        """For the table, in the order of HEAD."""
        goal, shown = self.goal, self.unit.shown
        return [
            self.what,
            str(self.services),
            *(self._limits(goal) if goal else ("", "")),
            shown(self.median),
            shown(self.p99),
            goal.met(self.median, self.p99) if goal else "",
            self.unit,
            shown(self.raw),
            f"{self.median / self.raw:.1f}" if self.raw else "",
            _ratios(goal) if goal else "",
            str(len(self.samples)),
        ]

    def _limits(self, goal: Goal) -> tuple[str, str]:
        p99 = f", p99 {self.unit.shown(goal.must_p99)}" if goal.must_p99 is not None else ""
        return f"{self.unit.shown(goal.must)}{p99}", self.unit.shown(goal.aim)

    def record(self) -> dict[str, object]:
        """For programs."""
        goal = self.goal
        met = goal.met(self.median, self.p99) if goal else None
        worked_out = {"median": self.median, "p99": self.p99, "met": met}
        return {**asdict(self), **worked_out, "goal": asdict(goal) if goal else None}


def _ratios(goal: Goal) -> str:
    """What the limits are as ratios to the raw limit of the machine that they were set for."""
    if goal.raw is None:
        return ""
    return ", ".join(f"{limit / goal.raw:.1f}" for limit in (goal.must, goal.aim) if limit is not None)


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one run found."""

    machine: dict[str, object]
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """For people, as Markdown, so that it can be pasted into docs/performance.md."""
        named = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        parts = [f"Machine: {named}", table(HEAD, [one.line() for one in self.figures])]
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
        figures = [one.record() for one in self.figures]
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
