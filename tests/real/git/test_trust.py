"""Who is spoken to, by which scheme, with whose credentials."""

from __future__ import annotations

import subprocess

import pytest
from parts.certificates import make_certificates
from parts.git import GitServer
from parts.repositories import credentials

from towline.shared.errors import ConfigError, FetchRefused, TowlineError
from towline.shared.secret import Secret

MAIN = "refs/heads/main"
SECONDS = 20
PASSWORD = "hunter2-of-ada"


@pytest.fixture
def password_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


@pytest.fixture
def signed_in(password_file):
    return credentials(username="ada", password=Secret(file=password_file))


@pytest.fixture
def tls_server(tmp_path):
    """A Git server by https, and the authority that its certificate is of."""
    certificates = make_certificates(tmp_path / "tls", names=["localhost"], addresses=["127.0.0.1"])
    folder = tmp_path / "tls-server"
    folder.mkdir()
    server = GitServer(folder, tls=(certificates.server, certificates.server_key))
    server.start()
    yield server, certificates.authority
    server.stop()


@pytest.fixture
def other_server(tmp_path):
    """Somebody else's Git server; it asks everybody for a password."""
    folder = tmp_path / "other-server"
    folder.mkdir()
    server = GitServer(folder, credentials=("ada", PASSWORD))
    server.start()
    yield server
    server.stop()


class TestScheme:
    @pytest.mark.parametrize("which", ["http", "file"])
    def test_an_insecure_scheme_is_refused_unless_it_is_allowed(self, make_mirror, origin, which):
        revision = origin.commit({"a": "1"})
        url = origin.url if which == "http" else origin.file_url

        with pytest.raises(FetchRefused, match=f"fetched by {which}"):
            make_mirror(url, allow_insecure=False)

        assert make_mirror(url).fetch(MAIN, deadline_seconds=SECONDS) == revision

    def test_a_plain_path_is_a_file(self, make_mirror, origin):
        revision = origin.commit({"a": "1"})

        with pytest.raises(FetchRefused):
            make_mirror(str(origin.path), allow_insecure=False)

        assert make_mirror(str(origin.path)).fetch(MAIN, deadline_seconds=SECONDS) == revision

    @pytest.mark.parametrize(
        "url",
        [
            "git://example.com/a.git",
            "ftp://example.com/a.git",
            "ext::sh -c id",
            "-oProxyCommand=id",
            "",
            "a\nb",
            "https:///a",
            "ssh://-oProxyCommand=id/a.git",
        ],
    )
    def test_what_is_no_address_of_a_git_server_is_refused(self, make_mirror, url):
        with pytest.raises(FetchRefused):
            make_mirror(url)

    @pytest.mark.parametrize(
        "url", ["https://ada:hunter2@example.com/a.git", "https://hunter2@example.com/a.git"]
    )
    def test_credentials_in_the_url_are_refused_and_not_shown(self, make_mirror, url):
        with pytest.raises(FetchRefused) as refusal:
            make_mirror(url)

        assert "hunter2" not in f"{refusal.value} {refusal.value.hint}"


class TestHttps:
    def test_a_certificate_of_an_unknown_authority_is_refused(self, tls_server, make_mirror):
        server, _ = tls_server
        server.origin().commit({"a": "1"})
        mirror = make_mirror(f"{server.url}/shop.git")

        with pytest.raises(FetchRefused, match="not trusted"):
            mirror.fetch(MAIN, deadline_seconds=SECONDS)

    def test_a_certificate_of_the_configured_authority_is_trusted(self, tls_server, make_mirror):
        server, authority = tls_server
        revision = server.origin().commit({"a": "1"})
        mirror = make_mirror(
            f"{server.url}/shop.git", credentials=credentials(ca_file=authority), allow_insecure=False
        )

        assert mirror.fetch(MAIN, deadline_seconds=SECONDS) == revision

    def test_a_certificate_for_another_host_is_refused_before_anything_is_asked(self, tmp_path, make_mirror):
        # given
        certificates = make_certificates(tmp_path / "wrong", names=["git.example.com"], addresses=[])
        (tmp_path / "wrong-server").mkdir()
        server = GitServer(tmp_path / "wrong-server", tls=(certificates.server, certificates.server_key))
        server.start()
        server.origin().commit({"a": "1"})
        trusted = credentials(ca_file=certificates.authority)

        # when
        with pytest.raises(TowlineError) as refusal:
            make_mirror(f"{server.url}/shop.git", credentials=trusted).fetch(MAIN, deadline_seconds=SECONDS)
        server.stop()

        # then
        assert "certificate" in refusal.value.hint
        assert server.requests == []


