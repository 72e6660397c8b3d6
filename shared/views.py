"""The list of releases that API and page read, so that neither asks a cluster: short-lived, rebuilt by the clock.

Redis keys:

    towline:views                          hash   `environment/service` -> ReleaseView as JSON
    towline:views:brief                    hash   the same without what LONG names: the list, which is read often
    towline:syncing                        zset   `environment/service` -> time at which its sync started
    towline:changes                        string  grows with each change of a view, a delivery or a verdict: who waits looks at it
    towline:verifying                      hash   `environment/service` -> revision that waits to become healthy
    towline:revision:<repository>:<id>     hash   `environment/service` -> Touched as JSON: the releases a revision changes
    towline:handled:<repository>:<ref>     hash   `environment/service` -> inputs digest last enqueued; `` -> the tip
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from towline.shared.broker import Broker, Pipe
from towline.shared.model import Phase, ReleaseName

VIEWS = "towline:views"
BRIEF = "towline:views:brief"
LONG = frozenset(
    {"history", "objects", "stored", "conditions"}
)  # nine tenths of a status, shown one at a time
UNSETTLED = (Phase.VERIFYING, Phase.ROLLING_BACK)  # to be judged until they are healthy or not
NOT_YET = ("wanted", "waiting")  # of a revision whose turn has not come
SYNCING = "towline:syncing"
VERIFYING = "towline:verifying"
CHANGES = "towline:changes"
REVISION_TTL_SECONDS = 30 * 24 * 3600
TIP = ""  # the field of `handled` that holds the revision itself
NOTHING = ""  # the field of `revision` that says that it changes no release

# KEYS[1] handled (hash)   ARGV[1] tip of the comparison   ARGV[2] n   n words: name, digest, ...   then names that are gone
HANDLE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local stands = (redis.call('HGET', KEYS[1], '') or '') == ARGV[1]
local last = 2 + tonumber(ARGV[2])
for i = 3, last, 2 do
  if ARGV[i] ~= '' or stands then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 1
"""


class ReleaseView(BaseModel):
    """One release as people see it; `status` is the Release's own status, with its names."""

    model_config = ConfigDict(frozen=True)

    environment: str
    service: str
    cluster: str
    namespace: str
    suspended: bool = False
    pinned: str = ""
    status: dict[str, object] = {}
    error: str = ""  # why the last attempt failed before it could be written to the Release
    syncing: bool = False
    updated_at: float

    @property
    def name(self) -> ReleaseName:
        """Its name."""
        return ReleaseName(self.environment, self.service)

    @property
    def phase(self) -> str:
        """`Syncing` while a worker is at it, the recorded phase otherwise."""
        return "Syncing" if self.syncing else str(self.status.get("phase") or "")


class Touched(BaseModel):
    """What a revision means to one release.

    `state` is `wanted`, `waiting`, `synced`, `healthy`, `removed`, `failed`, `refused`, `rolled back`, `quarantined` or
    `superseded`. `instead`: the revision that took the turn of this one, or that stays in the record as its objects are the same.
    """

    model_config = ConfigDict(frozen=True)

    state: str
    text: str = ""
    at: float
    instead: str = ""


