"""Removes what a first install has just made, when one of its objects was refused.

In: keys with the answers of their applies. Out: the objects that stay. No state. Killed half-way: what is left carries the
label of the set, and the next sync of the release takes it over.

Only what this attempt made is deleted: by uid, and where nobody but Towline has written a field of it. Namespaces and CRDs
stay, since somebody may have put something into them since.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from towline.shared.errors import TowlineError
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import MANAGER, metadata_of
from towline.worker.order import Rank, deletion_stages, rank_of
from towline.worker.parallel import in_parallel
from towline.worker.target import Target

Made = tuple[ObjectKey, Object]


def undo(target: Target, made: Sequence[Made]) -> tuple[ObjectKey, ...]:
    """Delete these objects in reverse order; returns the keys of those that stay."""
    kept: list[ObjectKey] = []
    for stage in deletion_stages(made, key=lambda one: one[0]):
        gone = in_parallel(partial(_is_removed, target), stage)
        kept += [key for (key, _), is_gone in zip(stage, gone, strict=True) if not is_gone]
    return tuple(kept)


def _is_removed(target: Target, made: Made) -> bool:
    key, answer = made
    if rank_of(key) is Rank.FOUNDATION or not _is_made_by_us(answer):
        return False
    resource = target.deployer.resource_of(answer)
    try:
        # Controllers may have written its status meanwhile, so the version says nothing; the uid says it all.
        target.deployer.delete(
            resource, key.name, key.namespace, uid=str(metadata_of(answer).get("uid")), resource_version=""
        )
    except TowlineError:  # the caller is about to say what went wrong first, and names what stays
        return False
    return True


def _is_made_by_us(answer: Object) -> bool:
    return all(entry.get("manager") == MANAGER for entry in metadata_of(answer).get("managedFields") or ())
