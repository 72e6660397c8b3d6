"""docs/cli.md, from the commands themselves.

`python -m towline.cli.reference > docs/cli.md` writes it; a test compares the two.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from towline.cli.main import COMMANDS, towline

HEAD = """\
# Command line

Exit codes: 0 done, or nothing to change; 1 a negative answer (invalid, changes, a check that failed); 2 an error, or a
call that is not understood. Errors go to standard error. `towline.yaml` is found by `--config`, else `TOWLINE_CONFIG`,
else in the current folder. `--output json` prints one JSON document.

Commands with `--url` ask a receiver: that, or `TOWLINE_URL`, says where it is, and `TOWLINE_TOKEN` holds a token. Without
these, on the receiver's own machine, they read its configuration: the address it listens on, and a token made for a
minute with the secret key.

<!-- generated: python -m towline.cli.reference > docs/cli.md -->
"""


def markdown() -> str:
    """The whole page."""
    context = click.Context(towline, info_name="towline")
    return HEAD + "".join(_section(name, context) for name in COMMANDS)


def _section(name: str, parent: click.Context) -> str:
    command = towline.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        return "".join(_section_of(each, context) for each in command.commands.values())
    return _section_of(command, parent)


def _section_of(command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"\n## {context.command_path}\n", f"    {usage}\n", inspect.cleandoc(command.help or "")]
    options = list(_options(command, context))
    if options:
        lines += ["", "| option | meaning |", "|---|---|", *options]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            names, text = (part.replace("|", "\\|").replace("  ", " ") for part in record)
            yield f"| `{names}` | {text} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
