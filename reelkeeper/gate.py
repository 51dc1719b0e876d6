"""The gate of one provider: which job may create now, and when every other one asks again. Pure; an entity keeps it.

A job that asks is admitted and holds a *lease* on one of the provider's places until its task has ended, or it gets a
*ticket* with a wait. Turns go round the owners; within an owner the older job comes first (ids sort by age).
A free place is kept for the tickets that are next, as long as they ask when they were told to: a late one is passed
over but keeps its turn, one that stays away is dropped. A lease runs out when its job gives no sign of life. Time in
which nobody at all was heard does not count: then it was us who were away, not the jobs.

Inside, times are whole milliseconds since 1970, and `now` never runs backwards.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

WINDOW = 62_000
"""`creates_per_minute` holds for any span of this length: 2 s more, since not every POST is equally far away."""

NEAR, FAR, SOONEST = 2_000, 60_000, 250
"""A ticket's wait: this much for each ticket up to its own, at most this, at least this."""

IDLE = 20
"""A wait may be this part of the age of the youngest lease: a place is idle for 5 % of the time that it was taken."""

ON_TIME = 10_000
"""By how much a ticket may be late and still has a place kept for it."""

KEEP = 300_000
"""How long a late ticket keeps its turn."""

LEASE = 900_000
"""How long a lease outlives the promised sign of life: longer than the sweep takes to restart a job that broke off."""

SILENCE = 90_000
"""Waiting jobs ask more often than this, so a longer silence was an outage."""

HOLD, LONGEST_HOLD = 60_000, 960_000
"""How long a limit learned from a refusal stands before one more is tried; doubles each time that was too much."""

REMEMBERED = 15
"""Leases whose length is remembered, to estimate waits."""

FIRST_GUESS = 120_000
"""How long a task is taken to last before the first has ended, to have an estimate for those who ask by then."""

ANY = 1_000_000_000
"""More room than anybody needs."""


@dataclass(frozen=True)
class Limits:
    """What the provider allows; None is unlimited."""

    max_running: int | None = None
    creates_per_minute: int | None = None

    def __bool__(self) -> bool:
        return self.max_running is not None or self.creates_per_minute is not None


@dataclass
class Line:
    """One owner's tickets, sorted: `jobs` and, side by side, when each is `due` to ask.

    `used`: of the turn so far. More than a whole one where places were left over and it was let in ahead of its turn,
    less than nothing where it gave back what it had not needed.
    """

    owner: str
    used: int
    jobs: list[str]
    due: list[int]


@dataclass
class Lease:
    """A place taken since, until."""

    since: int
    until: int


@dataclass
class Learned:
    """What a refusal taught: this many run, and when one more is tried. `probing`: it was tried since."""

    limit: int
    raise_at: int
    hold: int
    probing: bool = False


