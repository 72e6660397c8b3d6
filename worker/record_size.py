"""Whether the record of a release fits into its Release: pure.

In: the keys of everything that the record may have to name. Out: nothing, or Refused before anything is written. No state.
Found out only when the status is written, the objects would be there and no record of them, at every try.
"""

from __future__ import annotations

from collections.abc import Collection

from towline.shared.errors import Refused
from towline.shared.model import ObjectKey

# etcd takes 1.5 MiB for one object. What is left is for the history with its notes, and the managedFields.
RECORD_BYTES = 1_150_000
BYTES_AN_OBJECT = 210  # as JSON, beside its key: names of the fields, and two digests of 64 characters


def refuse_unrecordable(keys: Collection[ObjectKey]) -> None:
    """Raise Refused where these are more objects than one Release can name."""
    size_bytes = sum(BYTES_AN_OBJECT + len(key.namespace + key.name + key.group + key.kind) for key in keys)
    if size_bytes > RECORD_BYTES:
        raise Refused(
            f"the record of {len(keys)} objects would take {size_bytes:,} bytes, more than the {RECORD_BYTES:,} that fit a Release",
            hint="split the service, or shorten the names; objects that leave Git count until they are deleted",
        )
