"""Values out of a task's JSON. A task is paid for: whatever oddity stands there, reading it never raises. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from reelkeeper.names import utc


def moment(value: object) -> datetime | None:
    """Unix seconds within this age (2001 to 5138); None for anything else, such as milliseconds."""
    return utc(value) if isinstance(value, int | float) and 1e9 < value < 1e11 else None


def number(*values: object) -> int:
    """The first that is a whole number of zero or more, also as text or with ``.0``; 0 when none is."""
    for value in values:
        if found := re.fullmatch(r"(\d{1,9})(\.0+)?", str(value), re.ASCII):
            return int(found[1])
    return 0


def size(value: object) -> tuple[int, int]:
    """The width and height in ``1280x720``; zeros for anything else."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[xX*]\s*(\d{1,5})\s*", str(value), re.ASCII)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def percent(value: object) -> int | None:
    """Progress as a whole number from 0 to 100; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return round(value)


def is_listed(item: object) -> bool:
    """Whether a listed task tells what a search must know of it: its id, its time and its prompt."""
    if not isinstance(item, Mapping) or moment(item.get("created_at")) is None:
        return False
    return isinstance(item.get("id"), str) and isinstance(item.get("prompt"), str)


def path_of(root: str, *segments: str, **query: Any) -> str:
    """A path with its query; ids are opaque, so nothing in them may become a path or a query of its own."""
    text = urlencode(query)
    return "/".join((root, *(quote(segment, safe="") for segment in segments))) + (f"?{text}" if text else "")
