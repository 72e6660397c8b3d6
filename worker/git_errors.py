"""What libgit2 says, as one of our errors: who must act, and what to do; pure.

libgit2 has a class number an error and a text; some of what matters (the HTTP status) is only in the text. Texts are
cleaned before they are shown: they may quote a URL or what a server sent.
"""

from __future__ import annotations

import re

from towline.shared.errors import FetchRefused, ForgeDown, TowlineError, Unavailable

MAX_TEXT = 300  # characters shown of what a server says

# git_error_t of libgit2: what only a damaged mirror, or a server that sends a damaged pack, leads to.
REFERENCE, ZLIB, REPOSITORY, CONFIG, ODB, OBJECT, TAG, TREE, INDEXER, SHA = 4, 5, 6, 7, 9, 11, 13, 14, 15, 33
DAMAGE = frozenset({REFERENCE, ZLIB, REPOSITORY, CONFIG, ODB, OBJECT, TAG, TREE, INDEXER, SHA})

URL_USER = re.compile(r"(?<=://)[^/\s@]+@")
STATUS = re.compile(r"unexpected http status code: (\d+)")

EXPECTATION_FAILED = "unexpected http status code: 417"
LATE = re.compile(r"timed out|timeout expired", re.IGNORECASE)
NO_SPACE = re.compile(
    r"No space left|Disk quota exceeded|File too large|Read-only file system", re.IGNORECASE
)
NO_SHA256 = re.compile(r"object format '?sha256", re.IGNORECASE)
REDIRECTED = re.compile(r"redirect", re.IGNORECASE)
UNTRUSTED = re.compile(r"certificate|host ?key|hostkey", re.IGNORECASE)
UNAUTHORISED = re.compile(r"authenticat|credential|access denied|permission denied", re.IGNORECASE)
ABSENT = re.compile(r"not found|does not (exist|appear)|No such file|failed to resolve path", re.IGNORECASE)
NOT_GIT = re.compile(r"content-type", re.IGNORECASE)


def clean(text: str) -> str:
    """One short line for people: no user or password in a URL, no character that moves a cursor or turns writing."""
    plain = URL_USER.sub("***@", text)[: 4 * MAX_TEXT]
    return "".join(character if character.isprintable() else " " for character in plain).strip()[:MAX_TEXT]


def is_damage(error_class: int, text: str) -> bool:
    """Whether this may come from what lies in the mirror, so that cloning anew may help."""
    return error_class in DAMAGE and not (NO_SPACE.search(text) or NO_SHA256.search(text))


def is_late(text: str) -> bool:
    """Whether a server that was reached did not answer in time."""
    return LATE.search(text) is not None and "failed to connect" not in text


def _refused(repository: str, why: str, hint: str) -> TowlineError:
    return FetchRefused(f"{repository} cannot be fetched: {why}", hint=hint)


def explained(repository: str, text: str) -> TowlineError:
    """The error to raise for a network operation on this repository that failed with this text."""
    text = clean(text)
    if NO_SPACE.search(text):
        return Unavailable(
            f"no room for the mirror of {repository}: {text}", hint="make room in data_dir, or move it"
        )
    if status := STATUS.search(text):
        return _by_status(repository, int(status[1]))
    for pattern, why, hint in _REFUSALS:
        if pattern.search(text):
            return _refused(repository, why.format(text=text), hint)
    # libgit2 says no more than this of a certificate that is for another host.
    hint = "is its certificate for this host? " if "SSL error" in text else ""
    return ForgeDown(
        f"the Git server of {repository} failed: {text}", hint=f"{hint}It is tried again by itself"
    )


def _by_status(repository: str, status: int) -> TowlineError:
    if status == 429 or status >= 500:
        return ForgeDown(
            f"the Git server of {repository} answers {status}", hint="it is tried again by itself"
        )
    if status in (401, 403, 404, 410):
        return _refused(
            repository,
            f"the Git server answers {status}",
            "check the URL, and that the credentials may read this repository (forges say 404 when they may not)",
        )
    return _refused(repository, f"the Git server answers {status}", "check the URL")


_REFUSALS = (
    (NO_SHA256, "it uses SHA-256 ids, which libgit2 cannot read", "convert it to SHA-1 ids"),
    (REDIRECTED, "the Git server sends us elsewhere ({text})", "set `url` to where the repository is now"),
    (
        UNTRUSTED,
        "the server is not trusted ({text})",
        "check `ca_file`, or for ssh the list of `known_hosts`",
    ),
    (
        UNAUTHORISED,
        "the Git server wants other credentials ({text})",
        "check `credentials` of the repository",
    ),
    (ABSENT, "there is no such repository ({text})", "check the URL, and that the credentials may read it"),
    (NOT_GIT, "what answers there is not a Git server ({text})", "check the URL, and any proxy in between"),
)
