from __future__ import annotations

import pytest

from towline.shared.errors import FetchRefused, ForgeDown, Unavailable
from towline.worker.git_errors import MAX_TEXT, ODB, ZLIB, clean, explained, is_damage

# As libgit2 1.9.7 says them; every one was seen.
CASES = {
    "unexpected http status code: 503": ForgeDown,
    "unexpected http status code: 429": ForgeDown,
    "failed to connect to 127.0.0.1: Connection refused": ForgeDown,
    "failed to resolve address for nope.invalid: Name or service not known": ForgeDown,
    "could not read from socket: timed out": ForgeDown,
    "http parser did not consume entire buffer: Invalid EOF state": ForgeDown,
    "unexpected http status code: 404": FetchRefused,
    "unexpected http status code: 403": FetchRefused,
    "unexpected http status code: 418": FetchRefused,
    "remote authentication required but no callback set": FetchRefused,
    "cannot redirect from '127.0.0.1' to 'localhost'": FetchRefused,
    "invalid content-type: 'text/plain'": FetchRefused,
    "unknown remote object format 'sha256'": FetchRefused,
    "unknown object format 'sha256'": FetchRefused,
    "user cancelled certificate check": FetchRefused,
    "failed to resolve path '/nowhere': No such file or directory": FetchRefused,
    "unexpected packet type": ForgeDown,  # a ref that moved between its advertisement and the request
    "failed to write: No space left on device": Unavailable,
}


@pytest.mark.parametrize(("text", "kind"), CASES.items(), ids=CASES)
def test_what_libgit2_says_tells_who_must_act(text, kind):
    error = explained("shop", text)

    assert type(error) is kind
    assert "shop" in error.message


@pytest.mark.parametrize(("text", "kind"), CASES.items(), ids=CASES)
def test_only_what_may_pass_is_tried_again(text, kind):
    assert explained("shop", text).retry is issubclass(kind, Unavailable)


def test_an_error_shows_no_user_or_password_of_a_url():
    error = explained("shop", "cannot reach https://ada:hunter2@git.example.com/a.git")

    assert "hunter2" not in str(error)
    assert "git.example.com" in str(error)


def test_a_very_long_token_in_a_url_is_not_shown_in_part():
    assert "hunter2" not in clean(f"https://{'hunter2' * 1000}@git.example.com/a.git")


def test_an_error_shows_one_short_line_of_what_a_server_sends():
    text = clean("remote:\x1b[31m red\r\n\x00\u202e\u2066\u200b\ud800" + "x" * 10_000)

    assert text.isprintable()
    assert len(text) == MAX_TEXT


def test_damage_is_told_from_a_full_disk():
    assert is_damage(ZLIB, "error reading from the zlib stream")
    assert not is_damage(ODB, "failed to write pack: No space left on device")


def test_sha256_is_not_damage():
    assert not is_damage(6, "unknown object format 'sha256'")
