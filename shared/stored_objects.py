"""The objects of a revision as bytes for Secrets, and back. Pure.

In: rendered objects. Out: parts that each fit a Secret, under the SHA-256 of what they hold. The digest is taken before
compression, so that one render has one digest whatever zlib compressed it. What is read back is used only when it has
the digest that the Release names: whoever may write Secrets there would choose what we apply.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from towline.shared.errors import PolicyRefused, Refused
from towline.shared.model import Object
from towline.shared.objects import canonical, normalise

PART_BYTES = 1_000_000  # a Secret holds 1 MiB of data: k8s.io/api/core/v1 MaxSecretSize
PARTS = 10  # about 100 MB of YAML
PLAIN_BYTES = 128 * 1024 * 1024  # unpacked; a gzip of 1 MB can hold a gigabyte of zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Parts, and the digest of what they hold together."""

    sha256: str
    parts: tuple[bytes, ...]


def pack(objects: Sequence[Object], *, part_bytes: int = PART_BYTES) -> Packed:
    """Objects as they are sent (`normalise`), in their order. Raises Refused when they are too many for Secrets."""
    plain = canonical([normalise(object) for object in objects])
    # No time of day in it, and level 6: level 9 takes three times as long for 1 % less.
    packed = gzip.compress(plain, compresslevel=6, mtime=0)
    parts = tuple(packed[start : start + part_bytes] for start in range(0, len(packed), part_bytes))
    if len(parts) > PARTS or len(plain) > PLAIN_BYTES:
        raise Refused(
            f"the {len(objects)} objects take {len(plain):,} bytes ({len(packed):,} compressed), which is too much to store",
            hint=f"split the service: at most {PLAIN_BYTES:,} bytes, {PARTS * part_bytes:,} compressed, can be rolled back",
        )
    return Packed(sha256=hashlib.sha256(plain).hexdigest(), parts=parts)


def unpack(parts: Sequence[bytes], *, sha256: str, name: str) -> list[Object]:
    """The objects in these parts. Raises PolicyRefused when they are not exactly what was stored."""
    plain = _plain(b"".join(parts))
    if plain is None or hashlib.sha256(plain).hexdigest() != sha256:
        raise PolicyRefused(
            f"Secret {name} does not hold what was stored there, so nothing of it is applied",
            hint="somebody changed it: look at who may write Secrets in that namespace, then sync from Git",
        )
    objects: list[Object] = json.loads(plain)
    return objects


def _plain(packed: bytes) -> bytes | None:
    """What is in it, up to the limit: anything longer cannot have the digest."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(packed, PLAIN_BYTES)
    except zlib.error:
        return None
