"""What each release should be brought to, and who is bringing it there.

Redis keys, all of them short-lived state that the clock can rebuild from the cluster and the repositories:

    towline:sequence            string   the last sequence; a newer wish has a higher one
    towline:wanted:<release>    hash     sequence, body (a Wanted as signed JSON), done (highest sequence carried out); expires
                                         when it is done and nothing newer was wanted for DONE_MS
    towline:lease:<release>     string   token of the worker that syncs this release now; expires when it dies
    towline:asked:<release>     string   a judgement was asked for while a sync held the lease; expires like that

A holder that is killed leaves the lease to expire (LEASE_MS); the sweep runs its job again. A holder that was paused
finds its token gone; the claim on the Release fences what it may still write (design section 3).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from towline.shared.broker import Broker, Pipe
from towline.shared.errors import AccessError
from towline.shared.model import Trigger
from towline.shared.stamp import Stamp

LEASE_MS = 12_000  # ends before the sweep runs a dead holder's job again, some 16 s after its last heartbeat
DONE_MS = 30 * 24 * 3600 * 1000  # how long a wish is remembered after it was carried out
YIELDING = "yields-"  # how the token of a lease starts that a sync may take over

# KEYS[1] towline:sequence (string)   -> a number higher than any before, also than those before Redis was wiped: a worker
# may still hold one of them. Microseconds since the epoch, which a double holds exactly until the year 2255.
NEXT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if now <= last then now = last + 1 end
local text = string.format('%.0f', now)
redis.call('SET', KEYS[1], text)
return text
"""

# KEYS[1] wanted (hash: sequence, body, done)   ARGV[1] sequence   ARGV[2] body
# -> {1, body of the wish in whose place it is, or ""}, {0, ""} something newer is wanted
WANT = """
local have = tonumber(redis.call('HGET', KEYS[1], 'sequence') or '-1')
if have > tonumber(ARGV[1]) then return {0, ''} end
local done = tonumber(redis.call('HGET', KEYS[1], 'done') or '-1')
local replaced = have > done and redis.call('HGET', KEYS[1], 'body') or ''
redis.call('HSET', KEYS[1], 'sequence', ARGV[1], 'body', ARGV[2])
redis.call('PERSIST', KEYS[1])
return {1, replaced}
"""

# KEYS[1] wanted (hash: sequence, body, done)   ARGV[1] sequence   ARGV[2] body   ARGV[3] the sequence before it
# -> 1 to be done again, 0 something newer is wanted
AGAIN = """
local have = tonumber(redis.call('HGET', KEYS[1], 'sequence') or ARGV[1])
if have ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'sequence', ARGV[1], 'body', ARGV[2], 'done', ARGV[3])
redis.call('PERSIST', KEYS[1])
return 1
"""

# KEYS[1] lease (string: token)   ARGV[1] token   ARGV[2] ms   ARGV[3] YIELDING   -> 1 taken, 0 a sync has it
TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[3]) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS[1] lease (string: token)   ARGV[1] token   ARGV[2] token that does not yield   ARGV[3] ms   -> 1 kept, 0 lost
FIRM = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# KEYS[1] lease (string: token)   ARGV[1] token   ARGV[2] ms   -> 1 still ours and renewed, 0 lost
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS[1] lease   KEYS[2] wanted   ARGV[1] token   ARGV[2] sequence carried out   ARGV[3] ms to remember it
# -> 1 lease given back, 0 something newer is wanted (lease kept), -1 lease lost
FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local done = tonumber(redis.call('HGET', KEYS[2], 'done') or '-1')
if tonumber(ARGV[2]) > done then redis.call('HSET', KEYS[2], 'done', ARGV[2]) end
if tonumber(redis.call('HGET', KEYS[2], 'sequence') or '-1') > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""

