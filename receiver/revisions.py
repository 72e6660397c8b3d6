"""Is this commit live? One answer over all releases that a revision touches, for whoever may see them.

In: a repository and a revision. Out: RevisionAnswer. Read from Redis alone: how far the revision got with each release
(`shared/views.py`), which tip contains it (`shared/contained.py`), the releases as they stand, and the ledger for one that
no worker has read. No cluster and no Git is asked; what is not known is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from towline.receiver.api_models import NotDeployed, RevisionAnswer, RevisionVerdict, time_of
from towline.receiver.caller import Caller, covers
from towline.receiver.verdicts import Line, Whole, Word, line_of, speaks_of, whole_of
from towline.shared.branches import HEADS
from towline.shared.config import Config, Repository
from towline.shared.contained import tips_with
from towline.shared.ledger import Delivery, Verdict
from towline.shared.model import ReleaseName, short
from towline.shared.views import ReleaseView, Touched

FOLLOWED = 20  # revisions that each took the place of the one before
LOOK_BACK = 200  # deliveries of the repository, for a revision that no worker has read


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One revision, and what was read about it so far."""

    caller: Caller
    repository: Repository
    revision: str
    read: dict[str, dict[str, Touched] | None] = field(default_factory=dict)

    def answer(self) -> RevisionAnswer:
        """The answer as things stand now."""
        self.read.clear()
        context, grant = self.caller.context, self.caller.grant
        tips = tips_with(context.broker, self.repository.name, self.revision)
        lines = {name: line for name, line in self._lines(tips).items() if grant.covers(name.environment)}
        is_known = self._touched(self.revision) is not None or any(
            self._touched(tip) is not None for tip in tips.values()
        )
        whole, why = whole_of(list(lines.values()), is_known=is_known), ""
        absent = not_deployed(context.config, self.repository, refs=tips, touched=lines) if is_known else []
        is_final = whole in (Whole.LIVE, Whole.FAILED)
        if whole is Whole.UNKNOWN:
            whole, why, is_final = self._by_ledger()
        return RevisionAnswer(
            repository=self.repository.name,
            revision=self.revision,
            verdict=whole,
            final=is_final,
            message=why,
            applied=whole is not Whole.UNKNOWN
            and all(line.is_applied for line in lines.values())
            and is_known,
            releases=[_shown(name, line) for name, line in sorted(lines.items())],
            not_deployed=[one for one in absent if grant.covers(one.environment)],
        )

    def _touched(self, revision: str) -> dict[str, Touched] | None:
        if revision not in self.read:
            self.read[revision] = self.caller.context.views.revision(self.repository.name, revision)
        return self.read[revision]

    def _lines(self, tips: Mapping[str, str]) -> dict[ReleaseName, Line]:
        """A line for each release that the revision touches, itself or as part of a tip that contains it."""
        views = {
            view.name: view
            for view in self.caller.context.views.list()
            if view.status.get("repository") == self.repository.name
        }
        own = self._touched(self.revision) or {}
        lines: dict[ReleaseName, Line] = {}
        speaking = [name for name, view in views.items() if speaks_of(view, self.revision)]
        for name in {*speaking, *map(ReleaseName.parse, own)}:
            line = self._line(self.revision, own.get(str(name)), name, views.get(name))
            if line is not None:
                lines[name] = self._followed(line, name, views.get(name))
        for ref, tip in tips.items():
            if tip != self.revision:
                lines = {**self._by_tip(ref, tip, views), **lines}
        return lines

    def _line(
        self, revision: str, touched: Touched | None, name: ReleaseName, view: ReleaseView | None
    ) -> Line | None:
        line = line_of(revision, touched, view)
        if line is not None and line.word is Word.SUPERSEDED and view is not None:
            return line_of(revision, touched, self.caller.context.views.get(name))  # with its history
        return line

    def _by_tip(
        self, ref: str, tip: str, views: Mapping[ReleaseName, ReleaseView]
    ) -> dict[ReleaseName, Line]:
        """The releases that the tip touches in the environments of its ref: it was deployed instead."""
        deployed = self.caller.context.config.environments_for(self.repository, ref)
        environments = {environment.name for environment in deployed}
        text = f"{short(tip)} contains it and came with the same push, or soon after it"
        lines = {}
        for name in map(ReleaseName.parse, self._touched(tip) or {}):
            if name.environment in environments:
                line = Line(word=Word.SUPERSEDED, text=text, instead=tip)
                lines[name] = self._followed(line, name, views.get(name))
        return lines

    def _followed(self, line: Line, name: ReleaseName, view: ReleaseView | None) -> Line:
        """The same with the word of the revision that stands in its place in the end."""
        found = line
        for _ in range(FOLLOWED):
            if found.word is not Word.SUPERSEDED or not found.instead:
                break
            told = (self._touched(found.instead) or {}).get(str(name))
            next_line = self._line(found.instead, told, name, view)
            if next_line is None:
                return line
            line = replace(
                line,
                instead=found.instead,
                then=None if next_line.word is Word.SUPERSEDED else next_line.word,
                at=max(line.at, next_line.at),
                text=line.text if next_line.word is Word.LIVE else f"{line.text}: {next_line.text}",
            )
            found = next_line
        return line

    def _by_ledger(self) -> tuple[Whole, str, bool]:
        """What the deliveries say of a revision that no worker has read, and whether that is final."""
        recent = self.caller.context.ledger.recent(LOOK_BACK, repository=self.repository.name)
        for delivery in recent:
            refs = [push.ref for push in delivery.pushes if push.after == self.revision]
            if refs and covers(self.caller, delivery):
                return _by_delivery(delivery, refs[0].removeprefix(HEADS))
        return Whole.UNKNOWN, "no push of it was received, or it is too long ago", False


