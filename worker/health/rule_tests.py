"""The tests that rules (rules/*.yaml) are made of, compiled to functions when the rules are loaded.

A test is a line of text about one subject, which is the object, or an entry of a list in it:

    Ready                       it has a condition of this type                 ! Ready     it has none
    Ready = True                whose status is one of these (`|` between them)
    Ready = False (Creating)    and whose reason is one of these                ( ! Creating) and is none of these
    Ready != True               it has the condition, with another status
    * = False                   any condition
    .status.phase               the value is there and not empty                ! .status.phase
    .status.phase = Running     the value is one of these                       .status.phase != Running    is there, is none
    .status.phase ^= Wait       it begins with one of these
    .status.ready < .spec.replicas ?? 1     numbers; one that is missing is 0, or what stands behind `??`
    .status.a is .status.b      two values are the same (`is not`: are not)     .a before .b    the text of one sorts first

or a mapping: `any`, `every` or `none` names a list (or the values of a mapping), `where` the tests that its entries
are put to; `either` holds tests of which one must hold. A path is relative to its subject, `~` in front makes it the
object's own; `[key]` is a key with dots in it, `[-1]` the last entry of a list, `[#]` its length.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from towline.shared.model import Object
from towline.worker.health.status import Condition, entries, generation_of, mapping, scalar

Get = Callable[["Subject"], Any]
Holds = Callable[["Subject"], bool]
# A line of text, or a mapping of one of the forms above.
Test = str | Mapping[str, Any]

CONDITION = re.compile(
    r"(?P<type>\*|[A-Za-z][\w./-]*)(?:\s*(?P<op>!?=)\s*(?P<values>[\w |]+?))?(?:\s*\((?P<reasons>[^)]*)\))?"
)
PATH = re.compile(r"~?(\.[\w-]+|\[[^\]]+\])+")
PAIR = re.compile(r"(?P<first>~?[.\[]\S+) (?P<op>is not|is|before) (?P<second>~?[.\[]\S+)")
VALUE = re.compile(r"(?P<path>~?[.\[]\S+?)\s*(?P<op>!=|\^=|<=|>=|=|<|>)\s*(?P<values>.+)")
NUMBER = re.compile(r"(?P<path>~?[.\[]\S+?)(?:\s*\?\?\s*(?P<missing>-?\d+))?|(?P<number>-?\d+)")
STEP = re.compile(r"\.([\w-]+)|\[([^\]]+)\]")
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class Subject:
    """What the tests of one rule look at; its conditions are read once."""

    __slots__ = ("_conditions", "generation", "root", "value")

    def __init__(self, value: Any, root: Object, generation: int | None) -> None:  # noqa: ANN401
        self.value = value
        self.root = root
        self.generation = generation
        self._conditions: Mapping[str, Condition] | None = None

    @classmethod
    def of(cls, object: Object) -> Subject:
        """The object itself."""
        return cls(object, object, generation_of(object))

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """By type: of `.status.conditions` of the object, of `.conditions` of an entry."""
        if self._conditions is None:
            holder = mapping(self.value)
            found = mapping(holder.get("status")).get("conditions") if holder is self.root else None
            listed = found if holder is self.root else holder.get("conditions")
            self._conditions = {each.type: each for each in entries(listed, self.generation)}
        return self._conditions

    def within(self, value: Any) -> Subject:  # noqa: ANN401
        """An entry of a list of this subject."""
        return Subject(value, self.root, self.generation)


def compiled(tests: Test | Sequence[Test]) -> Holds:
    """All of these tests in one function; raises ValueError for one that is not of a form above."""
    if isinstance(tests, str | Mapping):
        return _test(tests)
    all_of = tuple(_test(each) for each in tests)
    return lambda subject: all(holds(subject) for holds in all_of)


def _test(test: Test) -> Holds:
    if isinstance(test, str):
        return _line(test)
    if set(test) == {"either"}:
        one_of = tuple(compiled(each) for each in test["either"])
        return lambda subject: any(holds(subject) for holds in one_of)
    quantifier = next(iter(test))
    if set(test) != {quantifier, "where"} or quantifier not in ("any", "every", "none"):
        raise ValueError(f"{dict(test)} is no test")
    return _over(quantifier, path(test[quantifier]), compiled(test["where"]))


def _over(quantifier: str, get: Get, holds: Holds) -> Holds:
    if quantifier == "every":
        return lambda subject: all(holds(each) for each in _entries(get, subject))
    if quantifier == "any":
        return lambda subject: any(holds(each) for each in _entries(get, subject))
    return lambda subject: not any(holds(each) for each in _entries(get, subject))


def _entries(get: Get, subject: Subject) -> Iterator[Subject]:
    found = get(subject)
    if isinstance(found, dict):
        found = list(found.values())
    return (subject.within(each) for each in found) if isinstance(found, list) else iter(())


def _line(line: str) -> Holds:
    if line.startswith("!"):
        holds = _line(line[1:].strip())
        return lambda subject: not holds(subject)
    if PATH.fullmatch(line):
        get = path(line)
        return lambda subject: get(subject) not in (None, "", {}, [])
    if match := PAIR.fullmatch(line):
        return _pair(path(match["first"]), match["op"], path(match["second"]))
    if match := VALUE.fullmatch(line):
        return _value(match)
    if match := CONDITION.fullmatch(line):
        return _condition(match)
    raise ValueError(f"{line!r} is no test")


def _words(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split("|"))


def _condition(match: re.Match[str]) -> Holds:
    kind, op = match["type"], match["op"]
    fits = _fits(op, _words(match["values"] or ""), match["reasons"])
    if kind == "*":
        return lambda subject: any(fits(each) for each in subject.conditions.values())

    def holds(subject: Subject) -> bool:
        found = subject.conditions.get(kind)
        return found is not None and fits(found)

    return holds


def _fits(op: str | None, statuses: frozenset[str], reasons: str | None) -> Callable[[Condition], bool]:
    excluded = reasons is not None and reasons.strip().startswith("!")
    words = _words(reasons.strip().lstrip("!")) if reasons is not None else None

    def fits(condition: Condition) -> bool:
        if op is not None and (condition.status in statuses) is (op == "!="):
            return False
        return words is None or (condition.reason in words) is not excluded

    return fits


def _value(match: re.Match[str]) -> Holds:
    get, op = path(match["path"]), match["op"]
    if op in ORDERS:
        return _ordered(ORDERS[op], match["path"], match["values"])
    words = _words(match["values"])
    if op == "^=":
        starts = tuple(words)
        return lambda subject: (scalar(get(subject)) or "").startswith(starts)
    if op == "=":
        return lambda subject: scalar(get(subject)) in words

    def differs(subject: Subject) -> bool:
        found = scalar(get(subject))
        return found is not None and found not in words

    return differs


def _pair(first: Get, op: str, second: Get) -> Holds:
    if op == "before":
        return lambda subject: (scalar(first(subject)) or "") < (scalar(second(subject)) or "")
    return lambda subject: (scalar(first(subject)) == scalar(second(subject))) is (op == "is")


def _ordered(order: Callable[[Any, Any], bool], left: str, right: str) -> Holds:
    first, second = _number(left), _number(right)
    return lambda subject: order(first(subject), second(subject))


def _number(text: str) -> Get:
    match = NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no number and no path")
    if match["number"]:
        fixed = int(match["number"])
        return lambda subject: fixed
    get, missing = path(match["path"]), int(match["missing"] or 0)

    def number(subject: Subject) -> float:
        found = get(subject)
        return found if isinstance(found, int | float) and not isinstance(found, bool) else missing

    return number


def path(text: str) -> Get:
    """A function that finds what stands at a path, None where nothing does."""
    if not PATH.fullmatch(text):
        raise ValueError(f"{text!r} is no path")
    own = text.startswith("~")
    steps = tuple(name or _key(key) for name, key in STEP.findall(text))

    def get(subject: Subject) -> Any:  # noqa: ANN401
        found: Any = subject.root if own else subject.value
        for step in steps:
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and step == "#":
                found = len(found)
            elif isinstance(found, list) and isinstance(step, int) and -len(found) <= step < len(found):
                found = found[step]
            else:
                return None
        return found

    return get


def _key(key: str) -> str | int:
    return int(key) if re.fullmatch(r"-?\d+", key) else key
