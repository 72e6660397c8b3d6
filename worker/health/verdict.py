"""Judges one object, and a whole release: the first rule that fits decides.

Order: being deleted, generation not observed yet, the user's expression for the kind, the rule of the kind (kinds.py
for Kubernetes' own, special.py and rules/*.yaml for others), and for kinds that nobody knows the general rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from towline.shared import cel
from towline.shared.model import Health, Object
from towline.worker.health.apps import last_run
from towline.worker.health.general import general
from towline.worker.health.kinds import RULES
from towline.worker.health.rule_table import rule_for
from towline.worker.health.special import RULES as SPECIAL
from towline.worker.health.status import Judgement, brief, generation_of, last_change, part, text
from towline.worker.health.surroundings import Gives, nobody_gives

# Worst first: a release is what its worst object is.
ORDER = (Health.FAILED, Health.UNKNOWN, Health.PROGRESSING, Health.SUSPENDED, Health.HEALTHY)

UNSETTLED = (Health.FAILED, Health.PROGRESSING)

NO_RULES: Mapping[str, str] = {}

# The groups of Kubernetes itself: of their kinds, those without a rule only exist. All other kinds may say how they are.
OWN_GROUPS = frozenset(
    [
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "extensions",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    ]
) | {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The health of an object or a release, and why, in words that an operator understands.

    `run_of`: when the run was due that a CronJob is judged by, RFC 3339 in UTC; "" for all else. `unchanged_since`: when
    anybody changed an unsettled object last, its status included; None for others, and where it is not told.
    """

    health: Health
    reason: str
    run_of: str = ""
    unchanged_since: datetime | None = None


def judge(object: Object, *, rules: Mapping[str, str] = NO_RULES, gives: Gives = nobody_gives) -> Verdict:
    """The health of one object as an API server shows it; never raises, whatever the object holds.

    `rules`: CEL expressions by `group/Kind` (`Kind` in the core group), which go before what is built in. `gives` is
    asked only about an object that has no address.
    """
    health, reason = _deleted(object) or _unseen(object) or _by_kind(object, rules, gives)
    told = brief(reason) or f"says that it is {health}"
    since = last_change(object) if health in UNSETTLED else None
    return Verdict(health=health, reason=told, run_of=last_run(object), unchanged_since=since)


def has_health(group: str, kind: str, *, rules: Mapping[str, str] = NO_RULES) -> bool:
    """Whether an object of this kind can be anything but there, so that it is worth being read for its health."""
    if _key(group, kind) in rules or (group, kind) in RULES or group not in OWN_GROUPS:
        return True
    return rule_for(group, kind) is not None


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
    metadata = part(object, "metadata")
    if not metadata.get("deletionTimestamp"):
        return None
    finalizers = metadata.get("finalizers")
    names = ", ".join(text(each) for each in finalizers) if isinstance(finalizers, list) else ""
    return Health.PROGRESSING, f"is being deleted; waits for {names}" if names else "is being deleted"


def _unseen(object: Object) -> Judgement | None:
    generation, observed = generation_of(object), part(object, "status").get("observedGeneration")
    if generation is None or isinstance(observed, bool) or not isinstance(observed, int):
        return None
    if observed >= generation:  # a larger one came with a copy of the object: no server makes it
        return None
    return Health.PROGRESSING, "its controller has not seen the newest change yet"


def _by_kind(object: Object, rules: Mapping[str, str], gives: Gives) -> Judgement:
    group, kind = text(object.get("apiVersion")).rpartition("/")[0], text(object.get("kind"))
    if rules and (expression := rules.get(_key(group, kind))):
        return cel.judgement(expression, object)
    if own := RULES.get((group, kind)):
        return own(object, gives)
    if special := SPECIAL.get((group, kind)):
        return special(object)
    rule = rule_for(group, kind)
    return (rule(object) if rule is not None else None) or general(object)


def _key(group: str, kind: str) -> str:
    """How a user's rule names a kind."""
    return f"{group}/{kind}" if group else kind
