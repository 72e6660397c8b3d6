"""Which names and paths may be used; pure. The rules are Git's own and those of `worker.tree`.

Git refuses `.`, `..` and `.git` in a tree, also in the spellings that file systems of macOS and Windows take for
`.git` (`git help fsck`: hasDotgit, CVE-2014-9390). A hostile server sends them all the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

from towline.shared.errors import GitError, PathOutsideCheckout

MAX_PATH_CHARACTERS = 4096  # PATH_MAX of Linux
MAX_NAME_BYTES = 255  # NAME_MAX
MAX_REF_CHARACTERS = 1024  # far above what forges allow (GitHub: 255)

# Characters that HFS+ ignores in names (libgit2 calls them so too).
IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f]")

# https://git-scm.com/docs/git-check-ref-format, rules 3 to 10; `//` and a dot or `.lock` at a name's ends too.
REF_REFUSED = re.compile(r"\.\.|@\{|//|/\.|\.lock(/|$)|[\x00-\x20\x7f~^:?*\[\\]|[./]$")


@lru_cache(16_384)  # the same few names stand in every folder
def is_usable_name(name: str) -> bool:
    """Whether a tree's entry may have this name."""
    if not name or name in (".", "..") or "/" in name or UNPRINTABLE.search(name):
        return False
    try:
        size_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return size_bytes <= MAX_NAME_BYTES and not is_git_folder(name)


def is_git_folder(name: str) -> bool:
    """Whether some file system takes this name for `.git`."""
    plain = IGNORED_BY_HFS.sub("", name).casefold().partition(":")[0].rstrip(" .")
    return plain in (".git", "git~1")


@lru_cache(8_192)  # those of a revision's services, asked for at each push
def checked_path(path: str) -> str:
    """The path, when it is of the form that trees use; raises PathOutsideCheckout otherwise."""
    if not path:
        return path
    if len(path) > MAX_PATH_CHARACTERS:
        raise PathOutsideCheckout(f"a path of {len(path)} characters is longer than {MAX_PATH_CHARACTERS}")
    if any(name in ("", ".", "..") for name in path.split("/")) or "\0" in path:
        raise PathOutsideCheckout(
            f"{path!r} is not a path inside the repository",
            hint="write it relative to the root of the repository, without .. and without a slash at either end",
        )
    return path


def checked_ref(ref: str) -> str:
    """The full name of a ref, when Git itself would allow it; raises GitError otherwise."""
    is_full = ref.startswith("refs/") and ref.count("/") >= 2
    if not is_full or len(ref) > MAX_REF_CHARACTERS or REF_REFUSED.search(ref):
        raise GitError(
            f"{ref[:100]!r} is not the name of a ref", hint="a whole name is meant, as in refs/heads/main"
        )
    return ref
