"""Job: bring one release to what is wanted for it.

In: the name of a release; what is wanted stands in Redis. Out: objects applied and pruned, and the record of it: a
stored revision, the Release's status, the view that people read. One at a time a release, over all workers: who finds
the lease held ends, since its holder looks again at what is wanted before it lets go.

Everything that can be checked is checked before anything is written. Order of writes (design section 4): claim, stored
revision, objects, deletions, status. Killed at any line, the job runs again: it finds the claim without its status,
looks at every object of the set, and ends in the same state. A worker that was paused meanwhile finds its claim gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from towline.shared.errors import (
    ClusterError,
    ConfigError,
    Conflict,
    GitError,
    NotGoneYet,
    PlanRefused,
    Refused,
    RenderError,
    TowlineError,
)
from towline.shared.jobs import QueueName, SyncArguments, conclude_call
from towline.shared.model import ReleaseName, Result, short
from towline.shared.pending import Pending
from towline.shared.records import check_owner
from towline.shared.wanted import Lease, Wanted
from towline.worker.apply import apply
from towline.worker.claim import Guard, claim, claim_and_store, make_room
from towline.worker.decision import is_to_be_brought_back
from towline.worker.dependants import reason_to_wait, show_waiting, wake
from towline.worker.dry_run import dry_run
from towline.worker.groups import ask_mates
from towline.worker.handover import handover
from towline.worker.holding import hear_operator, let_others_go_on, renewed
from towline.worker.hook_record import Started, record_hooks
from towline.worker.hooks import (
    delete,
    divided,
    due,
    known_runs,
    left_over,
    named,
    run_mark,
    start,
    started,
    try_out,
    with_started,
)
from towline.worker.in_the_way import left_for_later
from towline.worker.live import listing_of, prepare
from towline.worker.outcome import (
    Outcome,
    blocked,
    quarantined,
    show_error,
    stayed,
    superseded,
    tell,
    unrecorded,
    waiting,
)
from towline.worker.plan import Intent, Plan, make_plan
from towline.worker.policy import Placed
from towline.worker.prune import prune
from towline.worker.record import broken_off, record, refused
from towline.worker.remove import remove
from towline.worker.render.render import render
from towline.worker.rollback import go_back, refuse_unread
from towline.worker.services import Service
from towline.worker.siblings import checked
from towline.worker.stages import Stages
from towline.worker.state import UNTIL_HEALTHY, State, find
from towline.worker.steer import keep_pinned
from towline.worker.steps import Step, first_step, pending_after
from towline.worker.tools import Tools
from towline.worker.written import Written

CONFLICTS = 2  # times to look again before it is an error

log = structlog.get_logger(__name__)


def sync(tools: Tools, arguments: SyncArguments) -> str:
    """Carry out what is wanted for a release until nothing newer is; returns one line about the last attempt.

    Raises NotGoneYet when that is to be tried again, and what may pass.
    """
    name = ReleaseName.parse(arguments.release)
    lease = Lease(tools.broker, arguments.release)
    with tools.broker.guard():
        if not lease.acquire():
            return "another worker syncs this release; it looks again before it ends"
    tools.views.started(name)
    try:
        with renewed(lease):
            text, outcome = _until_done(tools, name, lease)
    finally:
        with tools.broker.guard():
            lease.drop()
            was_asked = lease.was_asked()
        hear_operator(tools, name)
        tools.views.stopped(name)
    if outcome is None:
        return text
    if was_asked and outcome.release is not None:
        tools.queue.enqueue([conclude_call(str(name), revision=outcome.release.status.revision)])
    if outcome.again_after is not None:
        raise NotGoneYet(text, release=str(name), retry_after=outcome.again_after)
    _tell_others(tools, name, outcome)
    return text


def _tell_others(tools: Tools, name: ReleaseName, outcome: Outcome) -> None:
    """Have done what this attempt was to be followed by."""
    release = outcome.release
    if release is not None and is_to_be_brought_back(release.status):
        call = conclude_call(str(name), revision=release.status.revision, queue=QueueName.URGENT)
        tools.queue.enqueue([call])
    status = outcome.unborn or (release.status if release is not None else None)
    if status is not None and outcome.result in (Result.FAILED, Result.REFUSED):
        ask_mates(tools, name, status)
    if outcome.is_blocked:
        with tools.broker.guard():
            wanted = tools.queue.wishes.get(str(name))
        if wanted is not None and not reason_to_wait(tools, wanted):  # that one was concluded meanwhile
            let_others_go_on(tools, name)
    elif outcome.result is not Result.SYNCED or not outcome.is_change:
        wake(tools, name)


def _until_done(tools: Tools, name: ReleaseName, lease: Lease) -> tuple[str, Outcome | None]:
    text, outcome = "nothing was wanted any more", None
    while True:
        with tools.broker.guard():
            wanted = tools.queue.wishes.get(str(name))
            sequence = wanted.sequence if wanted else tools.queue.wishes.newest_sequence(str(name))
        if wanted is not None:
            text, outcome = _attempt(tools, name, wanted, lease)
        is_left = outcome is not None and outcome.is_left
        with tools.broker.guard():
            if lease.leave(sequence) if is_left else lease.finish(sequence):
                return text, outcome
        if hear_operator(tools, name):  # who goes first, and has what is wanted by now tried after that
            return text, outcome


def _attempt(tools: Tools, name: ReleaseName, wanted: Wanted, lease: Lease) -> tuple[str, Outcome]:
    """One attempt; an error that may pass is raised, unless something newer is wanted, which then has its turn."""
    with structlog.contextvars.bound_contextvars(release=str(name), revision=wanted.revision):
        attempt = Attempt(tools=tools, wanted=wanted, lease=lease, stages=Stages(tools.metrics))
        try:
            outcome = attempt.run_again_on_conflict(name)
        except TowlineError as error:
            if error.retry and not attempt.is_superseded():
                show_error(tools, name, wanted, f"to be tried again: {error.message}")
                raise
            outcome = unrecorded(tools, name, wanted, error)
        return tell(tools, name, wanted, outcome, attempt.stages), outcome


def give_up(tools: Tools, arguments: SyncArguments, reason: str) -> None:
    """Record that a release could not be synced and will not be tried again by itself."""
    name = ReleaseName.parse(arguments.release)
    wanted = tools.queue.wishes.get(arguments.release)
    if wanted is not None:
        tools.views.unhandle(wanted.repository, wanted.ref, arguments.release)
        tools.views.touch(wanted.repository, wanted.revision, [arguments.release], "failed", text=reason)
        show_error(tools, name, wanted, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to bring a release to one revision."""

    tools: Tools
    wanted: Wanted
    lease: Lease
    stages: Stages

    def run_again_on_conflict(self, name: ReleaseName) -> Outcome:
        """Somebody wrote the Release between our read and our claim: look again, unless it was taken over."""
        for _ in range(CONFLICTS):
            try:
                return self.run(name)
            except Conflict as error:
                log.info("sync.conflict", error=error.message)
                with self.tools.broker.guard():
                    if not self.lease.held():
                        return stayed("another worker took the release over", None)
        return self.run(name)

    def run(self, name: ReleaseName) -> Outcome:
        """The story of a sync: find, render, plan, check; then claim, store, apply, prune, record."""
        if reason := reason_to_wait(self.tools, self.wanted):
            show_waiting(self.tools, self.wanted, reason)
            return blocked(reason)
        if self.wanted.rollback and (
            outcome := go_back(self.tools, name, self.wanted, self.lease, self.stages)
        ):
            return outcome
        try:
            state = self._found(name)
        except (ConfigError, GitError) as error:
            return refuse_unread(self.tools, name, self.wanted, error, self.stages)
        if outcome := self._left(state):
            return outcome
        try:
            if state.service is None:
                return self._remove(state)
            return self._bring(state, state.service)
        except (Refused, RenderError, ConfigError, GitError, ClusterError) as error:
            if error.retry:  # a damaged mirror is one: it is cloned anew
                raise
            self.tools.prepared.clear()  # what was there may have been deleted by others
            if state.continued is not None:
                return broken_off(self.tools, state, error)
            return refused(self.tools, state, self.wanted, error, self.stages)

    def _found(self, name: ReleaseName) -> State:
        with self.stages("find"):
            state = find(self.tools, name, self.wanted)
        if state.release is not None:
            check_owner(state.owner, state.release)  # also where another's is just what is wanted here
        return state

    def _left(self, state: State) -> Outcome | None:
        """The outcome where this revision is not to be brought, before anything of it is rendered."""
        if reason := state.reason_to_wait(self.wanted):
            keep_pinned(self.tools, state)
            return waiting(reason, state.release)
        if reason := state.reason_against(self.wanted):
            return quarantined(reason, state.release)
        if reason := state.reason_to_stay(self.wanted):
            return stayed(reason, state.release)
        return None

    def _remove(self, state: State) -> Outcome:
        if self.wanted.rollback:
            raise Refused(
                f"{short(self.wanted.revision)} does not have this service, and a rollback removes none",
                hint="name a revision that has it; `towline sync --revision` removes what a revision lacks",
                release=str(state.name),
            )
        return remove(self.tools, state, self.wanted, self.lease, self.stages)

    def _bring(self, state: State, service: Service) -> Outcome:
        with self.stages("render"):
            objects, hooks = divided(self._rendered(state, service))
        with self.stages("plan"):
            plan = self._planned(state, objects)
            hooks = self._due(state, hooks)
        if plan.is_empty and not hooks and not state.must_record(self.wanted, plan):
            return stayed("its objects are what they were", state.release)
        if self.is_superseded():
            return superseded(state.release)
        with self.stages("check"):
            if state.release is None:
                make_room(self.tools, state.environment)
            plan = dry_run(state.target, plan, before_hooks=bool(hooks))
            if state.continued is None:
                try_out(state.target, hooks)
        before = state.continued
        step = first_step(plan, hooks, before=before)
        if before is not None and step.is_after(before) and not state.is_healthy_so_far(self.wanted):
            return stayed(UNTIL_HEALTHY, state.release)
        if self.is_superseded():
            return superseded(state.release)
        return self._start(state, step) if step.hooks else self._write(state, objects, step)

    def _due(self, state: State, hooks: Sequence[Placed]) -> tuple[Placed, ...]:
        if self.wanted.rollback:
            return ()  # what an operator goes back to has run its hooks before
        is_new = state.is_new or state.continued is not None
        return due(hooks, known_runs(state, self.wanted, now=state.now()), is_new=is_new)

    def _start(self, state: State, step: Step) -> Outcome:
        now, mark = state.now(), self._mark(state)
        with self.stages("claim"):
            release = claim(state, step.plan, token=self.lease.token)
        with self.stages("apply"):
            delete(state.target, left_over(state))
            guard = Guard(state.records, release)
            problems = start(state.target, step.hooks, mark=mark, claim=guard)
        with self.stages("record"):
            known = known_runs(state, self.wanted, now=now)
            did = Started(
                release=release,
                step=step,
                pending=pending_after(step, self._known(state, mark)),
                runs=with_started(known, started(step.hooks, self.wanted.revision)),
                problems=problems,
            )
            return record_hooks(self.tools, state, self.wanted, did, self.stages)

    def _known(self, state: State, mark: str) -> Pending:
        """What is known of a revision that is brought in steps, as of now."""
        assert state.inputs is not None
        return Pending(
            revision=self.wanted.revision,
            ref=self.wanted.ref,
            inputs_digest=state.inputs.digest,
            run=mark,
            over_half=state.is_over_half,
            of=state.continued.of if state.continued else 0,
            since=state.now(),
            timeout_seconds=state.verification.timeout_seconds,
            group=state.verification.group,
        )

    def _mark(self, state: State) -> str:
        if state.continued is not None:
            return state.continued.run
        assert state.inputs is not None
        return run_mark(state.release.status if state.release else None, state.inputs.digest)

    def _write(self, state: State, objects: tuple[Placed, ...], step: Step) -> Outcome:
        plan, now = step.plan, state.now()
        with self.stages("claim"):
            release, stored = claim_and_store(
                state,
                plan,
                token=self.lease.token,
                revision=self.wanted.revision,
                objects=[one.object for one in objects],
                pin=self.wanted.pinned_to,
            )
        guard = Guard(state.records, release)
        with self.stages("apply"):
            delete(state.target, left_over(state))
            try:
                applied = apply(state.target, plan, claim=guard)
            except PlanRefused as error:
                if not plan.is_atomic:
                    raise
                return refused(self.tools, state, self.wanted, error, self.stages, claimed=release)
        written = Written(
            release=release,
            stored=stored,
            plan=plan,
            applied=applied,
            pruned=None,
            pending=pending_after(step, self._known(state, self._mark(state))),
            hooks=known_runs(state, self.wanted, now=now),
        )
        timeout = state.verification.timeout_seconds
        if outcome := left_for_later(self.tools, state, self.wanted, written, self.stages, timeout):
            return outcome
        with self.stages("prune"):
            if not applied.problems and not plan.later:
                written = replace(written, pruned=prune(state.target, plan, claim=guard))
        with self.stages("record"):
            return record(self.tools, state, self.wanted, written, self.stages)

    def _rendered(self, state: State, service: Service) -> tuple[Placed, ...]:
        assert state.inputs is not None
        name, programs = state.environment.name, self.tools.programs
        rendered = render(state.tree, service, state.inputs, environment=name, programs=programs)
        return checked(self.tools, state, named(rendered, self.wanted.revision))

    def _planned(self, state: State, placed: tuple[Placed, ...]) -> Plan:
        full = self.wanted.full or state.is_unfinished
        intent = Intent(full=full, restore=state.may_lack, allow_prune=self.wanted.allow_prune)
        survey = prepare(
            state.target, placed, state.recorded, intent=intent, listing=listing_of(state.release)
        )
        return make_plan(
            placed,
            state.recorded,
            survey,
            environment=state.environment,
            set_id=state.target.set_id,
            intent=replace(intent, handover=handover(self.tools, state, placed, survey)),
        )

    def is_superseded(self) -> bool:
        """Whether something newer is wanted by now."""
        with self.tools.broker.guard():
            return self.tools.queue.wishes.newest_sequence(self.wanted.release) > self.wanted.sequence
