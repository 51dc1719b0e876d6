"""The contract of `Outcomes`, on the fake and on Azure tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from reelkeeper import model
from reelkeeper.model import Job
from reelkeeper.records.base import Outcomes

LATE = datetime(2026, 11, 20, 23, 59, 59, tzinfo=timezone.utc)


def test_ends_are_counted_by_day_and_status(outcomes: Outcomes, make_job: Callable[..., Job]) -> None:
    """Each finished job counts once, on the UTC day it ended; a day without any is empty."""
    assert outcomes.counts(LATE.date()) == {}
    for status in (model.COMPLETED, model.COMPLETED, model.EXPIRED):
        outcomes.note(make_job(status=status, finished_at=LATE))
    outcomes.note(make_job(status=model.FAILED, finished_at=LATE + timedelta(seconds=1)))
    assert outcomes.counts(LATE.date()) == {"completed": 2, "expired": 1}
    assert outcomes.counts(LATE.date() + timedelta(days=1)) == {"failed": 1}


def test_noting_an_end_again_counts_it_once(outcomes: Outcomes, make_job: Callable[..., Job]) -> None:
    """The step that settles a job may run any number of times."""
    job = make_job(status=model.COMPLETED, finished_at=LATE)
    for _ in range(3):
        outcomes.note(job)
    assert outcomes.counts(LATE.date()) == {"completed": 1}