def _by_delivery(delivery: Delivery, branch: str) -> tuple[Whole, str, bool]:
    match delivery.verdict:
        case Verdict.IGNORED:
            return Whole.UNKNOWN, f"not deployed here: {branch} is mapped to no environment", True
        case Verdict.FAILED:
            ends = "; ".join(end.text for end in delivery.ends.values() if not end.ok)
            return Whole.FAILED, f"its push was read and refused: {ends}", True
        case Verdict.SUCCEEDED:
            text = f"a later push of {branch} took its turn; whether that contains it is not known"
            return Whole.UNKNOWN, text, False
        case _:
            return Whole.WAITING, "received, and not read yet", False


def not_deployed(
    config: Config, repository: Repository, *, refs: Iterable[str], touched: Iterable[ReleaseName]
) -> list[NotDeployed]:
    """The environments of a repository in which a revision changes nothing, and why. Pure."""
    branches: dict[str, list[str]] = {}
    for branch, targets in repository.branches.items():
        for target in targets:
            branches.setdefault(target, []).append(branch)
    mapped = {
        environment.template or environment.name: environment.name
        for ref in refs
        for environment in config.environments_for(repository, ref)
    }
    changed = {name.environment for name in touched}
    absent = []
    for target, names in branches.items():
        if target not in mapped:
            why = f"only {', '.join(names)} is deployed there"
            absent.append(NotDeployed(environment=target, why=why))
        elif mapped[target] not in changed:
            absent.append(NotDeployed(environment=mapped[target], why="it changes no service there"))
    return absent


def _shown(name: ReleaseName, line: Line) -> RevisionVerdict:
    return RevisionVerdict(
        environment=name.environment,
        service=name.service,
        verdict=line.word,
        message=line.text,
        at=time_of(line.at),
        applied=line.is_applied,
        live=line.is_live,
        final=line.is_live or line.is_bad,
        superseded_by=line.instead,
        superseded_by_verdict=line.then,
    )
