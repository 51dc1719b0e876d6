"""The contract of `Watchdog`, on the fake and on Azure tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from reelkeeper import names
from reelkeeper.records.base import Survey, Watch, Watchdog
from reelkeeper.records.tables import Tables

NOW = datetime(2026, 11, 20, 12, 0, 0, 500000, timezone.utc)


def watch(due: float, expires: float | None = None, owner: str = "ada") -> Watch:
    """A watch over a new job, due and expiring so many minutes after NOW."""
    expires_at = None if expires is None else NOW + timedelta(minutes=expires)
    return Watch(names.new_job_id(NOW), owner, "videos", NOW + timedelta(minutes=due), expires_at)


def test_due_rows_come_back_as_they_were_written(watchdog: Watchdog) -> None:
    """All fields survive, an unknown expiry stays unknown, and owners may have any name."""
    watches = [watch(-1, expires=60), watch(-1), watch(-1, expires=90, owner="Ümit/'🎬'")]
    for item in watches:
        watchdog.watch(item)
    assert watchdog.due(NOW, limit=10) == [watches[0], watches[2], watches[1]]


def test_only_what_is_due_is_shown(watchdog: Watchdog) -> None:
    """Due means at this moment or before; a millisecond later is not due."""
    at_once, later = watch(0), watch(1 / 60_000)
    watchdog.watch(later)
    assert watchdog.due(NOW, limit=10) == []
    watchdog.watch(at_once)
    assert watchdog.due(NOW, limit=10) == [at_once]
    assert len(watchdog.due(NOW + timedelta(milliseconds=1), limit=10)) == 2


def test_a_job_has_one_row(watchdog: Watchdog) -> None:
    """Watching again replaces: the due time moves, an expiry that became unknown is forgotten."""
    first = watch(-5, expires=60)
    watchdog.watch(first)
    moved = Watch(first.job_id, first.owner, first.kind, NOW + timedelta(minutes=5))
    watchdog.watch(moved)
    assert watchdog.due(NOW, limit=10) == []
    assert watchdog.due(NOW + timedelta(hours=1), limit=10) == [moved]


def test_an_unwatched_job_is_gone(watchdog: Watchdog) -> None:
    """Unwatching removes one row, and is no error when there is none, not even in an empty store."""
    watchdog.unwatch(names.new_job_id(NOW))
    kept, dropped = watch(-1), watch(-2)
    watchdog.watch(kept)
    watchdog.watch(dropped)
    for _ in range(2):
        watchdog.unwatch(dropped.job_id)
    assert watchdog.due(NOW, limit=10) == [kept]


def test_the_most_urgent_come_first_from_any_shard(watchdog: Watchdog) -> None:
    """Of sixty due rows in all shards a limit of ten shows the ten that expire first, then by due time."""
    by_expiry = [watch(-1, expires=minutes) for minutes in range(20)]
    by_due = [watch(-minutes) for minutes in range(40, 0, -1)]
    for item in reversed(by_expiry + by_due):
        watchdog.watch(item)
    assert len({names.shard(item.job_id, 16) for item in by_expiry + by_due}) > 8
    assert watchdog.due(NOW, limit=10) == by_expiry[:10]
    assert watchdog.due(NOW, limit=25) == by_expiry + by_due[:5]


def test_racing_watches_of_new_jobs_are_all_kept(watchdog: Watchdog, race: Callable[..., list[Any]]) -> None:
    """Eight workers write the store's first rows together: none is lost, none fails."""
    watches = [watch(-1, expires=number) for number in range(8)]
    assert race(lambda number: watchdog.watch(watches[number])) == [None] * 8
    assert watchdog.due(NOW, limit=10) == watches


def test_an_untouched_account_has_nothing_due(tables: Tables) -> None:
    """The sweep of a fresh account finds nothing instead of failing on a missing table."""
    assert tables.watchdog.due(NOW, limit=10) == []


def test_the_survey_tells_how_urgent_things_are(watchdog: Watchdog) -> None:
    """All rows are counted, due or not; the earliest due time and the earliest known expiry stand out."""
    assert watchdog.survey() == Survey(0, None, None)
    watches = [watch(30), watch(-5, expires=90), watch(10, expires=20)]
    for item in watches:
        watchdog.watch(item)
    assert watchdog.survey() == Survey(3, watches[1].due, watches[2].expires_at)
