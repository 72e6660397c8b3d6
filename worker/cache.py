"""What the watches of one cluster have shown so far: members of releases, and the pods, ReplicaSets and Events about them.

In: messages of informers. Out: the ids of the ApplySets whose release may have to be judged anew, and what judging needs.
State: all of it in memory, owned by one thread; after a restart the informers list it anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import msgspec

from towline.shared.model import WELL, ObjectKey
from towline.shared.watching import Selection
from towline.worker.health.case import Seen
from towline.worker.health.pod import Event, Pod, ReplicaSet
from towline.worker.health.workload import Workload
from towline.worker.selections import EVENT, POD, REPLICA_SET
from towline.worker.sightings import RulesOf, Sighting, sighting_of

EVENTS_EACH = 20  # kept about one object; an API server forgets them by itself after an hour
GONE_KEPT = 10_000  # deleted members that are remembered
EVENTS_ABOUT = frozenset({"Pod", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"})

_POD = msgspec.json.Decoder(Pod)
_REPLICA_SET = msgspec.json.Decoder(ReplicaSet)
_EVENT = msgspec.json.Decoder(Event)

Item = TypeVar("Item")


class Family(Generic[Item]):
    """Objects by their own uid, and by the uid of the one they belong to."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[str, Item]] = {}
        self._under: dict[str, dict[str, None]] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._items)

    def get(self, uid: str) -> Item | None:
        """One of them."""
        found = self._items.get(uid)
        return found[1] if found else None

    def owner(self, uid: str) -> str:
        """The uid of what it belongs to, "" for one that is not known."""
        found = self._items.get(uid)
        return found[0] if found else ""

    def under(self, owner: str) -> Iterator[Item]:
        """Those that belong to this one, the oldest first."""
        return (self._items[uid][1] for uid in self._under.get(owner, ()))

    def count(self, owner: str) -> int:
        """How many belong to this one."""
        return len(self._under.get(owner, ()))

    def put(self, uid: str, owner: str, item: Item) -> None:
        """Keep it in the place of what was known of it."""
        if uid in self._items and self._items[uid][0] != owner:
            self.remove(uid)
        self._items[uid] = (owner, item)
        self._under.setdefault(owner, {})[uid] = None

    def remove(self, uid: str) -> None:
        """Forget it."""
        owner, _ = self._items.pop(uid, ("", None))
        siblings = self._under.get(owner)
        if siblings is not None:
            siblings.pop(uid, None)
            if not siblings:
                del self._under[owner]

    def oldest(self, owner: str) -> str:
        """The uid of the one that has been kept longest."""
        return next(iter(self._under.get(owner, ())), "")


