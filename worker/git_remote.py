"""One network operation with one Git server, over libgit2: trust, credentials, time limit, and our errors.

In: a repository of the configuration, a local bare repository, refspecs. Out: the refs as the server lists them; the
objects are in the local repository. State: libgit2's settings are the process's, so one operation runs at a time in a
process (workers are processes, so several repositories are fetched at once); beside the mirror, `home/.ssh/known_hosts`
and what was learnt about the server (`expect-continue`).
Killed half-way: libgit2 leaves a temporary pack and lock files, which the mirror removes.

What is trusted: credentials go to the configured host only (redirects to other hosts, or from https to http, are
refused); certificates by the system's authorities and `ca_file` (libgit2 adds those of `ca_file` for the life of the
process); ssh host keys by `known_hosts` alone. No configuration file of the user or the system is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, CredentialType

from towline.shared.config import Credentials, Repository
from towline.shared.errors import FetchRefused, ForgeDown, MirrorDamaged, TowlineError
from towline.shared.secret import Secret
from towline.shared.urls import parse_repository_url
from towline.worker import git_errors
from towline.worker.deadline import Deadline, cut_off_at

CONNECT_SECONDS = 10.0  # a server that does not even accept is down
PROBE_SECONDS = 3.0  # how long a server may take the first time it is asked to say `100 Continue`
MAX_RECEIVED_BYTES = 4 * 1024**3  # of one fetch; a monorepo's whole history is usually below

ALWAYS_ALLOWED = frozenset({"https", "ssh"})
WITH_ALLOW_INSECURE = frozenset({"http", "file"})

_PROCESS = threading.Lock()  # libgit2's settings are process-wide

Advertised = Mapping[str, str]  # ref -> id, as the server lists them


class Expect(Enum):
    """Whether a POST waits for the server's word before it sends its body.

    libgit2 sends head and body apart, without TCP_NODELAY. Against a server's delayed acknowledgement that costs
    40 ms a POST, and waiting for `100 Continue` (RFC 9110 10.1.1) costs a round trip. Some proxies swallow it, so it
    is tried once with a short time limit, and what came of it is remembered.
    """

    OFF = "no"
    ON = "yes"
    TRY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to fetch; no refspec: only list the refs. `depth` 0 is the whole history."""

    specs: Sequence[str]
    depth: int = 0
    is_first: bool = False


