"""How commands answer: a table for people, JSON for programs.

What comes from repositories, forges and clusters may hold control characters that would act on a terminal; `plain`
takes them out before anything is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

OUTPUT = click.option(
    "--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True
)
WIDE = 250  # columns when the output is a file or a pipe, so that nothing is cut there


def print_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their heads."""
    table = Table(box=SIMPLE, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    # Made here, since the stream may be another one in each call.
    width = None if sys.stdout.isatty() else WIDE
    Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False).print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; those without a value are left out."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {plain(value)}")


def plain(text: str) -> str:
    """Text without characters that a terminal would take for a command; line ends stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def ago(moment: str | None, *, now: datetime) -> str:
    """How long before `now` an RFC 3339 time was, in the largest unit that says enough."""
    try:
        parsed = datetime.fromisoformat(moment or "")
    except ValueError:
        return ""
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    seconds = max(0.0, (now - parsed).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
