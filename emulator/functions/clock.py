"""The two clocks of the embedded host: the wall clock, and one that moves only when told to.

Everything in the host that asks for the time asks a `Clock`, so that a test can let 24 hours pass in
milliseconds. A virtual clock never jumps by itself: `Engine.advance` moves it, from one due time to the next.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone


class Clock:
    """The machine's clock, in UTC."""

    virtual = False

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(timezone.utc)


class VirtualClock(Clock):
    """A clock that stands still until it is moved, and never runs backwards."""

    virtual = True

    def __init__(self, start: datetime | None = None) -> None:
        """Start at `start` (aware), else at midnight of 2025-01-01 UTC."""
        start = start or datetime(2025, 1, 1, tzinfo=timezone.utc)
        if start.tzinfo is None:
            raise ValueError("A virtual clock needs a start time with a time zone, such as 2025-01-01T00:00:00+00:00.")
        self._now = start.astimezone(timezone.utc)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the virtual time, aware, in UTC."""
        with self._lock:
            return self._now

    def move_to(self, moment: datetime) -> None:
        """Move forward to `moment`; a moment in the past changes nothing."""
        with self._lock:
            self._now = max(self._now, moment.astimezone(timezone.utc))