# KEYS[1] lease   KEYS[2] wanted   ARGV[1] token   ARGV[2] sequence that stays to be done
# -> 1 lease given back, 0 something newer is wanted (lease kept), -1 lease lost
LEAVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if tonumber(redis.call('HGET', KEYS[2], 'sequence') or '-1') > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""

# KEYS[1] lease   ARGV[1] token   -> 1 given back, 0 was not ours
DROP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class Wanted(BaseModel):
    """What a release should be brought to: `revision` of `ref`, and on whose behalf."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    repository: str
    ref: str
    revision: str
    sequence: int
    trigger: Trigger
    delivery: str = ""
    operator: str = ""
    received_at: float
    full: bool = False  # compare every object with the cluster, even when nothing changed in Git
    allow_prune: bool = False  # an operator's word for a prune above the limit
    rollback: bool = False  # the stored objects of the revision will do, so that Git is not needed
    pin: bool = False  # stay there, whatever is pushed
    after: tuple[str, ...] = ()  # releases that are to be healthy, or gone, first
    goes_on: str = ""  # the attempt whose step was found healthy, so that the next one is to be taken
    waits_since: float = 0.0  # when its first try began, where it waits for what is being deleted

    @property
    def pinned_to(self) -> str:
        """The revision that the release is to stay at from now on, "" where its pin stays what it is."""
        return self.revision if self.pin else ""


class Wishes:
    """The `wanted` of all releases; signed, so that whoever can write to Redis cannot choose what is deployed."""

    def __init__(self, broker: Broker, secret_key: str) -> None:
        self._broker = broker
        self._stamp = Stamp(secret_key, purpose="wish")

    def next_sequence(self) -> int:
        """A number higher than any before."""
        return int(self._broker.redis.eval(NEXT, 1, "towline:sequence"))

    def want(self, wishes: Iterable[Wanted], *, pipe: Pipe) -> None:
        """Store what is wanted unless something newer is; part of the caller's transaction."""
        for wanted in wishes:
            key = wanted_key(wanted.release)
            pipe.eval(WANT, 1, key, str(wanted.sequence), self._stamp.on(wanted.model_dump_json()))

    def get(self, release: str) -> Wanted | None:
        """What is still to be done for a release, or None when all that was wanted is done.

        Raises AccessError for a wish that is not ours, or another release's.
        """
        sequence, body, done = self._broker.redis.hmget(wanted_key(release), ["sequence", "body", "done"])
        if body is None or int(done or -1) >= int(sequence or -1):
            return None
        return self._opened(release, body)

    def overtaken(self, wishes: Iterable[Wanted], answers: Iterable[tuple[int, bytes]]) -> Iterator[Wanted]:
        """The wishes that will not have their turn, by what the transaction answered to `want`."""
        for wanted, (stored, replaced) in zip(wishes, answers, strict=True):
            if not stored:
                yield wanted
            elif replaced:
                with suppress(AccessError):  # a wish that is not ours
                    yield self._opened(wanted.release, replaced)

    def _opened(self, release: str, body: bytes) -> Wanted:
        wanted = Wanted.model_validate_json(self._stamp.off(body))
        if wanted.release != release:
            raise AccessError(
                f"the wish for {release} is {wanted.release}'s", hint="somebody else writes to this Redis"
            )
        return wanted

    def outstanding(self, releases: Sequence[str]) -> frozenset[str]:
        """Those of these releases for which something is still to be done; one round trip."""
        pipe = self._broker.redis.pipeline(transaction=False)
        for release in releases:
            pipe.hmget(wanted_key(release), ["sequence", "done"])
        answers = zip(releases, pipe.execute(), strict=True)
        return frozenset(release for release, (have, done) in answers if int(done or -1) < int(have or -1))

    def undone(self, releases: Sequence[str]) -> list[Wanted]:
        """What is still to be done for these releases, in one round trip; a wish that is not ours is none."""
        pipe = self._broker.redis.pipeline(transaction=False)
        for release in releases:
            pipe.hmget(wanted_key(release), ["sequence", "body", "done"])
        wishes = []
        for release, (have, body, done) in zip(releases, pipe.execute(), strict=True):
            if body is not None and int(done or -1) < int(have or -1):
                with suppress(AccessError):
                    wishes.append(self._opened(release, body))
        return wishes

    def newest(self, release: str) -> Wanted | None:
        """The newest wish, done or not; raises AccessError as `get` does."""
        body = self._broker.redis.hget(wanted_key(release), "body")
        return self._opened(release, body) if body is not None else None

    def again(self, wanted: Wanted) -> None:
        """Have the newest wish, in these words now, done once more; nothing when a newer one has come."""
        sequence = wanted.sequence
        body = self._stamp.on(wanted.model_dump_json())
        key = wanted_key(wanted.release)
        self._broker.redis.eval(AGAIN, 1, key, str(sequence), body, str(sequence - 1))

    def newest_sequence(self, release: str) -> int:
        """The sequence of the newest wish, done or not; -1 when there is none."""
        return int(self._broker.redis.hget(wanted_key(release), "sequence") or -1)


