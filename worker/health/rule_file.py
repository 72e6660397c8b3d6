"""One file of rules (rules/*.yaml): the form it must have, and what it becomes.

In: a parsed YAML document of the package itself. Out: compiled rules; ValueError (pydantic's) when the file is not of
this form, which a test sees, not a user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from towline.shared.model import Health, Object
from towline.worker.health.rule_tests import Get, Holds, Subject, compiled, path
from towline.worker.health.status import Judgement, scalar

WAITING = "its controller has not said how it is"
PLACEHOLDER = re.compile(r"\{([^}]+)\}")
NAMED = re.compile(r"(?:^|[ |])(~?[.\[][^\s)]+|[A-Z][\w./-]*)(?=\s*!?=)")

Reason = Callable[[Subject], str]


class Case(BaseModel):
    """When the tests hold, the object has this health; `because` says why, with `{.a.path}` filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    healthy: Any = None
    progressing: Any = None
    failed: Any = None
    suspended: Any = None
    unknown: Any = None
    because: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Case:
        if len(self.model_fields_set - {"because"}) != 1:
            raise ValueError("a case names one health")
        return self

    @property
    def health(self) -> Health:
        """The health that it names."""
        return Health(next(iter(self.model_fields_set - {"because"})))

    @property
    def tests(self) -> Any:  # noqa: ANN401
        """A test, or a list of tests that must all hold."""
        return getattr(self, self.health.value)


class RuleForm(BaseModel):
    """The rule of some kinds: the first case that holds decides; `condition` is short for three more cases."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...] = Field(min_length=1)
    cases: tuple[Case, ...] = ()
    condition: str | None = None
    otherwise: str = "progressing"
    because: str = WAITING

    @field_validator("otherwise")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return value if value == "general" else Health(value).value

    def all_cases(self) -> tuple[Case, ...]:
        """The cases, those of `condition` behind the others."""
        if self.condition is None:
            return self.cases
        return (
            *self.cases,
            Case(healthy=f"{self.condition} = True"),
            Case(failed=f"{self.condition} = False"),
            Case(progressing=self.condition),
        )


FORMS = TypeAdapter(list[RuleForm])


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule; None as its judgement leaves the object to the general rule."""

    cases: tuple[tuple[Holds, Health, Reason], ...]
    otherwise: Judgement | None

    def __call__(self, object: Object) -> Judgement | None:
        """The judgement of the first case that holds."""
        subject = Subject.of(object)
        for holds, health, reason in self.cases:
            if holds(subject):
                return health, reason(subject)
        return self.otherwise


def rules_of(document: object) -> Mapping[str, Rule]:
    """Each rule of a file under each of its kinds (`Kind.group`; `*` for any kind, or for labels of a group)."""
    found: dict[str, Rule] = {}
    for form in FORMS.validate_python(document):
        rule = _rule(form)
        for kind in form.kinds:
            if kind in found:
                raise ValueError(f"{kind} has two rules")
            found[kind] = rule
    return found


def _rule(form: RuleForm) -> Rule:
    cases = tuple(
        (compiled(case.tests), case.health, _reason(case.because, case.tests)) for case in form.all_cases()
    )
    otherwise = None if form.otherwise == "general" else (Health(form.otherwise), form.because)
    return Rule(cases, otherwise)


def _reason(template: str | None, tests: Any) -> Reason:  # noqa: ANN401
    if template is None:
        return _of_tests(tests)
    gets = {name: path(name) for name in PLACEHOLDER.findall(template)}

    def reason(subject: Subject) -> str:
        shown = {name: scalar(get(subject)) for name, get in gets.items()}
        return PLACEHOLDER.sub(lambda match: shown[match[1]] or "", template).strip(" :")

    return reason if gets else lambda _: template


def _of_tests(tests: Any) -> Reason:  # noqa: ANN401
    """What the object itself says where the first line of the tests looks: a condition's words, or a field's value."""
    line = _first_line(tests)
    named = NAMED.search(line) or re.match(r"!?\s*(\S+)", line)
    name = named[1] if named else ""
    if name.startswith((".", "~", "[")):
        return _of_field(name, path(name))
    return lambda subject: _of_condition(name, subject)


def _first_line(tests: Any) -> str:  # noqa: ANN401
    while isinstance(tests, Sequence) and not isinstance(tests, str):
        tests = tests[0]
    if isinstance(tests, Mapping):
        return _first_line(tests.get("either", ""))
    return str(tests)


def _of_field(name: str, get: Get) -> Reason:
    label = name.lstrip("~").removeprefix(".").removeprefix("status.").removeprefix("spec.")
    return lambda subject: f"{label} is {scalar(get(subject)) or 'set'}"


def _of_condition(name: str, subject: Subject) -> str:
    if name == "*":
        bad = [each for each in subject.conditions.values() if each.status != "True"]
        return f"{bad[0].type}: {bad[0].text}" if bad else "all its conditions are True"
    found = subject.conditions.get(name)
    return (found.text or f"{name} is {found.status}") if found else f"says nothing about {name}"