class Gate:
    """The gate as it is `now`, from the `state` that it was left in. `weights`: turns in a row by owner, 1 if unnamed.

    Every operation may be repeated, and may come for a job that the gate has never heard of.
    """

    def __init__(
        self,
        limits: Limits,
        now: datetime,
        state: Mapping[str, Any] | None = None,
        weights: Mapping[str, int] | None = None,
    ) -> None:
        saved = state or {}
        heard: int = saved.get("heard", 0)
        self._limits, self._weights = limits, weights or {}
        self._now = max(round(now.timestamp() * 1000), heard)
        counted: dict[str, int] = saved.get("weights", {})
        self._lines = [
            # where the weight is another one by now the turn begins anew
            Line(owner, used if counted.get(owner, 1) == self._weight(owner) else 0, [*jobs], [*due])
            for owner, used, jobs, due in saved.get("lines", ())
        ]
        self._leases = {job_id: Lease(*lease) for job_id, lease in saved.get("leases", {}).items()}
        self._admitted: list[int] = [at for at in saved.get("admitted", ()) if at > self._now - WINDOW]
        self._ran: list[int] = saved.get("ran", [])
        self._paused: int = saved.get("paused", 0)
        self._learned = Learned(*saved["learned"]) if saved.get("learned") else None
        self._let_time_pass(heard)

    def state(self) -> dict[str, Any]:
        """Plain JSON, for the next operation."""
        return {
            "heard": self._now,
            "lines": [[line.owner, line.used, line.jobs, line.due] for line in self._lines],
            "weights": {
                line.owner: weight for line in self._lines if line.used and (weight := self._weight(line.owner)) > 1
            },
            "leases": {job_id: [lease.since, lease.until] for job_id, lease in self._leases.items()},
            "admitted": self._admitted,
            "ran": self._ran,
            "paused": self._paused,
            "learned": [*vars(self._learned).values()] if self._learned else None,
        }

    # What a job says

    def ask(self, owner: str, job_id: str) -> dict[str, Any]:
        """``{admitted: true}``, or ``{admitted: false, seconds, position, estimate}``: ask again in `seconds`.

        `position` counts from 1; `estimate` is in how many seconds its turn may come: a guess until a task has ended.
        """
        if lease := self._leases.get(job_id):
            lease.until = max(lease.until, self._now + LEASE)
            return {"admitted": True}
        line = self._line(owner)
        if job_id not in line.jobs:
            insort(line.jobs, job_id)
            line.due.insert(line.jobs.index(job_id), 0)
        ahead, kept = self._ahead(line, job_id)
        if kept < self._room():
            self._take_turn(line, job_id)
            self._leases[job_id] = Lease(self._now, self._now + LEASE)
            self._admitted.append(self._now)
            return {"admitted": True}
        wait = self._wait(kept + 1)
        line.due[line.jobs.index(job_id)] = self._now + wait
        starts = self._turn_comes(ahead + 1, self._usual() if self._ran else self._guess())
        estimate = round((starts - self._now) / 1000)
        return {"admitted": False, "seconds": wait / 1000, "position": ahead + 1, "estimate": estimate}

    def stay(self, owner: str, job_id: str, seconds: float) -> None:
        """The job has a task, or may have one, and is heard of again within `seconds`: it has a place, given or not."""
        self._forget(owner, job_id)
        lease = self._leases.setdefault(job_id, Lease(self._now, 0))
        lease.until = max(lease.until, self._now + round(seconds * 1000) + LEASE)

    def leave(self, owner: str, job_id: str) -> None:
        """The job's task has ended, or it needs none any more."""
        self._forget(owner, job_id)
        lease = self._leases.pop(job_id, None)
        if lease:
            self._ran = [*self._ran, self._now - lease.since][-REMEMBERED:]

    def waive(self, owner: str, job_id: str) -> None:
        """The job was admitted and needs no create after all, nor ever will: as if it had never asked.

        Only for a job that nothing was sent of since its admission.
        """
        self._forget(owner, job_id)
        lease = self._leases.pop(job_id, None)
        if lease is None:
            return
        if lease.since in self._admitted:
            self._admitted.remove(lease.since)
        for line in self._lines:
            if line.owner == owner:
                line.used = max(line.used - 1, -self._weight(owner))

    def back(self, owner: str, job_id: str, code: str, seconds: float) -> None:
        """The create had no effect; the job asks again in `seconds` and is the first of its owner, who is next.

        `code` is why: ``too_many_running`` lowers the limit to the places that are taken, ``rate_limited`` stops
        everybody for as long.
        """
        if self._leases.pop(job_id, None) is None:
            return
        line = self._line(owner)
        line.used = (line.used or self._weight(owner)) - 1
        self._lines.remove(line)
        self._lines.insert(0, line)
        place = bisect_left(line.jobs, job_id)
        line.jobs.insert(place, job_id)
        line.due.insert(place, self._now - ON_TIME - 1)  # no place is kept for it before it asks
        self._turns_over()
        if code == "too_many_running":
            self._slow_down()
        if code == "rate_limited" or (code == "too_many_running" and not self._leases):
            self._paused = max(self._paused, self._now + round(seconds * 1000))

    # Limits

    def _room(self) -> int:
        """How many may be admitted at this moment."""
        if self._now < self._paused:
            return 0
        most, per_minute = self._most(), self._limits.creates_per_minute
        places = ANY if most is None else most - len(self._leases)
        budget = ANY if per_minute is None else per_minute - len(self._admitted)
        return max(min(places, budget), 0)

    def _most(self) -> int | None:
        """How many leases there may be."""
        known = [limit for limit in (self._limits.max_running, self._learned and self._learned.limit) if limit]
        return min(known, default=None)

    def _slow_down(self) -> None:
        hold = self._learned.hold if self._learned else HOLD
        if self._learned and self._learned.probing:  # the other refusals of one burst teach nothing new
            hold = min(2 * hold, LONGEST_HOLD)
        taken = len(self._leases)
        self._learned = Learned(max(min(taken, self._most() or taken), 1), self._now + hold, hold)

    # Turns

    def _line(self, owner: str) -> Line:
        """The owner's line; a new one stands behind all others."""
        for line in self._lines:
            if line.owner == owner:
                return line
        self._lines.append(Line(owner, 0, [], []))
        return self._lines[-1]

    def _weight(self, owner: str) -> int:
        return max(self._weights.get(owner, 1), 1)

    def _ahead(self, mine: Line, job_id: str) -> tuple[int, int]:
        """How many tickets come before this one, and for how many of them a place is kept."""
        older, rank = bisect_left(mine.jobs, job_id), self._lines.index(mine)
        turn = (mine.used + older) // self._weight(mine.owner)
        ahead = kept = 0
        for index, line in enumerate(self._lines):
            before = self._weight(line.owner) * (turn + (index < rank)) - line.used
            before = older if line is mine else min(max(before, 0), len(line.jobs))
            ahead += before
            kept += self._on_time(line.due[:before])
        return ahead, kept

    def _take_turn(self, line: Line, job_id: str) -> None:
        line.used += 1
        self._forget(line.owner, job_id)

    def _turns_over(self) -> None:
        """Send who has had its turn to the end; past those who are late for theirs, but not past one who is on time."""
        place = 0
        while place < len(self._lines):
            line = self._lines[place]
            weight = self._weight(line.owner)
            if line.used >= weight:
                line.used -= weight
                self._lines.append(self._lines.pop(place))
            elif self._on_time(line.due[: weight - line.used]):
                break
            else:
                place += 1

    def _on_time(self, due: list[int]) -> int:
        """For how many of them a place is kept."""
        return sum(at + ON_TIME >= self._now for at in due)

    def _forget(self, owner: str, job_id: str) -> None:
        """Tear up the job's ticket, if it has one; a line without tickets has no turn."""
        line = self._line(owner)
        if job_id in line.jobs:
            place = line.jobs.index(job_id)
            del line.jobs[place], line.due[place]
        if not line.jobs:
            self._lines.remove(line)
        self._turns_over()

    # Time

    def _let_time_pass(self, heard: int) -> None:
        away = self._now - heard if self._now - heard > SILENCE else 0
        for lease in self._leases.values():
            lease.until += away
        self._leases = {job_id: lease for job_id, lease in self._leases.items() if lease.until >= self._now}
        for line in self._lines:
            kept = [(job, due + away) for job, due in zip(line.jobs, line.due, strict=True)]
            kept = [(job, due) for job, due in kept if due + KEEP >= self._now]
            line.jobs, line.due = [job for job, _ in kept], [due for _, due in kept]
        self._lines = [line for line in self._lines if line.jobs]
        self._turns_over()
        self._try_more()

    def _try_more(self) -> None:
        """One more for each hold that has passed; forget what was learned once it limits nothing any more."""
        if (learned := self._learned) is None or self._now < learned.raise_at:
            return
        steps = 1 + (self._now - learned.raise_at) // learned.hold
        learned.limit, learned.raise_at = learned.limit + steps, learned.raise_at + steps * learned.hold
        learned.probing = True
        wanted = len(self._leases) + sum(len(line.jobs) for line in self._lines)
        if learned.limit >= (self._limits.max_running or wanted):
            self._learned = None

    def _wait(self, position: int) -> int:
        """Until this ticket asks again, when `position` counts those for whom a place is kept."""
        wait = self._may_begin(position) - self._now
        if (most := self._most()) is not None:
            early = (self._turn_comes(position, self._usual()) - self._now) // 2 if self._ran else FAR
            full = len(self._leases) >= most
            young = min(self._now - lease.since for lease in self._leases.values()) if full else 0
            wait = max(wait, min(NEAR * position, max(early, NEAR)), young // IDLE)
        return min(max(wait, SOONEST), FAR)

    def _may_begin(self, position: int) -> int:
        """From when on the rate and the pauses allow the ticket at this position."""
        if (per_minute := self._limits.creates_per_minute) is None:
            return max(self._paused, self._now)
        free = [self._now] * per_minute + [at + WINDOW for at in self._admitted]
        return max(self._paused, _nth(free[-per_minute:], WINDOW, position))

    def _usual(self) -> int:
        """How long leases lasted."""
        return round(median(self._ran))

    def _guess(self) -> int:
        """The same while none has ended: no less than the oldest has lasted by now."""
        return max([FIRST_GUESS, *(self._now - lease.since for lease in self._leases.values())])

    def _turn_comes(self, position: int, lasts: int) -> int:
        """When the ticket at this position may be admitted, if a lease lasts so long."""
        begin, most = self._may_begin(position), self._most()
        if most is None:
            return begin
        ends = sorted(max(lease.since + lasts, self._now) for lease in self._leases.values())
        free = [self._now] * most + ends
        return max(begin, _nth(free[-most:], lasts, position))


def _nth(free: list[int], period: int, position: int) -> int:
    """When the `position`-th comes to one of the places, each free at its time and taken for a `period` by each."""
    rounds, place = divmod(position - 1, len(free))
    return free[place] + rounds * period
