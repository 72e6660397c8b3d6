"""Keep the number of packs of a mirror small: every fetch adds one, and every lookup asks them in turn.

In: a bare repository whose lock is held. Out: its small packs made into one; the largest (the clone) is left alone, as
rewriting it would cost what the clone cost. Others may read meanwhile: the new pack is in place before the old ones go,
and libgit2 looks again when a pack is gone.
Killed half-way: some objects are in two packs, which is harmless, until the next time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pygit2

MAX_PACKS = 50  # then one fetch in fifty takes some 20 ms longer
ID_BYTES = 20
FANOUT_START = 8
FANOUT_BYTES = 4 * 256
MAGIC = b"\xfftOc\x00\x00\x00\x02"


def consolidate(git: pygit2.Repository, *, limit: int = MAX_PACKS) -> bool:
    """Make one pack of all but the largest when there are more than `limit`; whether there were."""
    folder = Path(git.path, "objects", "pack")
    packs = sorted(folder.glob("*.pack"), key=lambda pack: pack.stat().st_size)
    if len(packs) <= limit:
        return False
    small = packs[:-1]
    builder = pygit2.PackBuilder(git)
    for pack in small:
        for id in _ids(pack.with_suffix(".idx").read_bytes()):
            builder.add(id)
    before = set(packs)
    builder.write(folder)
    made = set(folder.glob("*.pack")) - before
    for pack in small if made else ():
        pack.with_suffix(".idx").unlink(missing_ok=True)
        pack.unlink(missing_ok=True)
    return True


def _ids(index: bytes) -> Iterator[pygit2.Oid]:
    """The ids in a pack's index (https://git-scm.com/docs/pack-format, version 2)."""
    if index[:FANOUT_START] != MAGIC:
        raise ValueError("a pack's index is not of version 2")
    start = FANOUT_START + FANOUT_BYTES
    (count,) = struct.unpack(">I", index[start - 4 : start])
    for at in range(start, start + count * ID_BYTES, ID_BYTES):
        yield pygit2.Oid(raw=index[at : at + ID_BYTES])
