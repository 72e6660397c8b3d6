"""How commands print what others wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from towline.cli.output import ago, plain, print_facts, print_json, print_table

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME"], [["a\x1b[2Jb\x07\u202ec"]])
    print_facts([("name", "\x1b]0;title\x07")])

    printed = capsys.readouterr().out
    assert "a?[2Jb??c" in printed
    assert "\x1b" not in printed


def test_markup_of_the_table_library_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["MESSAGE"], [["[red]not red[/red] [link=https://evil.example]x[/link]"]])

    assert "[red]not red[/red] [link=https://evil.example]x[/link]" in capsys.readouterr().out


def test_a_pipe_gets_whole_cells(capsys: pytest.CaptureFixture[str]) -> None:
    message = "word " * 30

    print_table(["RELEASE", "MESSAGE"], [["staging/orders", message]])

    assert message.strip() in capsys.readouterr().out


def test_json_is_one_document_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"message": "\x1b[2J ü"})

    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == {"message": "\x1b[2J ü"}


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("phase", "Healthy"), ("error", "")])

    assert capsys.readouterr().out == "phase  Healthy\n"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, ""),
        ("not a time", ""),
        ("2026-01-31T11:59:30Z", "30s"),
        ("2026-01-31T11:00:00+00:00", "1h"),
        ("2026-01-29T12:00:00", "2d"),
        ("2026-01-31T12:00:05Z", "0s"),
    ],
)
def test_a_time_is_told_as_an_age(moment: str | None, text: str) -> None:
    assert ago(moment, now=NOW) == text


def test_plain_text_stays_as_it_is() -> None:
    assert plain("Grüße, 世界\nsecond line") == "Grüße, 世界\nsecond line"
