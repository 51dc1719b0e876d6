"""Timer triggers: a time source of the durable engine, so that virtual time moves them too.

The rules are those of the WebJobs TimerListener and ScheduleMonitor: the status (last run, next occurrence) is kept
unless the timer fires more often than once a minute; at start an occurrence missed meanwhile is served once, past due;
runs never overlap; the next occurrence counts from the start of a run, so one missed during a run is served right after
it, not past due; a changed schedule starts over. Schedules are read in the machine's time zone.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from azure.functions import meta

from .engine import Engine
from .indexer import AppFunction
from .ncrontab import Schedule
from .settings import StartError
from .worker import Worker

log = logging.getLogger(__name__)

_NEVER = datetime(1, 1, 1, tzinfo=timezone.utc)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Status:
    """What the schedule monitor keeps of a timer; `last` is year 1 before the first run."""

    last: datetime
    next: datetime
    updated: datetime

    def to_dict(self) -> dict[str, str]:
        """Return the form that a function sees, which is also the kept one."""
        return {"Last": self.last.isoformat(), "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}

    @classmethod
    def from_dict(cls, data: dict[str, str]) -> Status:
        """Reverse `to_dict`."""
        return cls(*(datetime.fromisoformat(data[name]) for name in ("Last", "Next", "LastUpdated")))


class Timer:
    """One timer trigger; a `TimeSource` of the engine."""

    def __init__(self, function: AppFunction, worker: Worker, engine: Engine) -> None:
        """Read the schedule and, if it is monitored, what was kept of it. Raises StartError on a bad schedule."""
        self.name = function.name
        self.running = False
        self._function, self._worker, self._engine = function, worker, engine
        self._closing = threading.Lock()
        self._closed = False
        now = engine.clock.now()
        try:
            self._schedule = Schedule(str(function.trigger["schedule"]))
            self._status = Status(last=_NEVER, next=self._next(now), updated=_NEVER)
        except ValueError as problem:
            raise StartError(f"Function {function.name}: {problem}") from problem
        self._is_monitored = function.trigger.get("useMonitor") is not False and not self._is_frequent(now)
        if self._is_monitored:
            self._status = self._restore(now) or self._status
        self._is_past_due = now > self._status.next
        self._is_startup = self._is_past_due or bool(function.trigger.get("runOnStartup"))
        self._begin = now if self._is_startup else self._status.next

    def next_due(self) -> datetime | None:
        """Return when to run next, None while it runs."""
        return None if self.running else self._begin

    def fire(self, now: datetime) -> None:
        """Start a run on a thread of its own."""
        self.running = True
        threading.Thread(target=self._run, args=(now,), name=f"timer-{self.name}", daemon=True).start()

    def run_by_hand(self) -> None:
        """Run the function once, beside the schedule and without touching it."""
        threading.Thread(target=self._invoke, args=(None, False), name=f"by-hand-{self.name}", daemon=True).start()

    def close(self) -> None:
        """Keep nothing from now on: the engine is about to close its file."""
        with self._closing:
            self._closed = True

    def _run(self, now: datetime) -> None:
        status, is_startup = self._status, self._is_startup
        self._invoke(status if self._is_monitored else None, self._is_past_due)
        # a run a moment too early counts for its occurrence, or that would be served twice
        served = now if is_startup else max(now, status.next)
        self._status = Status(last=served, next=self._next(served), updated=served)
        self._is_startup = self._is_past_due = False
        self._begin = self._status.next
        with self._closing:
            if self._closed:
                return
            if self._is_monitored:
                self._engine.remember(self._key, json.dumps(self._status.to_dict()))
            self.running = False
            self._engine.wake()

    def _invoke(self, status: Status | None, is_past_due: bool) -> None:
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": None if status is None else status.to_dict(),
            "IsPastDue": is_past_due,
        }
        try:
            self._worker.run(self._function, meta.Datum(json.dumps(info), "json"))
        except Exception:  # the worker has logged it
            log.debug("The schedule of %s goes on after a failed run.", self.name)

    @property
    def _key(self) -> str:
        return f"timer:{self.name}"

    def _restore(self, now: datetime) -> Status | None:
        """Return what was kept, started over if the schedule has changed since; None the first time."""
        text = self._engine.recall(self._key)
        if text is None:
            first = Status(self._status.last, self._status.next, updated=now)  # so that the first occurrence counts
            self._engine.remember(self._key, json.dumps(first.to_dict()))
            return None
        kept = Status.from_dict(json.loads(text))
        basis = kept.updated if kept.last == _NEVER else kept.last
        expected = self._next(basis)
        if kept.next == expected:
            return kept
        if now > expected:
            basis, expected = now, self._next(now)
        changed = Status(last=_NEVER, next=expected, updated=basis)
        self._engine.remember(self._key, json.dumps(changed.to_dict()))
        return changed

    def _next(self, after: datetime) -> datetime:
        """Return the first occurrence later than `after`, in UTC."""
        if self._schedule.interval is not None:
            return self._schedule.next(after)
        local = self._schedule.next(after.astimezone().replace(tzinfo=None))
        found = local.astimezone(timezone.utc)
        # in the hour that a clock change repeats, the first of the two may be over
        return found if found > after else local.replace(fold=1).astimezone(timezone.utc)

    def _is_frequent(self, now: datetime) -> bool:
        """Tell whether the timer fires more often than once a minute all the time: such a one is not monitored."""
        if self._schedule.interval is not None:
            return self._schedule.interval < _MINUTE
        fields = self._schedule.expression.split()
        every_minute = len(fields) == 6 and all(field == "*" for field in fields[1:])
        return every_minute and self._next(self._next(now)) <= now + _MINUTE
