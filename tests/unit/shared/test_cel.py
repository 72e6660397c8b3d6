"""Users' health rules in CEL, and strangers' expressions that would take everything."""

from __future__ import annotations

from typing import Any

import pytest

from towline.shared import cel
from towline.shared.model import Health

DATABASE: dict[str, Any] = {
    "kind": "Database",
    "metadata": {"name": "orders", "managedFields": [{"manager": "x"}]},
    "status": {
        "phase": "Ready",
        "list": list(range(200)),
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


@pytest.mark.parametrize(
    ("expression", "health", "reason"),
    [
        ("self.status.phase == 'Ready'", Health.HEALTHY, "its expression holds"),
        ("self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'False')", Health.PROGRESSING, "its expression does not hold"),
        ("'failed: ' + self.status.phase", Health.FAILED, "Ready"),
        ("{'health': 'suspended', 'reason': 'for the night'}", Health.SUSPENDED, "for the night"),
        ("has(self.status.gone) ? 'failed' : 'healthy'", Health.HEALTHY, "as its expression says"),
        ("has(self.metadata.managedFields)", Health.PROGRESSING, "its expression does not hold"),
    ],
)  # fmt: skip
def test_an_expression_gives_a_health(expression: str, health: Health, reason: str) -> None:
    assert cel.judgement(expression, DATABASE) == (health, reason)


@pytest.mark.parametrize(
    "expression", ["self.status.gone == 1", "1 / 0 == 1", "'splendid'", "self.status.list"]
)
def test_an_expression_without_an_answer_is_progressing_with_the_reason(expression: str) -> None:
    health, reason = cel.judgement(expression, DATABASE)

    assert health is Health.PROGRESSING
    assert reason.startswith("its expression ")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("self.status.phase ==", "column 21: Syntax error"),
        ("phase == 'Ready'", "undeclared reference to 'phase'"),
        ("size(self.status.list)", "gives INT"),
        ("(" * 100 + "true" + ")" * 100, "recursion"),
    ],
)
def test_a_bad_expression_is_explained(expression: str, words: str) -> None:
    assert words in (cel.problem_of(expression) or "")


def test_a_good_expression_has_no_problem() -> None:
    assert cel.problem_of("self.status.phase == 'Ready'") is None


def test_an_expression_that_takes_too_long_is_stopped_and_the_next_one_is_answered() -> None:
    wide = {"status": {"list": list(range(9000))}}
    greedy = "self.status.list.all(each, self.status.list == self.status.list)"

    first, second = cel.judgement(greedy, wide), cel.judgement(greedy, wide)

    assert first[0] is second[0] is Health.PROGRESSING
    assert "takes longer than 0.5 s" in first[1]
    assert cel.judgement("self.status.list.size() == 9000", wide)[0] is Health.HEALTHY


def test_nested_loops_run_out_of_their_budget() -> None:
    _, reason = cel.judgement("self.status.list.all(a, self.status.list.all(b, a == a))", DATABASE)

    assert "Iteration budget exceeded" in reason


def test_an_object_that_is_too_large_or_no_json_is_not_evaluated() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}

    for object in ({"a": "b" * cel.OBJECT_BYTES}, {"a": {1, 2}}, deep):
        assert cel.judgement("true", object)[1].startswith("is too large for its expression")