@dataclass(slots=True)
class Cache:
    """See the head of the module. `rules_of`: how a release's own kinds are judged."""

    rules_of: RulesOf
    members: dict[ObjectKey, Sighting] = field(default_factory=dict)
    pods: Family[Pod] = field(default_factory=Family)
    replica_sets: Family[ReplicaSet] = field(default_factory=Family)
    events: Family[Event] = field(default_factory=Family)
    listed: dict[Selection, int] = field(default_factory=dict)  # whole, as of this version
    _held: dict[Selection, set[Hashable]] = field(default_factory=dict)
    _listing: dict[Selection, set[Hashable]] = field(default_factory=dict)
    _places: set[tuple[str, str, str]] = field(default_factory=set)  # of the members in `listed`
    _sets: dict[str, str] = field(default_factory=dict)  # uid of a member -> id of its ApplySet
    _gone: dict[ObjectKey, int] = field(default_factory=dict)  # members that were deleted, and as of when

    def begin(self, selection: Selection) -> None:
        """A list begins."""
        self._listing[selection] = set()

    def end(self, selection: Selection, version: int) -> set[str]:
        """It has ended: what was not in it is gone."""
        present = self._listing.pop(selection, set())
        missing = self._held.get(selection, set()) - present
        touched = set().union(*(self._lose(selection, one, version) for one in missing))
        self.listed[selection] = version
        self._find_places()
        return touched

    def show(self, selection: Selection, raw: msgspec.Raw, *, version: int = 0) -> set[str]:
        """An object is as this; `version`: of the list that it is in, which says that it is still so."""
        place, touched = self._keep(selection, raw, version)
        if place is not None:
            self._held.setdefault(selection, set()).add(place)
            if (present := self._listing.get(selection)) is not None:
                present.add(place)
        return touched

    def remove(self, selection: Selection, raw: msgspec.Raw) -> set[str]:
        """An object is gone, as it was last."""
        if (selection.group, selection.kind) in (POD, REPLICA_SET, EVENT) and not selection.labels:
            return self._lose(selection, msgspec.json.decode(raw, type=_Plain).metadata.uid, 0)
        seen = sighting_of(raw, selection, rules_of=self.rules_of)
        known = self.members.get(seen.key)
        if known is None or known.uid != seen.uid:  # another one has its name by now
            return {seen.set_id}
        return self._lose(selection, seen.key, seen.version)

    def forget(self, selection: Selection) -> set[str]:
        """It is watched no longer."""
        self.listed.pop(selection, None)
        self._listing.pop(selection, None)
        self._find_places()
        return set().union(*(self._lose(selection, one, 0) for one in list(self._held.pop(selection, set()))))

    def is_listed(self, key: ObjectKey) -> bool:
        """Whether what is not known of this kind and namespace is not there."""
        return (key.group, key.kind, key.namespace) in self._places

    def gone_at(self, key: ObjectKey) -> int:
        """As of which version a member that is not there was deleted, 0 where that was not seen."""
        return self._gone.get(key, 0)

    def seen_of(self, workload: Workload) -> Seen:
        """What tells how the pods of a workload do."""
        sets = tuple(self.replica_sets.under(workload.uid))
        makers = [workload.uid, *(one.metadata.uid for one in sets)]
        pods = [pod for uid in makers for pod in self.pods.under(uid)]
        if workload.kind == "Pod" and (own := self.pods.get(workload.uid)):
            pods.append(own)
        uids = [*makers, *(pod.metadata.uid for pod in pods)]
        events = tuple(event for uid in uids for event in self.events.under(uid))
        return Seen(pods=tuple(pods), replica_sets=sets, events=events)

    def _find_places(self) -> None:
        self._places = {(one.group, one.kind, one.namespace) for one in self.listed if one.labels}

    def _keep(self, selection: Selection, raw: msgspec.Raw, version: int) -> tuple[Hashable, set[str]]:
        kind = (selection.group, selection.kind)
        if selection.labels:
            return self._keep_member(selection, raw, version)
        if kind == POD:
            pod = _POD.decode(raw)
            self.pods.put(pod.metadata.uid, pod.metadata.controller, pod)
            return pod.metadata.uid, self._touched(pod.metadata.uid)
        if kind == REPLICA_SET:
            one = _REPLICA_SET.decode(raw)
            self.replica_sets.put(one.metadata.uid, one.metadata.controller, one)
            return one.metadata.uid, self._touched(one.metadata.uid)
        return self._keep_event(_EVENT.decode(raw))

    def _keep_member(self, selection: Selection, raw: msgspec.Raw, version: int) -> tuple[Hashable, set[str]]:
        seen = sighting_of(raw, selection, rules_of=self.rules_of)
        if version > seen.version:
            seen = replace(seen, version=version)
        before = self.members.get(seen.key)
        self.members[seen.key] = seen
        self._sets[seen.uid] = seen.set_id
        self._gone.pop(seen.key, None)
        if before is not None and before.uid != seen.uid:
            self._sets.pop(before.uid, None)
        return seen.key, {seen.set_id, before.set_id} if before else {seen.set_id}

    def _keep_event(self, event: Event) -> tuple[Hashable, set[str]]:
        about = event.involved_object
        if about.kind not in EVENTS_ABOUT:
            return None, set()
        uid = event.metadata.uid
        if self.events.get(uid) is None and self.events.count(about.uid) >= EVENTS_EACH:
            self.events.remove(self.events.oldest(about.uid))
        self.events.put(uid, about.uid, event)
        return uid, self._touched(about.uid)

    def _lose(self, selection: Selection, place: Hashable, version: int) -> set[str]:
        self._held.get(selection, set()).discard(place)
        if isinstance(place, ObjectKey):
            return self._lose_member(place, version)
        uid = str(place)
        touched = self._touched(uid) | self._touched(self.events.owner(uid))
        for family in (self.pods, self.replica_sets, self.events):
            family.remove(uid)
        return touched

    def _lose_member(self, key: ObjectKey, version: int) -> set[str]:
        known = self.members.get(key)
        if known is None or known.is_gone:
            return set()
        if (key.group, key.kind) == ("batch", "Job") and known.verdict and known.verdict.health in WELL:
            # Removed by its TTL: what it came to still counts.
            self.members[key] = replace(known, is_gone=True)
        else:
            del self.members[key]
            self._gone[key] = version
            if len(self._gone) > GONE_KEPT:
                del self._gone[next(iter(self._gone))]
        self._sets.pop(known.uid, None)
        return {known.set_id}

    def _touched(self, uid: str) -> set[str]:
        """The ApplySet of what this belongs to, by up to two owners: pod, ReplicaSet, Deployment."""
        for _ in range(3):
            if (found := self._sets.get(uid)) is not None:
                return {found}
            uid = self.pods.owner(uid) or self.replica_sets.owner(uid)
            if not uid:
                break
        return set()


class _Identity(msgspec.Struct):
    uid: str = ""


class _Plain(msgspec.Struct):
    metadata: _Identity
