"""What a request to the demo's API is about, who sends it, and the answer that refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from towline.demo.kinds import Kind

Object = dict[str, Any]
Place = tuple[str, str, str, str]  # group, plural, namespace, name


class Refusal(Exception):
    """An answer that is an error, as a `Status`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        problems: list[tuple[str, str]] | None = None,
        *,
        cause: str = "",
    ) -> None:
        super().__init__(message)
        causes = [{"reason": cause, "field": where, "message": what} for where, what in problems or []]
        details = {"causes": causes}
        self.code = code
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about."""

    kind: Kind
    namespace: str
    name: str
    subresource: str = ""

    @property
    def place(self) -> Place:
        """Where the object is kept: versions of one kind share it."""
        return (self.kind.group, self.kind.plural, self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and how."""

    manager: str
    operation: str  # Apply or Update
    dry_run: bool = False
    force: bool = False


def not_found(target: Target) -> Refusal:
    """There is no such object."""
    group = f".{target.kind.group}" if target.kind.group else ""
    return Refusal(404, "NotFound", f'{target.kind.plural}{group} "{target.name}" not found')
