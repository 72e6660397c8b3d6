"""Addresses of repositories: read by one strict grammar, compared as host and path; pure.

A forge's payload names its repository in several ways (https, ssh, scp-like `git@host:path`), and so does the operator.
They mean the same repository when host and path agree, whatever the scheme, user, port and `.git`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LENGTH_LIMIT = 2048  # characters; more than any forge's URL
SEGMENT_LIMIT = 32  # names in a path; GitLab nests groups 20 deep

NETWORK_SCHEMES = frozenset({"https", "http", "ssh", "git", "git+ssh", "ssh+git"})
WITH_SCHEME = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z+]{1,9})://(?:(?P<user>[A-Za-z0-9._~!$&'()*+,;=:%-]*)@)?(?P<host>[^/@:\s\[\]]*|\[[0-9a-fA-F:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)"
)
SCP_LIKE = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[^/@:\s\[\]]+):(?P<path>[^\s]+)")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
SEGMENT = re.compile(r"[A-Za-z0-9._~+-]+")
FILE_SEGMENT = re.compile(r"[^\x00-\x1f\x7f/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryUrl:
    """An address of a repository; `host` is empty for a folder of this machine."""

    scheme: str
    host: str
    path: str  # without a slash at either end and without `.git`
    has_user: bool = False
    has_password: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What two addresses of one repository have in common. On a network, case does not count."""
        return (self.host, self.path.lower() if self.host else self.path)


def parse_repository_url(text: str) -> RepositoryUrl | None:
    """Read an address; None for anything that is not of the grammar."""
    if len(text) > LENGTH_LIMIT:
        return None
    if text.startswith("/"):
        return _folder(text)
    if match := WITH_SCHEME.fullmatch(text):
        scheme = match["scheme"].lower()
        if scheme == "file":
            return (
                _folder(match["path"]) if match["host"] in ("", "localhost") and not match["user"] else None
            )
        return _on_network(scheme, match["host"], match["path"], user=match["user"])
    if "://" not in text and (match := SCP_LIKE.fullmatch(text)):
        return _on_network("ssh", match["host"], match["path"], user=match["user"])
    return None


def same_repository(url_a: str, url_b: str) -> bool:
    """Whether both name one repository; what cannot be read names none."""
    a, b = parse_repository_url(url_a), parse_repository_url(url_b)
    return a is not None and b is not None and a.place == b.place


def _on_network(scheme: str, host: str, path: str, *, user: str | None) -> RepositoryUrl | None:
    names = _names(path)
    is_host = host.startswith("[") or (len(host) <= 253 and HOST.fullmatch(host))
    if scheme not in NETWORK_SCHEMES or not is_host or not names:
        return None
    if len(names) > SEGMENT_LIMIT or not all(SEGMENT.fullmatch(name) for name in names):
        return None
    return RepositoryUrl(
        scheme="ssh" if "ssh" in scheme else scheme,
        host=host.lower(),
        path="/".join(names),
        has_user=bool(user),
        has_password=user is not None and ":" in user,
    )


def _folder(path: str) -> RepositoryUrl | None:
    names = _names(path)
    if not names or not all(FILE_SEGMENT.fullmatch(name) for name in names):
        return None
    return RepositoryUrl(scheme="file", host="", path="/".join(names))


def _names(path: str) -> list[str]:
    """The names of a path without `.git`; empty when one of them is empty or would lead elsewhere."""
    names = path.removeprefix("/").removesuffix("/").removesuffix(".git").split("/")
    return [] if any(name in ("", ".", "..") for name in names) else names