class GitRemote:
    """The server of one repository."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._scheme = checked_scheme(repository)
        self._expect_file = folder / "expect-continue"

    @property
    def can_be_shallow(self) -> bool:
        """Whether a part of the history can be fetched (libgit2 cannot from a folder)."""
        return self._scheme != "file"

    def fetch(self, git: pygit2.Repository, wish: Wish, *, deadline: Deadline) -> Advertised:
        """Bring what the refspecs name into `git` and return the server's refs.

        Raises ForgeDown, FetchRefused, MirrorDamaged (the local repository or what the server sends is broken),
        Unavailable (no room).
        """
        expect = self._expect(wish)
        attempt = _Attempt(self._repository, self._scheme, self._home(), deadline)
        try:
            received = attempt.run(git, wish, expect=expect)
        except _Stalled as stalled:
            self._remember(Expect.OFF if expect is Expect.TRY else Expect.TRY)
            if expect is not Expect.TRY:
                raise ForgeDown(stalled.message, hint=stalled.hint) from stalled
            received = attempt.run(git, wish, expect=Expect.OFF)
        else:
            if expect is Expect.TRY and received:
                self._remember(Expect.ON)
        return attempt.advertised

    def _expect(self, wish: Wish) -> Expect:
        if self._scheme not in ("http", "https") or wish.is_first or not wish.specs:
            return Expect.OFF
        try:
            return Expect(self._expect_file.read_text())
        except (OSError, ValueError):
            return Expect.TRY

    def _remember(self, expect: Expect) -> None:
        self._expect_file.write_text(expect.value)

    def _home(self) -> Path:
        """A home folder with nothing but the list of known hosts, which is where libgit2 looks for it."""
        home = self._folder / "home"
        if self._scheme == "ssh":
            ssh = home / ".ssh"
            ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
            (ssh / "known_hosts").write_text(_known_hosts(self._repository))
        return home


class _Stalled(TowlineError):
    """The server did not answer in the time it was given, though the caller has more."""


class _Attempt:
    """One connection; `advertised` is filled by a run that ends well."""

    def __init__(self, repository: Repository, scheme: str, home: Path, deadline: Deadline) -> None:
        self._repository = repository
        self._scheme = scheme
        self._home = home
        self._deadline = deadline
        self.advertised: Advertised = {}

    def run(self, git: pygit2.Repository, wish: Wish, *, expect: Expect) -> int:
        """Fetch, and return how many bytes of objects came."""
        callbacks = Callbacks(self._repository, self._deadline)
        with self._settings(expect), cut_off_at(self._deadline):
            remote = git.remotes.create_anonymous(self._repository.url)
            # A refspec of a ref that cannot exist: with none at all libgit2 takes the remote's default, which is HEAD.
            specs = list(wish.specs) or ["+refs/towline/none:refs/towline/none"]
            try:
                progress = remote.fetch(specs, callbacks=callbacks, depth=wish.depth, proxy=True)
                heads = remote.list_heads(connect=False)
            except (pygit2.GitError, KeyError, ValueError, OSError) as error:
                text = callbacks.without_secrets(str(error))
                raise self._error(error, text, expect) from pygit2.GitError(text)  # a cause is shown too
        self.advertised = {head.name: str(head.oid) for head in heads if head.name}
        return progress.received_bytes

    def _error(self, error: Exception, text: str, expect: Expect) -> TowlineError:
        name = self._repository.name
        late = f"the Git server of {name} did not finish within {self._deadline.seconds:g} s"
        is_stalled = git_errors.is_late(text)
        may_be_the_expectation = is_stalled or git_errors.EXPECTATION_FAILED in text
        if expect is not Expect.OFF and may_be_the_expectation and not self._deadline.has_passed:
            return _Stalled(late, hint="it is tried again by itself")
        if is_stalled or self._deadline.has_passed:
            return ForgeDown(late, hint="it is tried again by itself")
        if isinstance(error, KeyError) or git_errors.is_damage(getattr(error, "error_class", 0), text):
            return MirrorDamaged(f"the mirror of {name} cannot be used: {git_errors.clean(text)}")
        return git_errors.explained(name, text)

    @contextmanager
    def _settings(self, expect: Expect) -> Iterator[None]:
        if not _PROCESS.acquire(timeout=self._deadline.remaining()):
            raise ForgeDown(
                f"{self._repository.name} had no turn within {self._deadline.seconds:g} s: another fetch is running",
                hint="it is tried again by itself",
            )
        try:
            self._set(expect)
            yield
        finally:
            _PROCESS.release()

    def _set(self, expect: Expect) -> None:
        seconds = self._deadline.remaining()
        patience = min(seconds, PROBE_SECONDS) if expect is Expect.TRY else seconds
        settings = pygit2.settings
        settings.server_connect_timeout = _milliseconds(min(seconds, CONNECT_SECONDS))
        settings.server_timeout = _milliseconds(patience)
        settings.enable_http_expect_continue(expect is not Expect.OFF)
        settings.homedir = str(self._home)
        for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
            settings.search_path[level] = ""
        credentials = self._repository.credentials
        if credentials is not None and credentials.ca_file is not None:
            settings.set_ssl_cert_locations(str(credentials.ca_file), None)


class Callbacks(pygit2.RemoteCallbacks):
    """What libgit2 asks during an operation. Secrets are read at that moment, so that rotated ones count."""

    def __init__(self, repository: Repository, deadline: Deadline) -> None:
        super().__init__()
        self._repository = repository
        self._deadline = deadline
        self._was_offered = False
        self._secrets: list[str] = []

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.Keypair:
        """Answer the server's question, once: libgit2 would offer refused credentials again and again."""
        configured = self._repository.credentials
        user = username_from_url or (configured.username if configured else None) or "git"
        if allowed_types == CredentialType.USERNAME:
            return pygit2.Username(user)
        if configured is None or self._was_offered:
            why = "refuses our credentials" if self._was_offered else "asks for credentials"
            raise FetchRefused(
                f"the Git server of {self._repository.name} {why}",
                hint="check `credentials` of the repository in towline.yaml",
            )
        self._was_offered = True
        return self._answer(configured, user, allowed_types)

    def _answer(
        self, configured: Credentials, user: str, allowed: CredentialType
    ) -> pygit2.UserPass | pygit2.Keypair:
        if allowed & CredentialType.SSH_MEMORY and configured.ssh_key is not None:
            key = self._secret(configured.ssh_key)
            passphrase = self._secret(configured.passphrase) if configured.passphrase else None
            # Secrets come without the line end that keys must have.
            return pygit2.KeypairFromMemory(user, None, f"{key}\n", passphrase)
        if allowed & CredentialType.USERPASS_PLAINTEXT and configured.password is not None:
            return pygit2.UserPass(user, self._secret(configured.password))
        raise FetchRefused(
            f"the Git server of {self._repository.name} wants another kind of credentials",
            hint="https takes username and password, ssh takes ssh_key",
        )

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """Trust what was verified and nothing else; for ssh `valid` says that the key is in known_hosts."""
        return valid

    def transfer_progress(self, stats: pygit2.remotes.TransferProgress) -> None:
        """End a transfer that is too late or too large."""
        if self._deadline.has_passed:
            raise ForgeDown(
                f"the Git server of {self._repository.name} did not finish within {self._deadline.seconds:g} s",
                hint="it is tried again by itself",
            )
        if stats.received_bytes > MAX_RECEIVED_BYTES:
            raise FetchRefused(
                f"{self._repository.name} sends more than {MAX_RECEIVED_BYTES:,} bytes in one fetch",
                hint="keep large files out of the repository that deploys",
            )

    def without_secrets(self, text: str) -> str:
        """The text without what was offered, should a server send it back."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _secret(self, secret: Secret) -> str:
        value = secret.value()
        self._secrets.append(value)
        return value


def checked_scheme(repository: Repository) -> str:
    """The scheme of a repository's URL, when we may speak it; raises FetchRefused otherwise."""
    url = parse_repository_url(repository.url)
    if url is None:
        raise FetchRefused(
            f"the URL of {repository.name} cannot be read", hint="check `url` of the repository"
        )
    if url.has_password or (url.has_user and url.scheme != "ssh"):
        raise FetchRefused(
            f"the URL of {repository.name} holds credentials",
            hint="put them under `credentials` of the repository",
        )
    if url.scheme in ALWAYS_ALLOWED or (repository.allow_insecure and url.scheme in WITH_ALLOW_INSECURE):
        return url.scheme
    raise FetchRefused(
        f"{repository.name} would be fetched by {url.scheme}",
        hint="use https or ssh; http and file need `allow_insecure: true`",
    )


def _known_hosts(repository: Repository) -> str:
    configured = repository.credentials.known_hosts if repository.credentials else None
    if configured is not None:
        return f"{configured.value()}\n"
    try:
        return Path("~/.ssh/known_hosts").expanduser().read_text()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise FetchRefused(
            f"{repository.name} is fetched by ssh, and there is no list of known hosts",
            hint="put the forge's published host keys into a file and name it `known_hosts` under `credentials`",
        ) from error


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))  # 0 would mean: without end
