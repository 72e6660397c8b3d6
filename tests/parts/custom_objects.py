"""Objects of custom kinds in few words, for the tests of health."""

from __future__ import annotations

import re
from typing import Any

CONDITION = re.compile(r"([^=\s]+)=(\w+)(?: (\w+))?(?:: (.*))?")


def condition(line: str, **more: Any) -> dict[str, Any]:
    """`Type=Status Reason: message`."""
    match = CONDITION.fullmatch(line)
    assert match is not None, line
    kind, status, reason, message = match.groups()
    return {"type": kind, "status": status, "reason": reason or "", "message": message or "", **more}


def custom(kind: str, state: dict[str, Any]) -> dict[str, Any]:
    """The object of a `Kind.group` whose state is written as in data/health_states.yaml."""
    name, _, group = kind.partition(".")
    status = dict(_expanded(state.get("status", {})))
    if lines := state.get("conditions"):
        status["conditions"] = [condition(line) for line in lines]
    found = {
        "apiVersion": f"{group}/v1" if group else "v1",
        "kind": name,
        "metadata": {"name": "it", "generation": 1, **state.get("metadata", {})},
        "spec": state.get("spec", {}),
    }
    return {**found, "status": status} if status else found


def _expanded(value: Any) -> Any:
    """Conditions inside of lists, written as lines."""
    if isinstance(value, dict):
        return {name: _expanded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [
            condition(each) if isinstance(each, str) and "=" in each else _expanded(each) for each in value
        ]
    return value
