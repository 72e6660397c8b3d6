"""docs/health-kinds.md: every rule of rules/*.yaml as it is written there.

`python -m towline.worker.health.reference > docs/health-kinds.md` writes it; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from towline.worker.health.rule_file import FORMS, RuleForm

HEAD = """\
# Kinds with a rule

What each kind is judged by; the first case that holds decides, and the words in it are told in
[health](health.md#rules-as-data). Kinds are matched in every version; `*` stands for any kind, or for parts of a group.

<!-- generated: python -m towline.worker.health.reference > docs/health-kinds.md -->
"""


def markdown() -> str:
    """The whole page."""
    folder = files("towline.worker.health").joinpath("rules")
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".yaml"))
    return HEAD + "".join(_section(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names)


def _section(name: str, source: str) -> str:
    forms = FORMS.validate_python(yaml.load(source, Loader=yaml.CSafeLoader))
    title = name.removesuffix(".yaml").capitalize()
    about = source.splitlines()[0].lstrip("# ")
    rows = "".join(f"| {_kinds(form)} | {_rule(form)} |\n" for form in forms)
    return f"\n## {title}\n\n{about}\n\n| kinds | rule |\n|---|---|\n{rows}"


def _kinds(form: RuleForm) -> str:
    return ", ".join(f"`{kind}`" for kind in form.kinds)


def _rule(form: RuleForm) -> str:
    cases = [f"{case.health}: {' and '.join(_tests(case.tests))}" for case in form.all_cases()]
    last = "as any other kind" if form.otherwise == "general" else form.otherwise
    return "<br>".join([*cases, f"otherwise {last}"])


def _tests(tests: Any) -> Iterator[str]:  # noqa: ANN401 - a test, or a list of them
    if isinstance(tests, str):
        yield f"`{tests}`".replace("|", "\\|")
    elif isinstance(tests, Mapping) and "either" in tests:
        yield " or ".join(part for each in tests["either"] for part in _tests(each))
    elif isinstance(tests, Mapping):
        quantifier, place = next(iter(tests.items()))
        yield f"{quantifier} of `{place}` has {' and '.join(_tests(tests['where']))}"
    elif isinstance(tests, Sequence):
        for each in tests:
            yield from _tests(each)


if __name__ == "__main__":
    sys.stdout.write(markdown())
