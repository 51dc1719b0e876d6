"""When to look, when to try again, when to give up: pure functions of their arguments, `now` always handed in.

The figures come from the providers' documented behaviour and from what a watcher may be late by: completion is noticed
within 30 % of the generation time (or 5 s) below three minutes and within 10 % from there up, and a three-minute
generation costs at most 16 polls.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

BLOCK_BYTES = 4 * 1024 * 1024
"""Size of a staged block, the unit of a resumed download: at most this much is fetched twice after a cut."""

POLLS_PER_RUN = 20
"""Polls before the watch continues as new: replay cost grows with the square of the history's length."""

CONTENT_WAITS = (5, 10, 15, 20, 30, 40)
"""Seconds between tries while a finished generation's content answers 404: two minutes in all."""

MAX_CREATE_TRIES = 5
MAX_CREATES = 3
"""Tasks the provider may accept for one job: the first and two more after it failed (uncharged) on its own."""

CLOCK_SKEW = timedelta(minutes=2)
"""By how much the provider's clock may be behind ours when a lost task is looked for by its time."""

PARKED_LOOK = timedelta(hours=1)
"""How often a job whose submission is unknown is looked into again: the list may be back."""

UNCLEAR_PAUSE = 10.0
"""At least this many seconds between two questions to a provider that is in trouble about a cancelled task."""

LOST_MISSES, LOST_AFTER = 5, timedelta(minutes=2)
START_GRACE = timedelta(minutes=1)
STEP_GRACE = timedelta(minutes=2)
"""How long a step may stay silent, on top of its own wait, before the sweep looks whether anybody still works on it."""

SIGNED_URL_LIFETIME = timedelta(hours=1)
LONGEST_WAIT = 3600.0
"""The longest Retry-After that is obeyed to the letter; more is a provider's slip."""


def kept_until(expires_at: datetime | None, since: datetime, deadline: timedelta) -> datetime:
    """When the provider deletes a task made at `since`: what it says, else when our own patience with it ends."""
    return expires_at or since + deadline


def poll_interval(elapsed: float, retry_after: float | None = None) -> float:
    """Seconds until the next look at a task that has run `elapsed` seconds; never sooner than the provider asked."""
    # 28 of the 30 %: the rest is for the look itself. What is looked at from 165 s on may end behind 180 s, where 10 %
    # is the measure.
    share = min(0.28 * elapsed, 24.0) if elapsed < 165 else min(max(0.1 * elapsed, 17.0), 30.0)
    return min(max(3.0, share, retry_after or 0.0), LONGEST_WAIT)


def unclear_poll_interval(elapsed: float, misses: int, retry_after: float | None = None) -> float:
    """The same while the provider cannot be reached or knows nothing: not sooner than 5, 10, 20, 30 s."""
    return max(poll_interval(elapsed, retry_after), _doubled(5.0, misses, 30.0))


def is_lost(misses: int, first_miss: datetime, now: datetime) -> bool:
    """Whether a task that the provider answered 404 for counts as forgotten, not as a server restarting."""
    return misses >= LOST_MISSES and now - first_miss >= LOST_AFTER


def create_wait(code: str, attempts: int, retry_after: float | None) -> float:
    """Seconds before a create is tried again: what the provider asked for, else by the kind of refusal."""
    usual = {"rate_limited": 20.0, "too_many_running": 15.0}.get(code) or _doubled(5.0, attempts, 60.0)
    return min(max(retry_after or 0.0, usual), LONGEST_WAIT)


def next_download_at(attempts: int, now: datetime, expires_at: datetime | None) -> datetime:
    """When to fetch again after `attempts` failed rounds: 5 min, 15, 45, 135, then every 4 h.

    Ten minutes before the provider deletes the file there is a try in any case, and then one every five minutes.
    """
    planned = now + min(timedelta(minutes=5) * 3.0 ** min(max(attempts - 1, 0), 4), timedelta(hours=4))
    if expires_at is None or now >= expires_at:
        return planned
    last_call = expires_at - timedelta(minutes=10)
    if now < last_call:
        return min(planned, last_call)
    return min(now + timedelta(minutes=5), expires_at)


def progress(stage: str, elapsed: float) -> int:
    """An estimate in percent: these providers report none. It grows with time and never claims the end."""
    if stage in ("queued", "preprocessing"):
        return 5
    return round(10 + 80 * (1 - math.exp(-max(elapsed, 0.0) / 60)))


def _doubled(first: float, times: int, most: float) -> float:
    """`first` the first time, twice as much each further time, `most` at most. An outage may last any number."""
    return min(first * 2.0 ** min(max(times - 1, 0), 16), most)
