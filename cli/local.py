"""`towline validate`: holds towline.yaml and .towline.yaml of a folder against what they may hold; needs no server."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import OUTPUT, plain, print_json
from towline.shared.config import CONFIG_VARIABLE, FILE_NAME, parse_config
from towline.shared.errors import ConfigError, Problem
from towline.shared.team_config import FILE_NAME as TEAM_FILE_NAME
from towline.shared.team_config import parse_team_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file and what is wrong with it."""

    file: str
    problems: tuple[Problem, ...]


@click.command(short_help="Check towline.yaml and .towline.yaml.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help=f"The operator's file; else {CONFIG_VARIABLE}."
)
@OUTPUT
def validate(path: Path | None, config: Path | None, output: str) -> int:
    """Check the configuration in PATH: a folder with towline.yaml, .towline.yaml or both, or one such file.

    Exits 0 when all is right, 1 when something is wrong, 2 when there is nothing to check.
    """
    checked = [_check(file) for file in _files(path, config)]
    if output == "json":
        print_json(
            {"valid": not any(each.problems for each in checked), "files": [asdict(c) for c in checked]}
        )
    else:
        _print(checked)
    return EXIT_NEGATIVE if any(each.problems for each in checked) else EXIT_OK


def _files(path: Path | None, config: Path | None) -> list[Path]:
    """The files to check. What the caller named must be there; what merely may lie in a folder need not."""
    if config is None and path is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config = Path(named)
    folder = path if path is not None else Path()
    if path is not None and not path.is_dir():
        return [path] if config is None else [config, path]
    operators = config if config is not None else folder / FILE_NAME
    found = [operators] if config is not None or operators.is_file() else []
    found += [folder / TEAM_FILE_NAME] if (folder / TEAM_FILE_NAME).is_file() else []
    if not found:
        raise ConfigError(
            f"there is neither {FILE_NAME} nor {TEAM_FILE_NAME} in {folder.resolve()}",
            hint="name a folder or a file",
        )
    return found


def _check(file: Path) -> Checked:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint="correct the path") from error
    try:
        if file.name == TEAM_FILE_NAME:
            parse_team_config(data, file=str(file))
        else:
            parse_config(data, file=str(file), folder=file.resolve().parent)
    except ConfigError as error:
        return Checked(file=str(file), problems=error.problems)
    return Checked(file=str(file), problems=())


def _print(checked: list[Checked]) -> None:
    for each in checked:
        count = len(each.problems)
        click.echo(plain(f"{each.file}: {'valid' if not count else f'{count} problem' + 's' * (count > 1)}"))
        for problem in each.problems:
            click.echo(plain(f"  {problem}"))
