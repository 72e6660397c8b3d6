"""Fetching by ssh: the user's key, and the server's key that must be known."""

from __future__ import annotations

import asyncssh
import pytest
from parts.repositories import credentials

from towline.shared.errors import FetchRefused, ForgeDown
from towline.shared.secret import Secret

MAIN = "refs/heads/main"
SECONDS = 20


@pytest.fixture
def files(tmp_path, ssh_server):
    """Key and known hosts as an operator would lay them down."""
    (tmp_path / "key").write_text(ssh_server.private_key)
    (tmp_path / "known_hosts").write_text(ssh_server.known_hosts)
    return tmp_path


@pytest.fixture
def ssh_credentials(files):
    return credentials(ssh_key=Secret(file=files / "key"), known_hosts=Secret(file=files / "known_hosts"))


def test_a_known_server_and_a_good_key_fetch(ssh_server, make_mirror, ssh_credentials):
    origin = ssh_server.origin()
    mirror = make_mirror(origin.url, credentials=ssh_credentials, allow_insecure=False)
    first = origin.commit({"a": "1"})
    assert mirror.fetch(MAIN, deadline_seconds=SECONDS) == first

    second = origin.commit({"a": "2"})
    assert mirror.fetch(MAIN, deadline_seconds=SECONDS) == second


def test_a_key_with_a_passphrase_works(files, ssh_server, make_mirror):
    (files / "key").write_text(ssh_server.private_key_with("open sesame"))
    (files / "passphrase").write_text("open sesame\n")
    origin = ssh_server.origin()
    revision = origin.commit({"a": "1"})
    locked = credentials(
        ssh_key=Secret(file=files / "key"),
        passphrase=Secret(file=files / "passphrase"),
        known_hosts=Secret(file=files / "known_hosts"),
    )

    assert make_mirror(origin.url, credentials=locked).fetch(MAIN, deadline_seconds=SECONDS) == revision


@pytest.mark.parametrize("kind", ["of another server", "changed"])
def test_an_unknown_host_key_is_refused_before_anything_is_asked(
    files, ssh_server, make_mirror, ssh_credentials, kind
):
    origin = ssh_server.origin()
    origin.commit({"a": "1"})
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    host = "[127.0.0.1]:1" if kind == "of another server" else ssh_server.known_hosts.partition(" ")[0]
    (files / "known_hosts").write_text(f"{host} {other}\n")

    with pytest.raises(FetchRefused, match="not trusted"):
        make_mirror(origin.url, credentials=ssh_credentials).fetch(MAIN, deadline_seconds=SECONDS)

    assert ssh_server.sessions == 0


def test_a_server_without_any_list_of_known_hosts_is_refused(files, ssh_server, make_mirror, monkeypatch):
    monkeypatch.setenv("HOME", str(files / "nowhere"))
    origin = ssh_server.origin()

    with pytest.raises(FetchRefused, match="known hosts"):
        make_mirror(origin.url, credentials=credentials(ssh_key=Secret(file=files / "key"))).fetch(
            MAIN, deadline_seconds=SECONDS
        )


def test_a_key_that_the_server_refuses_is_refused_and_not_shown(
    files, ssh_server, make_mirror, ssh_credentials
):
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()
    (files / "key").write_text(key)

    with pytest.raises(FetchRefused, match="refuses our credentials") as refusal:
        make_mirror(ssh_server.origin().url, credentials=ssh_credentials).fetch(
            MAIN, deadline_seconds=SECONDS
        )

    assert key.splitlines()[1] not in f"{refusal.value} {refusal.value.__cause__}"


def test_a_server_that_says_nothing_is_cut_off(ssh_server, make_mirror, ssh_credentials):
    ssh_server.is_hanging = True
    mirror = make_mirror(ssh_server.origin().url, credentials=ssh_credentials)

    with pytest.raises(ForgeDown, match=r"did not finish within 0\.5 s"):
        mirror.fetch(MAIN, deadline_seconds=0.5)
