"""Reading what an object says about itself, whatever it really holds.

Objects come from a cluster, and anybody who may write a status can put anything there: nothing here raises on a value
of another type, and texts are cut before they reach a record, a log or a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towline.shared.model import Health, Object
from towline.shared.release import cut

Judgement = tuple[Health, str]

REASON_CHARACTERS = 500  # longer ones are cut: a reason is read by people, in a terminal and in an Event
LARGEST = 2**63  # what an API server holds; Python refuses to print much larger ones
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of a list of conditions."""

    type: str
    status: str
    reason: str
    message: str
    updated: str = ""  # as the object has it: RFC 3339, seconds, UTC; few kinds say it

    @property
    def text(self) -> str:
        """Its reason and its message, or whichever of them is there."""
        return ": ".join(part for part in (self.reason, self.message) if part)


def mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever an object holds
    """The value when it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def part(object: Object, name: str) -> Mapping[str, Any]:
    """`metadata`, `spec` or `status`; empty when it is missing or of another type."""
    return mapping(object.get(name))


def integer(value: Any, default: int = 0) -> int:  # noqa: ANN401
    """A count, which is left out of a status when it is 0."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= LARGEST:
        return default
    return value


def scalar(value: Any) -> str | None:  # noqa: ANN401
    """A string, number or boolean as YAML writes it; None for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) and abs(value) < LARGEST else None


def text(value: Any) -> str:  # noqa: ANN401
    """What an object says in words; empty for anything that is no text."""
    return value if isinstance(value, str) else ""


def brief(words: str) -> str:
    """One printable line of at most REASON_CHARACTERS."""
    if len(words) <= REASON_CHARACTERS and words.isprintable():
        return words
    return " ".join(cut(words, REASON_CHARACTERS).split())


def entries(conditions: Any, generation: int | None) -> Iterator[Condition]:  # noqa: ANN401
    """The conditions of a list, in order, without those that speak of an older generation of the object."""
    for item in conditions if isinstance(conditions, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            continue
        observed = item.get("observedGeneration")
        if generation is not None and isinstance(observed, int) and observed < generation:
            continue
        yield Condition(
            item["type"],
            text(item.get("status")),
            text(item.get("reason")),
            text(item.get("message")),
            text(item.get("lastUpdateTime")),
        )


def generation_of(object: Object) -> int | None:
    """`metadata.generation`, which grows with every change of the spec."""
    value = part(object, "metadata").get("generation")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def conditions_of(object: Object) -> Mapping[str, Condition]:
    """The conditions of its status by type; of two of one type the later one counts."""
    found = part(object, "status").get("conditions")
    return {each.type: each for each in entries(found, generation_of(object))}


def last_change(object: Object) -> datetime | None:
    """When somebody last changed a field of it, its status included: whole seconds, by the API server's clock.

    Every writer has an entry in `metadata.managedFields`, whose time is that of its last change; see
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    entries = part(object, "metadata").get("managedFields")
    times = [_time(mapping(each).get("time")) for each in entries] if isinstance(entries, list) else []
    return max((one for one in times if one is not None), default=None)


def _time(value: object) -> datetime | None:
    """A time as an API server writes it, None for anything else."""
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def is_true(conditions: Mapping[str, Condition], name: str) -> Condition | None:
    """The condition of this type when its status is True."""
    found = conditions.get(name)
    return found if found is not None and found.status == "True" else None
