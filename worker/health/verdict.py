"""Judges one object, and a whole release: the first rule that fits decides.

Order, after kstatus (cli-utils, pkg/kstatus/status): being deleted, generation not observed yet, the conditions
`Reconciling` and `Stalled`, the rule of the kind (kinds.py), the condition `Ready`, and otherwise healthy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from towline.shared.model import Health, Object
from towline.worker.health.kinds import RULES, Judgement, conditions_of, integer

# Worst first: a release is what its worst object is.
ORDER = (Health.FAILED, Health.UNKNOWN, Health.PROGRESSING, Health.SUSPENDED, Health.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The health of an object or a release, and why, in words that an operator understands."""

    health: Health
    reason: str


def judge(object: Object) -> Verdict:
    """The health of one object as an API server shows it."""
    for rule in (_deleted, _observed, _reconciling, _by_kind, _ready):
        if judgement := rule(object):
            return Verdict(health=judgement[0], reason=judgement[1])
    return Verdict(health=Health.HEALTHY, reason="exists")


def worst(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """The health of a release out of its objects' (name, verdict); the reason names the first of the worst."""
    found = sorted(verdicts, key=lambda pair: ORDER.index(pair[1].health))
    if not found:
        return Verdict(health=Health.HEALTHY, reason="no object of it has a health of its own")
    name, verdict = found[0]
    if verdict.health is Health.HEALTHY:
        return Verdict(health=Health.HEALTHY, reason="all objects are healthy")
    return Verdict(health=verdict.health, reason=f"{name}: {verdict.reason}")


def _deleted(object: Object) -> Judgement | None:
    if object.get("metadata", {}).get("deletionTimestamp"):
        return Health.PROGRESSING, "is being deleted"
    return None


def _observed(object: Object) -> Judgement | None:
    generation = object.get("metadata", {}).get("generation")
    observed = (object.get("status") or {}).get("observedGeneration")
    if generation is not None and observed is not None and integer(generation) != integer(observed):
        return Health.PROGRESSING, "its controller has not seen the newest change yet"
    return None


def _reconciling(object: Object) -> Judgement | None:
    conditions = conditions_of(object)
    if (stalled := conditions.get("Stalled")) and stalled.status == "True":
        return Health.FAILED, stalled.text
    if (reconciling := conditions.get("Reconciling")) and reconciling.status == "True":
        return Health.PROGRESSING, reconciling.text
    return None


def _by_kind(object: Object) -> Judgement | None:
    group = str(object.get("apiVersion", "")).rpartition("/")[0]
    rule = RULES.get((group, str(object.get("kind"))))
    return rule(object) if rule else None


def _ready(object: Object) -> Judgement | None:
    ready = conditions_of(object).get("Ready")
    if ready is None:
        return None
    return (Health.HEALTHY, ready.text) if ready.status == "True" else (Health.PROGRESSING, ready.text)
