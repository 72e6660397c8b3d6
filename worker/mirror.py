"""A bare mirror of a repository: brought up to date by ref, and read without a checkout.

In: refs and revisions that jobs need. Out: tips, trees and commits of the object database. With worker/git_remote.py,
revision_tree.py and packs.py the one door to Git.
State, all of it a cache, in `<root>/<name>-<digest of url>/`: `mirror-<time>.git` (our refs in it are
`refs/mirror/<digest of the ref>`, since the server's own names may clash with each other on disk; `consolidated` in it tells
when its packs were made one), `damaged` (a note: clone anew), `clone.git` (being cloned), `set-aside` (the last damaged
mirror), and the files of worker/fetch_line.py and git_remote.py. Everything that changes the mirror happens under the lock of worker/fetch_line.py; reading needs none.
Killed half-way: lock files and temporary packs are left, and removed by who has the lock next; a clone that was cut off
is a mirror with fewer objects, which the next fetch completes.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pygit2

from towline.shared.config import Repository
from towline.shared.errors import ForgeDown, GitError, MirrorDamaged, RevisionMissing, Unavailable
from towline.shared.model import Revision, is_revision, short
from towline.worker import deadline as deadlines
from towline.worker.deadline import Deadline
from towline.worker.fetch_line import FetchLine
from towline.worker.git_errors import clean
from towline.worker.git_remote import Advertised, GitRemote, Wish
from towline.worker.names import checked_ref
from towline.worker.packs import consolidate
from towline.worker.revision_tree import RevisionTree, reading

SHA256_DIGITS = 64
MAX_COMMIT_BYTES = 1024 * 1024  # of a commit object; its message is shown, and a signature is in it
MAX_PERSON = 100  # characters of an author's name
MAX_SUBJECT = 200
RECENT_HISTORY = 500  # commits; a monorepo's whole history may take longer than a job has
WHOLE_HISTORY = 2**31 - 1  # Git's own word for it (INFINITE_DEPTH)
CONSOLIDATED = "consolidated"  # a file of the mirror, touched when its packs were made one
PEELED = "^{}"  # the line after an annotated tag's, with the commit


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """What people are told of a commit; text without control characters, cut."""

    revision: Revision
    author: str
    subject: str
    committed_at: datetime
    parents: tuple[Revision, ...]  # none where the history that is here begins


class Mirror:
    """The mirror of one repository below `root`. Make it in the main thread: see worker/deadline.py."""

    def __init__(self, root: Path, repository: Repository) -> None:
        digest = hashlib.sha256(repository.url.encode()).hexdigest()[:12]
        self._folder = root / f"{repository.name}-{digest}"
        self._name = repository.name
        self._note = self._folder / "damaged"
        self._line = FetchLine(self._folder)
        self._remote = GitRemote(repository, self._folder)
        self._open: tuple[Path, int, pygit2.Repository] | None = None
        deadlines.prepare()

    def fetch(self, ref: str, *, deadline_seconds: float) -> Revision | None:
        """Bring a ref up to date and return its tip's commit, tags peeled; None: the server does not have the ref.

        Callers that wait at the same time, in any process of this host, share one fetch: one that started after the
        call began. Raises ForgeDown, FetchRefused, Unavailable.
        """
        deadline = Deadline(deadline_seconds)
        self._make_folder()
        with self._room():
            return self._line.tip(
                checked_ref(ref), lambda refs: self._bring(refs, deadline), deadline=deadline
            )

    def refs(self, *, deadline_seconds: float) -> dict[str, Revision]:
        """Every branch and tag of the server, tags peeled; no objects are fetched."""
        deadline = Deadline(deadline_seconds)
        self._make_folder()
        with self._room(), self._line.turn(deadline):
            advertised = self._fetch(self._ready(), Wish(specs=()), deadline)
        names = [ref for ref in advertised if ref.startswith(("refs/heads/", "refs/tags/"))]
        return {ref: _peeled(advertised, ref) for ref in names if not ref.endswith(PEELED) and _is_ref(ref)}

    def ensure(self, revision: Revision, *, ref: str, deadline_seconds: float) -> None:
        """Make sure that a commit is here: as the ref's tip, or in its history.

        Raises RevisionMissing when it is not. It is never asked for by its id, since a forge gives the commits of every
        fork by id: whoever may name a revision could deploy what nobody has pushed to this repository.
        """
        self._check_id(revision)
        if self._has(revision):
            return
        deadline = Deadline(deadline_seconds)
        self.fetch(ref, deadline_seconds=deadline.remaining())
        if not self._has(revision):
            with self._room(), self._line.turn(deadline):
                self._look_back(revision, ref, deadline)

    def tree(self, revision: Revision) -> RevisionTree:
        """The files of a revision that is here; raises RevisionMissing when it is not."""
        commit = self._commit(revision)
        return RevisionTree(self._git(), commit.tree_id, self._report)

    def commit(self, revision: Revision) -> CommitInfo:
        """What people are told of a revision that is here."""
        commit = self._commit(revision)
        return CommitInfo(
            revision=revision,
            author=clean(commit.author.raw_name.decode("utf-8", "replace"))[:MAX_PERSON],
            subject=clean(commit.raw_message.decode("utf-8", "replace").partition("\n")[0])[:MAX_SUBJECT],
            committed_at=datetime.fromtimestamp(max(0, min(commit.commit_time, 2**32)), UTC),
            parents=tuple(Revision(str(parent)) for parent in commit.parent_ids),
        )

    def brought(self, tip: Revision, *, after: str, limit: int) -> tuple[Revision, ...]:
        """The commits that `tip` contains and `after` does not, the newest first, at most `limit`; of `tip` alone where
        `after` is not here. The history that is here may begin later than theirs."""
        git = self._git()
        if not self._has(tip) or not is_revision(after) or not self._has(Revision(after)):
            return (tip,)
        with reading("the history", self._report):
            walk = git.walk(pygit2.Oid(hex=tip))
            walk.hide(pygit2.Oid(hex=after))
            return (tip, *(Revision(str(one.id)) for one in islice(walk, limit) if str(one.id) != tip))[
                :limit
            ]

    def _bring(self, refs: frozenset[str], deadline: Deadline) -> Mapping[str, Revision]:
        """Fetch these refs under the lock; a mirror that is or turns out to be damaged is cloned anew, once."""
        if not self._note.exists():
            try:
                return self._brought(self._ready(), refs, deadline)
            except MirrorDamaged:
                pass  # and noted
        return self._cloned(refs, deadline)

    def _cloned(self, refs: frozenset[str], deadline: Deadline) -> Mapping[str, Revision]:
        """Fetch into a new mirror; what can still be read of the old one stays until the new one is there."""
        draft = self._folder / "clone.git"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            tips = self._brought(self._made(draft), refs, deadline)
        except MirrorDamaged as damage:
            raise ForgeDown(
                f"what the Git server of {self._name} sends cannot be read: {damage.message}",
                hint="it is tried again by itself; `git clone` and `git fsck` say more",
            ) from damage
        old = self._path()
        draft.rename(self._new_path())
        self._set_aside(old)
        return tips

    def _brought(
        self, git: pygit2.Repository, refs: frozenset[str], deadline: Deadline
    ) -> Mapping[str, Revision]:
        with reading("a ref", self._report):
            known = [ref for ref in refs if git.references.get(_local(ref)) is not None]
        # One round trip where the history continues; only the tip of what is seen for the first time.
        depth = 0 if len(known) == len(refs) else 1
        specs = [f"+{ref}:{_local(ref)}" for ref in sorted(refs)]
        advertised = self._fetch(git, Wish(specs=specs, depth=depth, is_first=not known), deadline)
        with reading("a ref", self._report):
            for ref in known:
                if ref not in advertised:
                    git.references.delete(_local(ref))
        tips = {ref: self._tip(git, ref, advertised) for ref in refs if ref in advertised}
        with reading("a pack", self._report):
            if consolidate(git):
                Path(git.path, CONSOLIDATED).touch()
        return tips

    def _fetch(self, git: pygit2.Repository, wish: Wish, deadline: Deadline) -> Advertised:
        if wish.depth and not self._remote.can_be_shallow:
            wish = replace(wish, depth=0)
        try:
            return self._remote.fetch(git, wish, deadline=deadline)
        except MirrorDamaged as damage:
            self._report(damage.message)
            raise

    def _tip(self, git: pygit2.Repository, ref: str, advertised: Advertised) -> Revision:
        """The commit that an advertised ref leads to, after a look whether it can be read."""
        with reading(ref, self._report):
            object = git[pygit2.Oid(hex=advertised[ref])]
            if object.type_str in ("tree", "blob"):
                raise GitError(
                    f"{ref} of {self._name} does not lead to a commit", hint="deploy from a branch"
                )
            commit = object.peel(pygit2.Commit)
            git[commit.tree_id]
            return Revision(str(commit.id))

    def _look_back(self, revision: Revision, ref: str, deadline: Deadline) -> None:
        git = self._ready()
        for depth in (RECENT_HISTORY, WHOLE_HISTORY):
            if git.is_shallow:
                self._fetch(git, Wish(specs=[f"+{ref}:{_local(ref)}"], depth=depth), deadline)
            if self._has(revision):
                return
        raise RevisionMissing(
            f"{ref} of {self._name} does not contain {short(revision)} (any more)",
            hint="it was never pushed there, or the branch was deleted or force-pushed",
        )

    def _has(self, revision: Revision) -> bool:
        try:
            self._commit(revision)
        except RevisionMissing:
            return False
        return True

    def _commit(self, revision: Revision) -> pygit2.Commit:
        self._check_id(revision)
        id = pygit2.Oid(hex=revision)
        missing = RevisionMissing(f"{self._name} has no commit {short(revision)} in its mirror")
        if self._path() is None:
            raise missing
        with reading(short(revision), self._report):
            git = self._git()
            if id not in git:
                raise missing
            kind, size_bytes = git.odb.read_header(id)[:2]
            if kind != pygit2.enums.ObjectType.COMMIT or size_bytes > MAX_COMMIT_BYTES:
                raise missing
            return git[id].peel(pygit2.Commit)

    def _check_id(self, revision: Revision) -> None:
        if not is_revision(revision):
            raise RevisionMissing(
                f"{clean(revision)[:80]!r} is not a commit id", hint="40 hexadecimal digits"
            )
        if len(revision) == SHA256_DIGITS:
            raise RevisionMissing(
                f"{short(revision)} is a SHA-256 id, which libgit2 cannot read",
                hint="convert the repository to SHA-1 ids",
            )

    def _make_folder(self) -> None:
        with self._room():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """What the disk refuses may pass: room is made, a file system is mounted again."""
        try:
            yield
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the mirror of {self._name} cannot be made: {clean(str(error))}",
            hint="check room and rights of data_dir",
        )

    def _ready(self) -> pygit2.Repository:
        """The repository to fetch into, made if need be; the lock is held."""
        path = self._path()
        if path is None:
            return self._made(self._new_path())
        try:
            _tidy(path)
            return self._git()
        except MirrorDamaged:
            self._set_aside(path)
            return self._made(self._new_path())

    def _path(self) -> Path | None:
        """Where the mirror is: in a new folder after each clone, as libgit2 remembers packs by their path."""
        return max(self._folder.glob("mirror-*.git"), default=None)

    def _new_path(self) -> Path:
        return self._folder / f"mirror-{time.time_ns():020d}.git"

    def _made(self, path: Path) -> pygit2.Repository:
        try:
            git = pygit2.init_repository(path, bare=True)
            # To other ports of the same host, and from http to https, redirects are followed all the same.
            git.config["http.followRedirects"] = "false"
        except (pygit2.GitError, OSError) as error:
            raise self._no_room(error) from error
        return git

    def _git(self) -> pygit2.Repository:
        """The repository, opened once, and again when it was cloned anew, by whatever process, or its packs were made one.

        As long as it is open, libgit2 keeps every pack in memory that it has ever seen.
        """
        path = self._path()
        with reading("it", self._report):
            if path is None:
                raise FileNotFoundError("the mirror is gone")
            consolidated_at = _touched_at(path / CONSOLIDATED)
            if self._open is None or self._open[:2] != (path, consolidated_at):
                self._open = (path, consolidated_at, pygit2.Repository(path))
                gc.collect()  # the one before refers to itself
            return self._open[2]

    def _set_aside(self, path: Path | None) -> None:
        """Keep one damaged mirror for whoever wants to know why."""
        aside = self._folder / "set-aside"
        shutil.rmtree(aside, ignore_errors=True)
        if path is not None:
            path.rename(aside)
        self._note.unlink(missing_ok=True)
        self._open = None

    def _report(self, reason: str) -> None:
        """Note that the mirror is damaged; the next fetch clones it anew."""
        self._make_folder()
        with self._room():
            self._note.write_text(f"{reason}\n")


def _tidy(path: Path) -> None:
    """Remove what a killed fetch leaves; nobody else writes while we hold the lock."""
    for pattern in ("*.lock", "refs/mirror/*.lock", "objects/pack/pack_git2_*", "objects/pack/tmp_*"):
        for left in path.glob(pattern):
            left.unlink(missing_ok=True)


def _touched_at(file: Path) -> int:
    """When it was touched, in nanoseconds; 0 where it never was."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _local(ref: str) -> str:
    """Our own name of a ref; one text for all, since pygit2 never lets go of one that it looks something up by."""
    return sys.intern(f"refs/mirror/{hashlib.sha256(ref.encode()).hexdigest()[:40]}")


def _peeled(advertised: Advertised, ref: str) -> Revision:
    return Revision(advertised.get(f"{ref}{PEELED}", advertised[ref]))


def _is_ref(ref: str) -> bool:
    try:
        checked_ref(ref)
    except GitError:
        return False
    return True
