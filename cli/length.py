"""A length of time as an option of a command: `90s`, `5m`, `1h30m`."""

from __future__ import annotations

import click

from towline.shared.durations import ALLOWED, parse_seconds


class Length(click.ParamType[int]):
    """Whole seconds, above zero."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """What was given, in seconds."""
        seconds = value if isinstance(value, int) else parse_seconds(value)
        if seconds is None:
            self.fail(f"{value!r} is not {ALLOWED}", param, ctx)
        return seconds


LENGTH = Length()