class TestCredentials:
    def test_they_are_given_when_asked_for(self, git_server, origin, make_mirror, signed_in):
        git_server.credentials = ("ada", PASSWORD)
        revision = origin.commit({"a": "1"})

        assert (
            make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS) == revision
        )

    def test_they_are_not_given_when_nobody_asks(self, git_server, origin, make_mirror, signed_in):
        origin.commit({"a": "1"})

        make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS)

        assert set(git_server.authorizations) == {""}

    def test_a_rotated_password_counts_at_once(
        self, git_server, origin, make_mirror, signed_in, password_file
    ):
        git_server.credentials = ("ada", PASSWORD)
        origin.commit({"a": "1"})
        mirror = make_mirror(origin.url, credentials=signed_in)
        mirror.fetch(MAIN, deadline_seconds=SECONDS)

        git_server.credentials = ("ada", "a-new-one")
        password_file.write_text("a-new-one")
        revision = origin.commit({"a": "2"})

        assert mirror.fetch(MAIN, deadline_seconds=SECONDS) == revision

    def test_refused_ones_are_offered_once_and_not_shown(self, git_server, origin, make_mirror, signed_in):
        git_server.credentials = ("ada", "another")
        origin.commit({"a": "1"})

        with pytest.raises(FetchRefused, match="refuses our credentials") as refusal:
            make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS)

        assert len([value for value in git_server.authorizations if value]) == 1
        assert PASSWORD not in f"{refusal.value} {refusal.value.hint} {refusal.value.__cause__}"

    def test_a_server_that_asks_when_there_are_none_is_refused(self, git_server, origin, mirror):
        git_server.credentials = ("ada", PASSWORD)
        origin.commit({"a": "1"})

        with pytest.raises(FetchRefused, match="asks for credentials"):
            mirror.fetch(MAIN, deadline_seconds=SECONDS)

    def test_a_secret_that_cannot_be_read_is_an_error_of_the_configuration(
        self, git_server, origin, make_mirror, signed_in, password_file
    ):
        git_server.credentials = ("ada", PASSWORD)
        origin.commit({"a": "1"})
        password_file.unlink()

        with pytest.raises(ConfigError, match="cannot be read"):
            make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS)

    def test_none_are_kept_on_disk(self, tmp_path, git_server, origin, make_mirror, signed_in):
        git_server.credentials = ("ada", PASSWORD)
        origin.commit({"a": "1"})
        make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS)

        found = subprocess.run(
            ["grep", "-rl", PASSWORD, tmp_path / "mirrors"], check=False, capture_output=True
        )

        assert found.stdout == b""
        assert (tmp_path / "mirrors").is_dir()


class TestRedirects:
    def test_one_to_another_host_is_refused_and_gets_no_credentials(
        self, git_server, origin, other_server, make_mirror, signed_in
    ):
        other_server.origin().commit({"a": "theirs"})
        git_server.faults.redirect = other_server.url.replace("127.0.0.1", "localhost")

        with pytest.raises(FetchRefused, match="elsewhere"):
            make_mirror(origin.url, credentials=signed_in).fetch(MAIN, deadline_seconds=SECONDS)

        assert other_server.requests == []

    def test_one_on_the_same_host_is_followed(self, git_server, origin, other_server, make_mirror):
        other_server.credentials = None
        revision = other_server.origin().commit({"a": "moved"})
        git_server.faults.redirect = other_server.url

        assert make_mirror(origin.url).fetch(MAIN, deadline_seconds=SECONDS) == revision

    def test_one_from_https_to_http_is_refused(self, tls_server, other_server, make_mirror, signed_in):
        server, authority = tls_server
        server.origin()
        server.faults.redirect = other_server.url
        mirror = make_mirror(f"{server.url}/shop.git", credentials=credentials(ca_file=authority))

        with pytest.raises(FetchRefused, match="elsewhere"):
            mirror.fetch(MAIN, deadline_seconds=SECONDS)

        assert other_server.requests == []


def test_the_users_git_configuration_is_not_read(tmp_path, origin, make_mirror, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(f'[url "file:///nowhere"]\n\tinsteadOf = {origin.url}\n')
    revision = origin.commit({"a": "1"})

    assert make_mirror(origin.url).fetch(MAIN, deadline_seconds=SECONDS) == revision
