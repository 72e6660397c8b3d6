"""How Kubernetes reads one YAML scalar: the rules of goyaml.v2, as sigs.k8s.io/yaml uses them; pure.

They are YAML 1.1's without its sexagesimal numbers and dates (`12:30` and `2026-11-24` stay strings), with Go's integer
prefixes (`0x1F`, `0o17`, `0b1`, and `017` as octal). What is resolved is then seen through JSON, as the API server
gets it: a whole float is an integer there, and infinity does not exist.

Source: resolve.go and decode.go of go.yaml.in/yaml/v2, convertToJSONableObject of sigs.k8s.io/yaml. The table in
tests/data/scalars.json was written by the real thing.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from decimal import Decimal
from typing import Any

Scalar = str | int | float | bool | None

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT64_MAX = 2**64 - 1

WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
# A plain scalar that starts otherwise is a string, whatever follows: nearly all are settled by this one look.
IN_A_WORD = frozenset("yYnNtTfFoO~")
NUMERIC = frozenset("+-.0123456789")
OTHER_THAN_TEXT = IN_A_WORD | NUMERIC

DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,19})")
PREFIXED = re.compile(
    r"([-+]?)(?:0[bB](?P<b>[01]+)|0[xX](?P<x>[0-9a-fA-F]+)|0[oO](?P<o>[0-7]+)|0(?P<z>[0-7]+))"
)
# A leftover of goyaml's own binary numbers: the sign may also stand behind the prefix.
BINARY_SIGNED_INSIDE = re.compile(r"0b([-+][01]+)")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
FRACTION = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")

TAG_PREFIX = "tag:yaml.org,2002:"
MERGE_TAG = TAG_PREFIX + "merge"
STR_TAG = TAG_PREFIX + "str"


class Unreadable(ValueError):
    """A scalar that Kubernetes refuses; the text says why."""


def resolve(text: str) -> Scalar:
    """The value of a plain, untagged scalar. Integers go up to 2**64 - 1; larger ones are floats."""
    if text and text[0] not in OTHER_THAN_TEXT:
        return text
    if text in WORDS:
        return WORDS[text]
    return text if text[0] in IN_A_WORD else _number(text)


def resolve_tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag; a tag that goyaml does not know makes a string."""
    name = tag.removeprefix(TAG_PREFIX) if tag.startswith(TAG_PREFIX) else ""
    if name == "binary":
        return _decoded(text)
    types: Any = {"bool": bool, "int": int, "float": (int, float), "null": type(None)}.get(name)
    if types is None:
        return text
    value = resolve(text)
    is_other_bool = isinstance(value, bool) and name != "bool"
    is_too_large = name == "float" and isinstance(value, int) and value > INT64_MAX
    if not isinstance(value, types) or is_other_bool or is_too_large:
        raise Unreadable(f"{text[:40]!r} is not a !!{name}")
    return float(value) if name == "float" and isinstance(value, int) else value


def seen_by_json(value: Scalar) -> Scalar:
    """The value after its way through Go's JSON: whole floats as integers, integers above 64 bits as floats."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unreadable("infinity and not-a-number cannot be written as JSON")
        if value.is_integer() and abs(value) < 1e21:  # Go writes larger ones with an exponent
            whole = int(Decimal(repr(value)))  # the shortest digits, filled with zeros, as Go does
            return whole if INT64_MIN <= whole <= INT64_MAX else value
    elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        return float(value)
    return value


def key_of(value: Scalar) -> str:
    """The text of a mapping's key; raises Unreadable for a key that Kubernetes refuses."""
    if isinstance(value, str):
        return value
    if value is None:
        raise Unreadable("null as a key")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value > INT64_MAX:
            raise Unreadable(f"the number {value} as a key")
        return str(value)
    return _float32(value)


def _number(text: str) -> Scalar:
    if text[0] == ".":
        return _float(text) if FRACTION.fullmatch(text) else text
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None and INT64_MIN <= integer <= (INT64_MAX if plain[0] == "+" else UINT64_MAX):
        return integer
    value = _float(plain) if FLOAT.fullmatch(plain) else plain
    return text if isinstance(value, str) else value


def _integer(plain: str) -> int | None:
    if DECIMAL.fullmatch(plain):
        return int(plain)
    if match := PREFIXED.fullmatch(plain):
        sign = -1 if match[1] == "-" else 1
        base = {"b": 2, "x": 16, "o": 8, "z": 8}[str(match.lastgroup)]
        return sign * int(match[str(match.lastgroup)], base)
    if match := BINARY_SIGNED_INSIDE.fullmatch(plain):
        return int(match[1], 2)
    return None


def _float(plain: str) -> float | str:
    """Go reports a number out of range as an error, and goyaml then takes it for a string."""
    value = float(plain)
    return value if math.isfinite(value) else plain


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split("\n")), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unreadable("!!binary that is not text in base64") from error


def _float32(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 32): the fewest digits that name the same 32-bit float."""
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isnan(single):
        return ".nan"
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    packed = struct.pack("f", single)
    digits = next(d for n in range(9) if struct.pack("f", float(d := f"{single:.{n}e}")) == packed)
    if -4 <= int(digits.partition("e")[2]) < 6:  # strconv's own bounds for the form with an exponent
        return format(Decimal(digits).normalize(), "f")
    return digits
