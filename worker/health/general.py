"""How an object of a kind that nobody wrote a rule for says that it is healthy.

Conditions first, after kstatus (cli-utils, pkg/kstatus/status, "generic"), widened by the types that operators really
use; then a word in `phase`, `state` or the like; then replicas. What says nothing is healthy: it exists, and waiting
for a word that never comes would undo a good revision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from towline.shared.model import Health, Object
from towline.worker.health.status import Condition, Judgement, conditions_of, integer, part, scalar, text

UNDER_WAY = re.compile(
    r"progress|creating|pending|waiting|reconciling|initiali[sz]ing|provisioning|updating|upgrading|deploying|starting"
    r"|scaling|installing|scheduling|unknown|notready|minimumreplicas|inprogress|running|requeue|retry",
    re.IGNORECASE,
)
BROKEN = re.compile(
    r"fail|error|invalid|denied|forbidden|refused|unauthorized|unhealthy|degraded|exceeded|rejected|stalled|crash"
    r"|misconfigured|unsupported|conflict",
    re.IGNORECASE,
)

PLACES = (
    "phase",
    "state",
    "status",
    "health",
    "healthStatus",
    "currentState",
    "currentStatus",
    "deploymentStatus",
)


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary of words.yaml: types of conditions by what True means, and values by the health they mean."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    moving: tuple[str, ...]
    asleep: tuple[str, ...]
    values: Mapping[str, Health]


@cache
def words() -> Words:
    """Read once."""
    file = files("towline.worker.health").joinpath("words.yaml")
    found = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
    values = {word: Health(health) for health, listed in found["values"].items() for word in listed}
    kinds = {meaning: tuple(types) for meaning, types in found["conditions"].items()}
    return Words(kinds["good"], kinds["bad"], kinds["moving"], kinds["asleep"], values)


def general(object: Object) -> Judgement:
    """The health of an object by what most operators write."""
    conditions = conditions_of(object)
    return (
        _by_conditions(conditions) or _by_word(object) or _by_replicas(object) or (Health.HEALTHY, "exists")
    )


def _by_conditions(conditions: Mapping[str, Condition]) -> Judgement | None:
    if stalled := _first(conditions, ("Stalled",)):
        return Health.FAILED, _words(stalled)
    if asleep := _first(conditions, words().asleep):
        return Health.SUSPENDED, _words(asleep)
    if reconciling := _first(conditions, ("Reconciling",)):
        return Health.PROGRESSING, _words(reconciling)
    if bad := _first(conditions, words().bad):
        return Health.FAILED, _words(bad)
    ready = conditions.get("Ready")
    if ready is None and (moving := _first(conditions, words().moving)):
        return Health.PROGRESSING, _words(moving)
    for name in words().good:
        if found := conditions.get(name):
            return _good(found)
    return _by_suffix(conditions)


def _first(conditions: Mapping[str, Condition], names: tuple[str, ...]) -> Condition | None:
    for name in names:
        found = conditions.get(name)
        if found is not None and found.status == "True":
            return found
    return None


def _good(condition: Condition) -> Judgement:
    if condition.status == "True":
        return Health.HEALTHY, _words(condition)
    if condition.status == "False" and _is_broken(condition):
        return Health.FAILED, _words(condition)
    return Health.PROGRESSING, _words(condition)


def _is_broken(condition: Condition) -> bool:
    """Whether it says that something went wrong; else it is still being made."""
    if BROKEN.search(condition.reason[:100]):
        return True
    if UNDER_WAY.search(condition.reason[:100]):
        return False
    return BROKEN.search(condition.message[:1000]) is not None


def _by_suffix(conditions: Mapping[str, Condition]) -> Judgement | None:
    """Conditions of types nobody knows: `BrokerReady`, `ConfigSynced`, `UpgradeFailed`."""
    for condition in conditions.values():
        if condition.type.endswith(("Failed", "Error", "Failure")) and condition.status == "True":
            return Health.FAILED, _words(condition)
    known = [each for each in conditions.values() if each.type.endswith(words().good)]
    for condition in known:
        if condition.status != "True":
            return _good(condition)
    return (Health.HEALTHY, _words(known[0])) if known else None


def _words(condition: Condition) -> str:
    return condition.text or f"{condition.type} is {condition.status}"


def _by_word(object: Object) -> Judgement | None:
    status = part(object, "status")
    for place in PLACES:
        word = text(status.get(place))
        if health := words().values.get(word.lower().replace(" ", "").replace("-", "")):
            message = text(status.get("message")) or text(status.get("reason"))
            return health, ": ".join(each for each in (f"{place} is {word}", message) if each)
    ready: Any = status.get("ready")
    if isinstance(ready, bool):
        return (Health.HEALTHY if ready else Health.PROGRESSING), f"ready is {scalar(ready)}"
    return None


def _by_replicas(object: Object) -> Judgement | None:
    status = part(object, "status")
    if "readyReplicas" not in status:
        return None
    ready = integer(status.get("readyReplicas"))
    wanted = integer(part(object, "spec").get("replicas"), integer(status.get("replicas")))
    health = Health.HEALTHY if ready >= wanted else Health.PROGRESSING
    return health, f"{ready} of {wanted} replicas are ready"