class Views:
    """What API and page read."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._redis = broker.redis

    def put(self, view: ReleaseView) -> None:
        """Show this state of a release."""
        self._put([view])

    def fill(self, views: Iterable[ReleaseView]) -> None:
        """Show those of these releases that are not shown: Redis was wiped."""
        with self._broker.guard():
            known = set(self._redis.hkeys(VIEWS))
        if missing := [view for view in views if str(view.name).encode() not in known]:
            self._put(missing)

    def _put(self, views: Iterable[ReleaseView]) -> None:
        with self._broker.guard(), self._redis.pipeline(transaction=False) as pipe:
            for view in views:
                pipe.hset(VIEWS, str(view.name), view.model_dump_json(exclude={"syncing"}))
                pipe.hset(BRIEF, str(view.name), _brief(view).model_dump_json(exclude={"syncing"}))
                if view.status.get("phase") in UNSETTLED or view.status.get("pending"):
                    pipe.hset(VERIFYING, str(view.name), str(view.status.get("revision", "")))
                else:
                    pipe.hdel(VERIFYING, str(view.name))
            pipe.incr(CHANGES)
            pipe.execute()

    def remove(self, name: ReleaseName) -> None:
        """A release is gone."""
        with self._broker.guard(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hdel(VIEWS, str(name))
            pipe.hdel(BRIEF, str(name))
            pipe.hdel(VERIFYING, str(name))
            pipe.incr(CHANGES)
            pipe.execute()

    def get(self, name: ReleaseName) -> ReleaseView | None:
        """One release, or None."""
        with self._broker.guard():
            body = self._redis.hget(VIEWS, str(name))
            syncing = self._redis.zscore(SYNCING, str(name))
        return _view(body, syncing=syncing is not None) if body else None

    def list(
        self, *, environment: str | None = None, service: str | None = None, phase: str | None = None
    ) -> list[ReleaseView]:
        """All releases by name, narrowed to those asked for; their status without what LONG names."""
        with self._broker.guard():
            syncing = {name.decode() for name in self._redis.zrange(SYNCING, 0, -1)}
            raw: Mapping[bytes, bytes] = self._redis.hgetall(BRIEF)
        views = [
            _view(body, syncing=name in syncing)
            for name, body in sorted((name.decode(), body) for name, body in raw.items())
            if (environment is None or name.startswith(f"{environment}/"))
            and (service is None or name.endswith(f"/{service}"))
        ]
        return [view for view in views if phase is None or view.phase.lower() == phase.lower()]

    def verifying(self) -> dict[str, str]:
        """The releases that wait to become healthy, and the revision each was applied at."""
        with self._broker.guard():
            raw = self._redis.hgetall(VERIFYING)
        return {name.decode(): revision.decode() for name, revision in raw.items()}

    def started(self, name: ReleaseName) -> None:
        """A sync of this release runs."""
        with self._broker.guard(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(SYNCING, {str(name): time.time()})
            pipe.incr(CHANGES)
            pipe.execute()

    def stopped(self, name: ReleaseName) -> None:
        """It does not run any more."""
        with self._broker.guard(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(SYNCING, str(name))
            pipe.incr(CHANGES)
            pipe.execute()

    def forget_syncing(self, *, before: float) -> None:
        """Syncs that started before a time and never said that they stopped: their worker died."""
        with self._broker.guard():
            self._redis.zremrangebyscore(SYNCING, "-inf", before)

    def touch(
        self,
        repository: str,
        revision: str,
        releases: Iterable[str],
        state: str,
        *,
        text: str = "",
        instead: str = "",
    ) -> None:
        """A revision changes these releases, and this is how far it got with them."""
        line = Touched(state=state, text=text[:500], at=time.time(), instead=instead).model_dump_json()
        entries = dict.fromkeys(releases, line)
        if not entries:
            return
        self._remember(repository, revision, entries)

    def supersede(self, repository: str, revision: str, release: str, *, text: str, by: str = "") -> None:
        """A revision that waits for its turn with this release will not have it; `by` is the one of its repository that has."""
        key = f"towline:revision:{repository}:{revision}"
        with self._broker.guard():
            line = self._redis.hget(key, release)
            if line is not None and Touched.model_validate_json(line).state in NOT_YET:
                self.touch(repository, revision, [release], "superseded", text=text, instead=by)

    def touch_nothing(self, repository: str, revision: str) -> None:
        """A revision was read and changes no release: it is live as it stands."""
        self._remember(repository, revision, {NOTHING: ""})

    def _remember(self, repository: str, revision: str, entries: dict[str, str]) -> None:
        key = f"towline:revision:{repository}:{revision}"
        with self._broker.guard(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping=entries)
            pipe.expire(key, REVISION_TTL_SECONDS)
            pipe.incr(CHANGES)
            pipe.execute()

    def revision(self, repository: str, revision: str) -> dict[str, Touched] | None:
        """The releases that a revision changes, and how far it got with each; None when it was not read (yet)."""
        with self._broker.guard():
            raw = self._redis.hgetall(f"towline:revision:{repository}:{revision}")
        if not raw:
            return None
        lines = {name.decode(): line for name, line in sorted(raw.items())}
        return {name: Touched.model_validate_json(line) for name, line in lines.items() if name != NOTHING}

    def handled(self, repository: str, ref: str) -> dict[str, str] | None:
        """Inputs digest of each release at the last handled tip of a ref; None when that is not known (any more)."""
        with self._broker.guard():
            raw = self._redis.hgetall(handled_key(repository, ref))
        return {name.decode(): digest.decode() for name, digest in raw.items()} or None

    def handle_first(self, repository: str, ref: str, digests: Mapping[str, str], *, pipe: Pipe) -> None:
        """Remember all that was compared with the Releases themselves; part of the caller's transaction."""
        pipe.hset(handled_key(repository, ref), mapping=dict(digests))

    def handle(
        self,
        repository: str,
        ref: str,
        digests: Mapping[str, str],
        gone: Iterable[str],
        *,
        before: str,
        pipe: Pipe,
    ) -> None:
        """Remember what was enqueued for a ref, if what it was compared with still stands; part of the transaction.

        `digests` are those that changed, with the tip; `before` is the tip of the comparison. When Redis was wiped
        meanwhile, nothing is remembered; when the tip was taken back or is another by now, the tip is not, so that the
        next look compares again.
        """
        words = [word for pair in digests.items() for word in pair]
        pipe.eval(HANDLE, 1, handled_key(repository, ref), before, str(len(words)), *words, *gone)

    def forget_handled(self) -> None:
        """Have the next look at each ref compare with the Releases themselves, as when Redis was wiped."""
        with self._broker.guard():
            for key in self._redis.scan_iter(handled_key("*", "*")):
                self._redis.delete(key)

    def unhandle(self, repository: str, ref: str, release: str) -> None:
        """Have the next push or tick of the clock look at this release again: its sync did not get through.

        It stays among those handled, with no digest, so that one that is gone from Git is removed all the same.
        """
        key = handled_key(repository, ref)
        with self._broker.guard():
            if self._redis.exists(key):  # else the Releases themselves are asked, which knows more
                with self._redis.pipeline(transaction=True) as pipe:
                    pipe.hset(key, release, "")
                    pipe.hdel(key, TIP)
                    pipe.execute()


def changes(broker: Broker) -> int:
    """How often a view or a delivery has changed."""
    with broker.guard():
        return int(broker.redis.get(CHANGES) or 0)


def handled_key(repository: str, ref: str) -> str:
    """Where the last handled state of a ref is kept."""
    return f"towline:handled:{repository}:{ref}"


def _brief(view: ReleaseView) -> ReleaseView:
    status = {name: value for name, value in view.status.items() if name not in LONG}
    return view.model_copy(update={"status": status})


def _view(body: bytes, *, syncing: bool) -> ReleaseView:
    view = ReleaseView.model_validate_json(body)
    return view.model_copy(update={"syncing": syncing})
