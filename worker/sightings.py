"""What a watcher keeps of an object: who it is, how it is, and what of it is ours; the object itself is dropped. Pure.

In: an object as an API server sends it, as bytes. Out: a Sighting, or a Release without what only people read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from towline.shared.model import WELL, Object, ObjectKey
from towline.shared.objects import PART_OF, key_of, labels_of, metadata_of, owned_hash
from towline.shared.release import Release, release_of
from towline.shared.watching import Selection
from towline.worker.health.surroundings import AddressClass
from towline.worker.health.verdict import Verdict, judge
from towline.worker.health.workload import Workload, workload_of

RulesOf = Callable[[str], Mapping[str, str]]  # the id of an ApplySet -> health rules of its service

READ_BY_PEOPLE = ("conditions", "shortRevision", "shortStableRevision")
ATTEMPT = ("revision", "result", "startedAt")  # what is judged by of the newest attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One object of a release as of `version`; `verdict` is None where only metadata is watched.

    `workload`: its pods tell more than it does itself, as long as it is not healthy. `is_gone`: a Job that ended and was
    then removed by its TTL; what it came to still counts. `lacks_address`: the verdict is that of a cluster in which
    nobody gives addresses to its class; where somebody does, it waits for one.
    """

    key: ObjectKey
    uid: str
    version: int
    set_id: str
    owned: str
    verdict: Verdict | None
    workload: Workload | None = None
    is_gone: bool = False
    lacks_address: AddressClass | None = None


def sighting_of(raw: msgspec.Raw, selection: Selection, *, rules_of: RulesOf) -> Sighting:
    """Judge an object and forget it. Raises msgspec.MsgspecError for what is no JSON object."""
    object = _named(msgspec.json.decode(raw, type=dict), selection)
    metadata = metadata_of(object)
    set_id = sys.intern(str(labels_of(object).get(PART_OF) or ""))
    lacking: list[AddressClass] = []
    gives = partial(_noted, lacking)
    verdict = None if selection.metadata_only else judge(object, rules=rules_of(set_id), gives=gives)
    unsettled = verdict is not None and verdict.health not in WELL
    key = key_of(object)
    return Sighting(
        key=ObjectKey(
            group=sys.intern(key.group),
            kind=sys.intern(key.kind),
            namespace=sys.intern(key.namespace),
            name=key.name,
        ),
        uid=str(metadata.get("uid") or ""),
        version=number_of(metadata.get("resourceVersion")),
        set_id=set_id,
        owned=sys.intern(owned_hash(object)),  # the same text as in the Release's status
        verdict=verdict,
        workload=workload_of(object) if unsettled else None,
        lacks_address=next(iter(lacking), None),
    )


def _noted(lacking: list[AddressClass], one: AddressClass) -> bool:
    """Who gives addresses may change while the object does not, so that is asked when its release is judged."""
    lacking.append(one)
    return False


def watched_release(raw: msgspec.Raw) -> Release:
    """A Release without what only people read. Raises msgspec.MsgspecError, or ClusterError for a status not of our form."""
    object = msgspec.json.decode(raw, type=dict)
    status = object.get("status")
    if isinstance(status, dict):
        kept = {name: value for name, value in status.items() if name not in READ_BY_PEOPLE}
        object["status"] = {**kept, "history": _newest(status.get("history"))}
    return replace(release_of(object), rest={})


def _newest(history: object) -> list[Object]:
    entries = history if isinstance(history, list) else []
    return [
        {name: entry[name] for name in ATTEMPT if name in entry}
        for entry in entries[:1]
        if isinstance(entry, dict)
    ]


def number_of(version: object) -> int:
    """A resourceVersion as a number: of one server's objects, the later has the larger one (KEP-5504); 0 for none."""
    return int(version) if isinstance(version, str) and version.isascii() and version.isdigit() else 0


def _named(object: Object, selection: Selection) -> Object:
    """Items of lists have no kind, and metadata alone is a PartialObjectMetadata: call both what they are."""
    if object.get("kind") == selection.kind:
        return object
    version = f"{selection.group}/v1" if selection.group else "v1"  # only the group of it is looked at
    return {**object, "apiVersion": version, "kind": selection.kind}
