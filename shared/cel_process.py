"""The process that compiles and evaluates CEL: a program of its own, started by cel.py, ended with it or by it.

In, on standard input: one JSON request a line, `{"expression"}` to check it or `{"expression", "self"}` to evaluate it.
Out: one JSON answer a line, `{"value"}` or `{"error"}`. Expressions and objects come from strangers, so this process
has no environment, little memory, and is killed when an answer takes too long. It imports nothing of Towline.

A library call cannot be stopped from within; the library itself bounds iterations (10,000 an evaluation) and nesting.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

MEMORY_BYTES = 1024 * 1024 * 1024  # of address space; 120 MB of it are the interpreter and the library
COMPILED = 256  # expressions kept
RESULTS = ("BOOL", "STRING", "DYN", "MAP")  # what an expression may give
CODE = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
PLACE = re.compile(r"ERROR: <input>:\d+:(\d+): (.*)")

ENVIRONMENT = cel.NewEnv(variables={"self": cel.Type.DYN})


@lru_cache(maxsize=COMPILED)
def compiled(expression: str) -> Any:  # noqa: ANN401 - the library has no names for its types
    """The expression, checked; raises ValueError in words for a person."""
    try:
        program = ENVIRONMENT.compile(expression)
    except RuntimeError as error:
        found = PLACE.search(str(error))
        raise ValueError(f"column {found[1]}: {found[2]}" if found else _line(str(error))) from error
    kind = program.return_type().name()
    if kind.partition("<")[0] not in RESULTS:
        raise ValueError(f"gives {kind}, not a boolean, a string or a map")
    return program


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the expression gives, or why it gives nothing."""
    try:
        program = compiled(request["expression"])
        if "self" not in request:
            return {"value": None}
        result = program.eval(data={"self": request["self"]})
        if result.type() == cel.Type.ERROR:
            return {"error": _line(str(result.plain_value()))}
        return {"value": _plain(result.plain_value())}
    except (RuntimeError, ValueError, TypeError, RecursionError, MemoryError) as error:
        return {"error": _line(str(error) or type(error).__name__)}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """What JSON can carry of a result that counts: a boolean, a string, or a map of strings."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, dict):
        return {str(name): str(each) for name, each in list(value.items())[:10]}
    return {"type": type(value).__name__}


def _line(message: str) -> str:
    """The library's words without its codes (`NOT_FOUND: ...`, `... [INTERNAL]`)."""
    first = message.strip().splitlines()[0] if message.strip() else "cannot be evaluated"
    return CODE.sub("", first)[:500]


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
