"""Names of refs by Git's own rules; pure. What passes may be looked up, shown and written to Redis as it is.

Source: https://git-scm.com/docs/git-check-ref-format, by number in the comments.
"""

from __future__ import annotations

import re

HEADS = "refs/heads/"
TAGS = "refs/tags/"
LENGTH_LIMIT = 1024  # characters; forges allow some 250

REFUSED = re.compile(
    r"/\.|^\.|\.lock(/|$)"  # 1: no component starts with a dot or ends with `.lock`
    r"|\.\."  # 3
    r"|[\x00-\x20\x7f~^:]"  # 4: control characters, space
    r"|[?*\[]"  # 5
    r"|^/|/$|//"  # 6
    r"|\.$"  # 7
    r"|@\{"  # 8
    r"|\\"  # 10
    r"|^-"  # no rule for a whole name, and an option for every program that is given one
)


def is_ref_name(ref: str) -> bool:
    """Whether this is the whole name of a ref (`refs/heads/main`) that Git itself would allow."""
    if not ref.startswith("refs/") or ref.count("/") < 2 or len(ref) > LENGTH_LIMIT:
        return False
    return REFUSED.search(ref) is None and not _has_surrogates(ref)


def is_branch(ref: str) -> bool:
    """Whether the ref is a branch; a branch may well be called `refs/tags/x`."""
    return ref.startswith(HEADS)


def _has_surrogates(text: str) -> bool:
    """Half characters, which JSON can hold and UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in text)
