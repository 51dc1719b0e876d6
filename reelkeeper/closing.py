"""The last step for a finished job: its end is counted, then nobody needs to look after it any longer."""

from __future__ import annotations

from reelkeeper.model import Job
from reelkeeper.services import Services


def close_books(services: Services, job: Job) -> None:
    """In this order: a crash in between leaves the watchdog row, and the sweep does both again."""
    services.outcomes.note(job)
    services.watchdog.unwatch(job.job_id)
