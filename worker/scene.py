"""A cluster's releases as its watches show them: who they are, what they hold, and what is to be watched for that.

In: messages of informers. Out: the ids of the ApplySets whose release is to be judged anew; the Selections to be watched.
State: in memory, owned by one thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec
import structlog

from towline.shared.config import Config, Environment
from towline.shared.errors import TowlineError
from towline.shared.objects import GROUP, applyset_id
from towline.shared.release import RELEASE, Release
from towline.shared.watching import Selection
from towline.worker.cache import Cache
from towline.worker.decision import to_judge
from towline.worker.informer import Change, Failed, Items, Listed, Listing, Message, is_unserved
from towline.worker.selections import environment_of, member_selections, release_selections
from towline.worker.sightings import number_of, watched_release
from towline.worker.tracked import Tracked, followed

log = structlog.get_logger(__name__)


class Scene:
    """See the head of the module."""

    def __init__(self, config: Config, cluster: str) -> None:
        self._config = config
        self._cluster = cluster
        self.tracked: dict[str, Tracked] = {}  # by the id of the ApplySet
        self.environments: dict[str, Environment] = {}  # likewise
        self.cache = Cache(self.rules_of)
        self.outdated: set[tuple[str, str]] = (
            set()
        )  # kinds whose rules changed: to be listed and judged again
        self.is_other = True  # whether something else is to be watched since `wanted` was last asked
        self._members: dict[str, frozenset[Selection]] = {}  # by the id of the ApplySet
        self._held: Counter[Selection] = Counter()  # how many releases hold objects in it
        self._listings: dict[Selection, set[str]] = {}
        self._listed: set[Selection] = set()  # of Releases

    def rules_of(self, set_id: str) -> Mapping[str, str]:
        """How objects of kinds of its own are judged in this release."""
        tracked = self.tracked.get(set_id)
        return tracked.release.status.verification.health if tracked else {}

    def wanted(self, namespaces: Iterable[str] | None) -> set[Selection]:
        """What is to be watched; `namespaces`: where Releases are looked for, None for everywhere."""
        self.is_other = False
        wanted = release_selections(namespaces) | set(self._held)
        # Where one release judges a kind by a rule of its own, its objects are watched whole for all of them.
        return wanted - {replace(one, metadata_only=True) for one in wanted if not one.metadata_only}

    def is_listed(self, selection: Selection) -> bool:
        """Whether everything in it is known."""
        return selection in self._listed or selection in self.cache.listed

    def take(self, message: Message, *, now: float) -> set[str]:
        """What a watch shows; what is not of Kubernetes' form is told and left out."""
        selection = message.informer.selection
        try:
            if (selection.group, selection.kind) == (GROUP, RELEASE.kind):
                return self._take_release(selection, message, now)
            return self._take_member(selection, message)
        except (msgspec.MsgspecError, TowlineError) as error:
            log.warning("watch.odd_object", watch=str(selection), error=str(error)[:300])
            return set()

    def drop(self, selection: Selection) -> set[str]:
        """It is watched no longer."""
        self._listed.discard(selection)
        self._listings.pop(selection, None)
        return self.cache.forget(selection)

    def _take_release(self, selection: Selection, message: Message, now: float) -> set[str]:
        match message:
            case Listing():
                self._listings[selection] = set()
            case Items(objects=objects):
                found = {self._follow(raw, now) for raw in objects}
                self._listings.setdefault(selection, set()).update(found)
                return found - {""}
            case Listed():
                self._listed.add(selection)
                return self._forget_others(selection, self._listings.pop(selection, set()))
            case Change(type="DELETED", object=raw):
                return self._forget(self._id(watched_release(raw)))
            case Change(object=raw):
                return {self._follow(raw, now)} - {""}
            case Failed(error=error) if is_unserved(error):
                self._listed.add(selection)  # without its kind there is no Release
        return set()

    def _take_member(self, selection: Selection, message: Message) -> set[str]:
        match message:
            case Listing():
                self.cache.begin(selection)
            case Items(objects=objects, version=version):
                listed = number_of(version)
                return set().union(*(self.cache.show(selection, raw, version=listed) for raw in objects))
            case Listed(version=version):
                return self.cache.end(selection, number_of(version)) | self.holders(selection)
            case Change(type="DELETED", object=raw):
                return self.cache.remove(selection, raw)
            case Change(object=raw):
                return self.cache.show(selection, raw)
            case Failed(error=error) if is_unserved(error) and not self.is_listed(selection):
                self.cache.begin(selection)  # without its kind there is no object
                return self.cache.end(selection, 0) | self.holders(selection)
        return set()

    def holders(self, selection: Selection) -> set[str]:
        """The releases that hold objects in a selection."""
        place = (selection.group, selection.kind, selection.namespace)
        found = set()
        for set_id, one in self.tracked.items():
            status = one.release.status
            held = (*status.objects, *to_judge(status))
            if any((each.group, each.kind, each.namespace) == place for each in held):
                found.add(set_id)
        return found

    def _id(self, release: Release) -> str:
        return applyset_id(release.name, release.namespace)

    def _follow(self, raw: msgspec.Raw, now: float) -> str:
        """Keep a Release; "" for one that is not of this installation."""
        release = watched_release(raw)
        environment = environment_of(self._config, self._cluster, release)
        if environment is None:
            return ""
        set_id = self._id(release)
        before = self.tracked.get(set_id)
        self.tracked[set_id] = followed(before, release, now=now)
        self.environments[set_id] = environment
        self._hold(set_id, frozenset(member_selections(release, environment)))
        if before is not None:
            self._compare_rules(before.release, release)
        return set_id

    def _hold(self, set_id: str, members: frozenset[Selection]) -> None:
        """These are the selections of a release now; counted, since a thousand releases share a handful."""
        before = self._members.get(set_id, frozenset())
        if members == before:
            return
        self._members[set_id] = members
        self._held.update(members - before)
        self._held.subtract(before - members)
        self._held += Counter()  # without those that nobody holds any more
        self.is_other = True

    def _compare_rules(self, before: Release, release: Release) -> None:
        old, new = before.status.verification.health, release.status.verification.health
        if old != new:
            for name in {*old, *new}:
                if old.get(name) != new.get(name):
                    group, _, kind = name.rpartition("/")
                    self.outdated.add((group, kind))

    def _forget_others(self, selection: Selection, present: set[str]) -> set[str]:
        """Releases of this selection that its list did not show."""
        gone = [
            set_id
            for set_id, one in self.tracked.items()
            if set_id not in present and selection.namespace in ("", one.release.namespace)
        ]
        return set().union(*(self._forget(set_id) for set_id in gone))

    def _forget(self, set_id: str) -> set[str]:
        self.tracked.pop(set_id, None)
        self.environments.pop(set_id, None)
        self._hold(set_id, frozenset())
        self._members.pop(set_id, None)
        return {set_id}