class Lease:
    """The right of one worker to sync one release; one that `yields` only judges it, and a sync takes it over.

    A sync that finds another's lease ends, since that one looks again at what is wanted. Who judges does not.
    """

    def __init__(self, broker: Broker, release: str, *, yields: bool = False) -> None:
        self._redis = broker.redis
        self._key = f"towline:lease:{release}"
        self._asked = f"towline:asked:{release}"
        self._wanted = wanted_key(release)
        self._yields = yields
        self.token = (YIELDING if yields else "") + secrets.token_hex(12)

    @property
    def is_firm(self) -> bool:
        """Whether a sync that finds it held ends, instead of taking it over."""
        return not self.token.startswith(YIELDING)

    def acquire(self) -> bool:
        """Take it unless somebody has it who does not yield to us."""
        if self._yields:
            return bool(self._redis.set(self._key, self.token, nx=True, px=LEASE_MS))
        return bool(self._redis.eval(TAKE, 1, self._key, self.token, str(LEASE_MS), YIELDING))

    def acquire_or_ask(self) -> bool:
        """Take it, or have its holder know that somebody wanted to judge the release meanwhile."""
        if self.acquire():
            return True
        self._redis.set(self._asked, "", px=LEASE_MS)
        return self.acquire()  # it may have been given back before that was written

    def was_asked(self) -> bool:
        """Whether somebody wanted to judge the release while this was held."""
        return self._redis.getdel(self._asked) is not None

    def stand_firm(self) -> bool:
        """Yield no longer: this one is going to write; False when a sync has taken it over."""
        firm = secrets.token_hex(12)
        if not self._redis.eval(FIRM, 1, self._key, self.token, firm, str(LEASE_MS)):
            return False
        self.token = firm
        return True

    def renew(self) -> bool:
        """Keep it for another LEASE_MS; False when it was lost."""
        return bool(self._redis.eval(RENEW, 1, self._key, self.token, str(LEASE_MS)))

    def held(self) -> bool:
        """Whether it is still ours."""
        return bool(self._redis.get(self._key) == self.token.encode())

    def finish(self, sequence: int) -> bool:
        """Mark a wish as done and give the lease back; False when something newer is wanted, which is ours to do."""
        answer = int(
            self._redis.eval(FINISH, 2, self._key, self._wanted, self.token, str(sequence), str(DONE_MS))
        )
        return answer != 0

    def leave(self, sequence: int) -> bool:
        """Give the lease back and leave the wish to be done later; False when something newer is wanted, which is ours to do."""
        return int(self._redis.eval(LEAVE, 2, self._key, self._wanted, self.token, str(sequence))) != 0

    def drop(self) -> None:
        """Give it back without having done anything."""
        self._redis.eval(DROP, 1, self._key, self.token)


def wanted_key(release: str) -> str:
    """Where the wish of a release is kept."""
    return f"towline:wanted:{release}"
