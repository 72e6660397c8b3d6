"""A line before one mirror, for all processes of a host: one fetch serves everybody who was in it when it started.

In: a ref that somebody needs as it is now. Out: its tip by a fetch that started after they asked.
State, in the mirror's folder: `lock` (flock, held by who fetches or changes the mirror), `waiting/<id>` (the ref that
one caller waits for), `fetches.json` (number of the last fetch that started; of each ref its tip and the fetch it is by).
Killed half-way: the kernel releases the lock; a ref left in `waiting` is fetched once more and removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from towline.shared.errors import ForgeDown, GitError
from towline.shared.model import Revision
from towline.worker.deadline import Deadline
from towline.worker.names import checked_ref

LOOK_AGAIN_SECONDS = 0.005  # while somebody else fetches
MAX_REFS = 200  # of one fetch; who is not among them fetches next
MAX_TIPS = 2_000  # remembered, the latest

Fetch = Callable[[frozenset[str]], Mapping[str, Revision]]


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a ref was at a fetch; None: the server does not have it."""

    fetch: int
    revision: Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The content of `fetches.json`."""

    started: int = 0
    tips: Mapping[str, Tip] = field(default_factory=dict)


class FetchLine:
    """The line before the mirror in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = folder / "waiting"
        self._file = folder / "fetches.json"

    def tip(self, ref: str, fetch: Fetch, *, deadline: Deadline) -> Revision | None:
        """The tip of a ref by a fetch that starts after this call, our own or somebody else's."""
        before = self._state().started
        with self._registered(ref), self.turn(deadline):
            state = self._state()
            known = state.tips.get(ref)
            if known is not None and known.fetch > before:
                return known.revision
            return self._fetched(state, ref, fetch)

    def _fetched(self, state: State, ref: str, fetch: Fetch) -> Revision | None:
        number = state.started + 1
        waiting = self._refs_waited_for()
        refs = frozenset({ref, *waiting.values()})
        self._write(State(started=number, tips=state.tips))
        tips = fetch(refs)
        found = {name: Tip(number, tips.get(name)) for name in refs}
        self._write(State(started=number, tips={**state.tips, **found}))
        for path in waiting:
            path.unlink(missing_ok=True)
        return tips.get(ref)

    @contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Hold the mirror's lock; raises ForgeDown when others held it all the time."""
        with (self._folder / "lock").open("w") as lock:
            while not _is_locked(lock.fileno()):
                if deadline.has_passed:
                    raise ForgeDown(
                        f"the mirror in {self._folder.name} was busy for {deadline.seconds:g} s",
                        hint="another fetch of this repository takes long; it is tried again by itself",
                    )
                time.sleep(LOOK_AGAIN_SECONDS)
            yield

    @contextmanager
    def _registered(self, ref: str) -> Iterator[None]:
        self._waiting.mkdir(mode=0o700, exist_ok=True)
        ticket = self._waiting / uuid.uuid4().hex
        ticket.write_text(ref)
        try:
            yield
        finally:
            ticket.unlink(missing_ok=True)

    def _refs_waited_for(self) -> dict[Path, str]:
        refs: dict[Path, str] = {}
        for path in sorted(self._waiting.iterdir())[:MAX_REFS]:
            try:
                refs[path] = checked_ref(path.read_text())
            except FileNotFoundError:
                continue  # the caller gave up meanwhile
            except GitError:
                path.unlink(missing_ok=True)  # killed while writing it
        return refs

    def _state(self) -> State:
        """What is on disk; when that cannot be read nothing is known, so everybody fetches for themselves."""
        try:
            stored = json.loads(self._file.read_bytes())
            tips = {ref: Tip(int(fetch), revision) for ref, (fetch, revision) in stored["tips"].items()}
            return State(started=int(stored["started"]), tips=tips)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State()

    def _write(self, state: State) -> None:
        latest = sorted(state.tips.items(), key=lambda item: item[1].fetch)[-MAX_TIPS:]
        stored = {"started": state.started, "tips": {ref: [tip.fetch, tip.revision] for ref, tip in latest}}
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(stored))
        os.replace(draft, self._file)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
