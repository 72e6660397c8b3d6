"""Asks the API server, before anything is written, whether it will take what a plan would write.

In: a Plan. Out: the same Plan, checked, with what was found out (made anew, deferred, unverified); or PlanRefused with
every problem of every object, those of ownership among them. No state, nothing written.

What no dry run can see (docs/apply.md): quota, missing accounts and classes, rights that a binding would escalate. What
cannot be sent yet, as its kind or namespace is in the same set, is judged by the set's own schema, or as a stand-in in the
release's own namespace, and is recorded as deferred. A first install asks nothing: nothing runs yet that could break, and
`apply` removes what it made when one object is refused. With something in it that cannot be taken back, with several waves
or with hooks, it does ask. A change of one object alone asks nothing either: its apply is the check, since a refused one
has written nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from towline.shared.controls import recreate_allowed
from towline.shared.errors import ClusterError, Immutable, PlanRefused, Problem
from towline.shared.model import Object, ObjectKey
from towline.shared.objects import group_kind, is_ours, metadata_of
from towline.worker.live import read_metadata
from towline.worker.parallel import in_parallel
from towline.worker.plan import Plan, without
from towline.worker.policy import PROTECTED_KINDS, Placed, is_crd
from towline.worker.schema import defined_kind, kind_of, schema_of, schema_problems
from towline.worker.send import as_member, send, strategy_patch
from towline.worker.target import Target

STAND_IN = "towline-check"  # valid as a name of every kind that does not derive its name from its content

NO_DRY_RUN = re.compile(r"admission webhook \"?([^\"]+)\"? does not support dry run", re.IGNORECASE)
# Go prints the whole new value before it says what is wrong with it: for a Job that is a page.
VALUE_IN_MESSAGE = re.compile(r"Invalid value: .*: (?=[^:{}\"]+$)", re.DOTALL)
DOING = re.compile(r"^(?:dry run|apply|patch) of \S+ \S+ failed: ")

# What a Service's replacement cannot share with the one that is still there.
ALLOCATED = frozenset({"clusterIP", "clusterIPs", "healthCheckNodePort"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found out about one object."""

    key: ObjectKey
    problems: tuple[Problem, ...] = ()
    is_recreated: bool = False
    is_deferred: bool = False
    is_unverified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """What the set itself brings: kinds that are new or change, and new namespaces."""

    crds: tuple[Object, ...] = ()
    new_kinds: frozenset[tuple[str, str]] = frozenset()
    changed_kinds: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Check:
    """One dry run of a plan."""

    target: Target
    plan: Plan
    coming: Coming = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "coming", _coming(self.plan))

    def one(self, item: Placed) -> Checked:
        """Judge one object in the best way there is for it."""
        if kind_of(item.object) in self.coming.new_kinds:
            return self._by_schema(item)
        if item.key.namespace in self.coming.namespaces:
            return self._bystand_in(item)
        try:
            send(self.target.deployer, item, set_id=self.plan.set_id, dry_run=True)
        except Immutable as error:
            return self._recreation(item, error)
        except ClusterError as error:
            if kind_of(item.object) in self.coming.changed_kinds:
                return self._by_schema(item)
            return self._refused(item, error)
        return Checked(key=item.key)

    def _by_schema(self, item: Placed) -> Checked:
        schema = schema_of(item.object, self.coming.crds)
        problems = () if schema is None else schema_problems(item.object, schema)
        return Checked(
            key=item.key,
            is_deferred=True,
            problems=tuple(item.problem(one.message, path=one.path) for one in problems),
        )

    def _bystand_in(self, item: Placed) -> Checked:
        """In the release's own namespace under another name: only what is wrong with the object itself counts."""
        error = self._stand_in_error(item, namespace=self.target.namespace)
        problems = problems_of(item, error) if error is not None and _is_about_content(error) else ()
        return Checked(key=item.key, is_deferred=True, problems=tuple(problems))

    def _stand_in_error(self, item: Placed, *, namespace: str) -> ClusterError | None:
        try:
            self.target.deployer.apply(
                as_member(stand_in(item.object, namespace), self.plan.set_id), dry_run=True, force=True
            )
        except ClusterError as error:
            return error
        return None

    def _recreation(self, item: Placed, error: Immutable) -> Checked:
        if not recreate_allowed(item.object):
            return Checked(key=item.key, problems=tuple(problems_of(item, error)))
        if group_kind(item.key) in PROTECTED_KINDS:
            message = f"cannot be changed, and a {item.key.kind} is never deleted to be made anew"
            return Checked(key=item.key, problems=(item.problem(f"{message}: {_short(error.message)}"),))
        live = read_metadata(self.target.deployer, item.key)
        if live is not None and not is_ours(live, self.plan.set_id):
            message = "cannot be changed, and is not deleted to be made anew, since this release does not own it yet"
            return Checked(key=item.key, problems=(item.problem(message),))
        # The replacement is judged before the object that runs is deleted.
        refusal = self._stand_in_error(item, namespace=item.key.namespace)
        problems = () if refusal is None else problems_of(item, refusal)
        return Checked(key=item.key, is_recreated=True, problems=tuple(problems))

    def _refused(self, item: Placed, error: ClusterError) -> Checked:
        webhook = NO_DRY_RUN.search(error.message)
        if webhook is None:
            return Checked(key=item.key, problems=tuple(problems_of(item, error)))
        if self.target.environment.unverified:
            return Checked(key=item.key, is_unverified=True)
        message = (
            f"cannot be checked before it is written: admission webhook {webhook[1]} does not support dry run; "
            "correct its sideEffects, or allow it with `unverified: true` in the environment"
        )
        return Checked(key=item.key, problems=(item.problem(message),))


