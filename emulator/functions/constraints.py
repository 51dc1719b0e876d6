"""The inline constraints of ASP.NET route templates, such as `{n:int:min(1)}`: each becomes a check of one value."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime

Check = Callable[[str], bool]


def read_constraints(text: str) -> tuple[Check, ...]:
    """Read the part of a parameter after its name, `int:min(1)`.

    Raises ValueError holding the constraint that is unknown or lacks its argument.
    """
    return tuple(_read(part) for part in _split(text) if part)


def _split(text: str) -> list[str]:
    """Split at colons outside parentheses."""
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _read(part: str) -> Check:
    name, _, rest = part.partition("(")
    argument = rest.removesuffix(")")
    try:
        if name == "regex":
            pattern = re.compile(argument, re.IGNORECASE)
            return lambda value: pattern.search(value) is not None
        if name in _PLAIN and not argument:
            return _PLAIN[name]
        limits = [int(number) for number in argument.split(",")]
        if name == "length" and len(limits) <= 2:
            return lambda value: limits[0] <= len(value) <= limits[-1]
        if name == "range" and len(limits) == 2:
            return lambda value: _is_within(value, limits[0], limits[1])
        if name in _LIMITED and len(limits) == 1:
            limited = _LIMITED[name]
            return lambda value: limited(value, limits[0])
    except (ValueError, re.error):
        pass
    raise ValueError(part)


def _is_within(value: str, low: int, high: int) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+\s*", value) is not None and low <= int(value) <= high


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    try:
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value.strip("{}()"))
    except ValueError:
        return False
    return True


_LONG = 2**63
_PLAIN: dict[str, Check] = {
    "int": lambda value: _is_within(value, -(2**31), 2**31 - 1),
    "long": lambda value: _is_within(value, -_LONG, _LONG - 1),
    "bool": lambda value: value.lower() in ("true", "false"),
    "alpha": lambda value: re.fullmatch("[A-Za-z]*", value) is not None,
    "guid": _is_guid,
    "double": _is_number,
    "float": _is_number,
    "decimal": _is_number,
    "datetime": _is_date,
    "required": lambda value: bool(value.strip()),
}
_LIMITED: dict[str, Callable[[str, int], bool]] = {
    "min": lambda value, limit: _is_within(value, limit, _LONG - 1),
    "max": lambda value, limit: _is_within(value, -_LONG, limit),
    "minlength": lambda value, limit: len(value) >= limit,
    "maxlength": lambda value, limit: len(value) <= limit,
}
