"""A service is gone from Git: its objects are deleted, and its release with them.

In: a State without a service. Out: an Outcome. Before anything is deleted the tip of the ref is fetched again and its
list of services read without an error: a service that is there again, or a list that cannot be trusted, ends it.
Killed half-way, the Release is still there and the next run goes on; it is deleted last.
"""

from __future__ import annotations

from dataclasses import replace

from towline.shared.errors import Refused
from towline.shared.model import Result, Revision
from towline.shared.wanted import Lease, Wanted
from towline.worker.claim import Guard, claim
from towline.worker.dry_run import dry_run
from towline.worker.handover import handover
from towline.worker.hooks import delete
from towline.worker.live import listing_of, prepare
from towline.worker.outcome import Counts, Outcome, stayed
from towline.worker.plan import Intent, make_plan
from towline.worker.prune import prune
from towline.worker.repository import services_in
from towline.worker.stages import Stages
from towline.worker.state import FETCH_SECONDS, State
from towline.worker.tools import Tools


def remove(tools: Tools, state: State, wanted: Wanted, lease: Lease, stages: Stages) -> Outcome:
    """Delete what the release holds, then the release. Raises Refused with what the API server kept."""
    with stages("find"):
        tip = tools.mirror(state.repository).fetch(wanted.ref, deadline_seconds=FETCH_SECONDS)
        if tip is None or _has_service(tools, state, tip):
            return stayed("its service is in the repository again, or the branch is gone", state.release)
    if state.release is None:
        tools.views.remove(state.name)
        return Outcome(result=Result.REMOVED, text="was not deployed", is_change=False)
    if _is_of_another_ref(tools, state, wanted):
        return stayed(f"it is deployed from {state.release.status.ref}", state.release)
    with stages("plan"):
        intent = Intent(removing=True, allow_prune=wanted.allow_prune)
        survey = prepare(state.target, (), state.recorded, intent=intent, listing=listing_of(state.release))
        intent = replace(intent, handover=handover(tools, state, (), survey))
        environment, set_id = state.environment, state.target.set_id
        plan = make_plan((), state.recorded, survey, environment=environment, set_id=set_id, intent=intent)
        plan = dry_run(state.target, plan)
    with stages("prune"):
        release = claim(state, plan, token=lease.token)
        pruned = prune(state.target, plan, claim=Guard(state.records, release))
        delete(state.target, release.status.hooks)
    if pruned.problems:
        raise Refused(
            "the service is gone from Git, and not all of it could be deleted", problems=pruned.problems
        )
    with stages("record"):
        state.records.delete(release)
        tools.views.remove(state.name)
    notes = tuple(str(kept) for kept in pruned.kept)
    counts = Counts(pruned=len(pruned.pruned), notes=notes)
    text = f"removed with {counts.pruned} objects" + (f"; kept {'; '.join(notes)}" if notes else "")
    return Outcome(result=Result.REMOVED, text=text, counts=counts)


def _is_of_another_ref(tools: Tools, state: State, wanted: Wanted) -> bool:
    """Whether another ref, which is mapped to this environment too, deployed the release last."""
    ref = state.release.status.ref if state.release else ""
    return ref not in ("", wanted.ref) and any(
        one.name == state.environment.name for one in tools.config.environments_for(state.repository, ref)
    )


def _has_service(tools: Tools, state: State, tip: Revision) -> bool:
    tree = tools.mirror(state.repository).tree(tip)
    return state.name.service in services_in(tree, state.repository, state.environment)