def dry_run(target: Target, plan: Plan, *, before_hooks: bool = False, is_for_show: bool = False) -> Plan:
    """The plan, checked. Raises PlanRefused with all problems, ClusterDown. What hooks do cannot be taken back.

    `is_for_show`: nobody is going to apply it, so no apply will be the check.
    """
    can_be_taken_back = plan.can_be_taken_back and not before_hooks and len(plan.waves()) <= 1
    is_atomic = not before_hooks and not is_for_show and _is_its_own_check(plan)
    if is_atomic or (plan.is_install and can_be_taken_back):
        results: Sequence[Checked] = ()
    else:
        results = in_parallel(Check(target, plan).one, plan.writes)
    refuse([*plan.problems, *(problem for one in results for problem in one.problems)])
    return replace(_checked(plan, results), is_atomic=is_atomic)


def _is_its_own_check(plan: Plan) -> bool:
    """Whether all that is written is one apply of an object that we have applied before: it happens whole, or not at all."""
    if plan.create or len(plan.change) != 1:
        return False
    (item,) = plan.change
    needs_more = recreate_allowed(item.object) or strategy_patch(item.object) is not None
    return plan.live.get(item.key) is None and not needs_more


def tried(target: Target, plan: Plan) -> tuple[Plan, tuple[Problem, ...]]:
    """The plan without the objects that cannot be applied, and why they cannot: for a rollback, which does what it can.

    Raises ClusterDown.
    """
    results = in_parallel(Check(target, plan).one, plan.writes)
    problems = (*plan.problems, *(problem for one in results for problem in one.problems))
    named = {problem.object for problem in problems}
    refused = [item.key for item in plan.writes if str(item.key) in named]
    return _checked(without(plan, refused), [one for one in results if one.key not in refused]), problems


def _checked(plan: Plan, results: Sequence[Checked]) -> Plan:
    return replace(
        plan,
        is_checked=True,
        recreate=frozenset(one.key for one in results if one.is_recreated),
        deferred=frozenset(one.key for one in results if one.is_deferred),
        unverified=frozenset(one.key for one in results if one.is_unverified),
    )


def refuse(
    problems: Sequence[Problem], *, hint: str = "nothing was written; correct the files and push again"
) -> None:
    """Raise PlanRefused where there are problems."""
    if problems:
        objects = len({problem.object for problem in problems})
        count = "one object" if objects == 1 else f"{objects} objects"
        raise PlanRefused(f"{count} cannot be applied", problems=problems, hint=hint)


def problems_of(item: Placed, error: ClusterError) -> Sequence[Problem]:
    """An API server's refusal as problems with the place in the repository."""
    if error.problems and error.code == 422:
        advice = f"; {error.hint}" if isinstance(error, Immutable) and error.hint else ""
        return [item.problem(_short(one.message) + advice, path=one.path) for one in error.problems]
    text = _short(error.message)
    return [item.problem(f"{text}; {error.hint}" if error.hint else text)]


def _short(message: str) -> str:
    return VALUE_IN_MESSAGE.sub("", DOING.sub("", message))


def _is_about_content(error: ClusterError) -> bool:
    return error.code in (400, 422, 500)


def _coming(plan: Plan) -> Coming:
    crds = [item for item in plan.writes if is_crd(item.object)]
    new = {item.key for item in plan.create}
    return Coming(
        crds=tuple(item.object for item in crds),
        new_kinds=frozenset(defined_kind(item.object) for item in crds if item.key in new),
        changed_kinds=frozenset(defined_kind(item.object) for item in crds if item.key not in new),
        namespaces=frozenset(
            item.key.name for item in plan.create if (item.key.group, item.key.kind) == ("", "Namespace")
        ),
    )


def stand_in(object: Object, namespace: str) -> Object:
    """The object under another name, to be judged beside the one that is there."""
    metadata = {**metadata_of(object), "name": STAND_IN}
    if "namespace" in metadata:
        metadata["namespace"] = namespace
    result = {**object, "metadata": metadata}
    spec = object.get("spec")
    if object.get("kind") == "Service" and object.get("apiVersion") == "v1" and isinstance(spec, dict):
        result["spec"] = _unallocated(spec)
    return result


def _unallocated(spec: dict[str, Any]) -> dict[str, Any]:
    # `None` asks for no address, which is a kind of Service and not an address.
    kept = {
        name: value for name, value in spec.items() if name not in ALLOCATED or value in ("None", ["None"])
    }
    ports = spec.get("ports")
    if isinstance(ports, list):
        kept["ports"] = [
            {name: value for name, value in port.items() if name != "nodePort"}
            if isinstance(port, dict)
            else port
            for port in ports
        ]
    return kept
