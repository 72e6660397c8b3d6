"""The command table: each command is loaded when it is called, so that `towline status` never imports pygit2."""

from __future__ import annotations

import importlib
import sys

import click

from towline import __version__
from towline.shared.errors import TowlineError

EXIT_OK = 0  # done, or: nothing to change
EXIT_NEGATIVE = 1  # a negative answer: invalid, changes, not live
EXIT_ERROR = 2  # could not be answered

# command: (module, help line)
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("towline.cli.processes", "Run everything in one process group."),
    "demo": ("towline.cli.processes", "Show the main job, with nothing else installed."),
    "receiver": ("towline.cli.processes", "Run the receiver."),
    "worker": ("towline.cli.processes", "Run the workers."),
    "watcher": ("towline.cli.processes", "Run the watchers."),
    "clock": ("towline.cli.processes", "Run the clock."),
    "validate": ("towline.cli.local", "Check towline.yaml and .towline.yaml."),
    "render": ("towline.cli.local_render", "Render a service of a local checkout."),
    "diff": ("towline.cli.local_diff", "Show what a sync of a local checkout would change."),
    "health": ("towline.cli.health", "Judge the objects in a file."),
    "status": ("towline.cli.remote", "Show releases."),
    "history": ("towline.cli.remote", "Show every attempt at a release."),
    "sync": ("towline.cli.steering", "Sync a release now."),
    "rollback": ("towline.cli.steering", "Bring a release back, and pin it there."),
    "pin": ("towline.cli.steering", "Keep a release at a revision."),
    "unpin": ("towline.cli.steering", "Have a release follow its branch again."),
    "suspend": ("towline.cli.steering", "Leave a release alone."),
    "resume": ("towline.cli.steering", "Look after a release again."),
    "wait": ("towline.cli.wait", "Wait until a commit is live."),
    "deliveries": ("towline.cli.remote", "Show webhook deliveries and what came of them."),
    "token": ("towline.cli.tokens", "Create and revoke API tokens."),
    "doctor": ("towline.cli.doctor", "Check every part and say what to do."),
}


class CommandTable(click.Group):
    """A group whose commands are looked up in COMMANDS; the command `x` is the attribute `x` of its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself is the help, so that `towline --help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=CommandTable)
@click.version_option(__version__, prog_name="towline")
def towline() -> None:
    """What runs follows Git, within a second of the push."""


def main(argv: list[str] | None = None) -> None:
    """Run one command; every TowlineError ends with its message, its hint and exit code 2."""
    try:
        code = towline.main(args=argv, prog_name="towline", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = EXIT_ERROR
    except click.Abort:
        code = EXIT_ERROR
    except TowlineError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        code = EXIT_ERROR
    sys.exit(code if isinstance(code, int) else EXIT_OK)
