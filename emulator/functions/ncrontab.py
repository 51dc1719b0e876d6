"""NCRONTAB schedules as timer triggers read them: `{second} {minute} {hour} {day} {month} {day-of-week}`.

Five fields mean second 0; `hh:mm:ss` or `d.hh:mm:ss` is a fixed interval. As in the NCrontab library, day and
day-of-week must BOTH match, Sunday is 0 and 7 is refused, months and days may be named by a prefix, `n/step` runs
from n to the maximum, a reversed range is swapped, and there is no `L`, `W`, `#` or `?`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("day-of-week", 0, 6),
)
_MONTHS = ["january", "february", "march", "april", "may", "june", "july"]
_MONTHS += ["august", "september", "october", "november", "december"]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_NAMES = {"month": _MONTHS, "day-of-week": _DAYS}
_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")
_HORIZON = timedelta(days=366 * 40)  # the longest gap is 29 February on one weekday: 28 years, 40 across 2100


class Schedule:
    """A parsed schedule.

    Raises ValueError when `expression` is neither an NCRONTAB expression nor a time span; the message names the field.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression.strip()
        self.interval: timedelta | None = None
        span = _TIMESPAN.fullmatch(self.expression)
        if span:
            self.interval = _interval(self.expression, *(int(part or 0) for part in span.groups()))
            return
        parts = self.expression.split()
        if len(parts) == 5:
            parts.insert(0, "0")
        if len(parts) != 6:
            raise ValueError(
                f"{expression!r} is not a schedule: give six fields "
                "'{second} {minute} {hour} {day} {month} {day-of-week}', or a time span hh:mm:ss."
            )
        values = [_values(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
        self._seconds, self._minutes, self._hours, self._days, self._months, self._weekdays = values

    def next(self, after: datetime) -> datetime:
        """Return the first occurrence later than `after`, in the same time zone (or lack of one).

        Raises ValueError when there is none, as for 30 February.
        """
        if self.interval is not None:
            return after + self.interval
        moment = after.replace(microsecond=0) + timedelta(seconds=1)
        horizon = moment + _HORIZON
        while moment < horizon:  # skip by the largest unit that does not match
            if moment.month not in self._months:
                moment = (moment.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
            elif moment.day not in self._days or moment.isoweekday() % 7 not in self._weekdays:
                moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif moment.hour not in self._hours:
                moment = moment.replace(minute=0, second=0) + timedelta(hours=1)
            elif moment.minute not in self._minutes:
                moment = moment.replace(second=0) + timedelta(minutes=1)
            elif moment.second not in self._seconds:
                moment += timedelta(seconds=1)
            else:
                return moment
        raise ValueError(f"The schedule {self.expression!r} never occurs: no such date exists.")


def _interval(text: str, days: int, hours: int, minutes: int, seconds: int) -> timedelta:
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if hours > 23 or minutes > 59 or seconds > 59 or not span:
        raise ValueError(f"{text!r} is not a usable interval: write hh:mm:ss above zero, or d.hh:mm:ss for whole days.")
    return span


def _values(spec: str, name: str, low: int, high: int) -> frozenset[int]:
    """Return every value that one field allows."""
    out: set[int] = set()
    for part in spec.split(","):
        match = _PART.fullmatch(part)
        step = int(match[3] or 1) if match else 0
        if not match or step < 1 or (match[1] == "*" and match[2]):
            raise ValueError(f"The {name} field {spec!r} of a schedule is not understood at {part!r}.")
        first, last = low, high
        if match[1] != "*":
            first = _number(match[1], name, low, high)
            last = _number(match[2], name, low, high) if match[2] else high if match[3] else first
        out.update(range(min(first, last), max(first, last) + 1, step))
    return frozenset(out)


def _number(text: str, name: str, low: int, high: int) -> int:
    if text.isdigit():
        number = int(text)
    else:
        hits = [i for i, word in enumerate(_NAMES.get(name, [])) if word.startswith(text.lower())]
        if not hits:
            raise ValueError(f"The {name} field of a schedule cannot be {text!r}.")
        number = hits[0] + low
    if not low <= number <= high:
        raise ValueError(f"The {name} field of a schedule allows {low} to {high}, not {number}.")
    return number
