"""The last step for a finished job: its end is counted, then nobody needs to look after it any longer."""

from __future__ import annotations

from reelkeeper import model, policy
from reelkeeper.model import Job
from reelkeeper.records.base import Watch
from reelkeeper.services import Services


def close_books(services: Services, job: Job) -> None:
    """In this order: a crash in between leaves the watchdog row, and the sweep does both again."""
    services.outcomes.note(job)
    services.watchdog.unwatch(job.job_id)
    current = services.jobs.get(job.owner, job.job_id) if job.status == model.CANCELLED else None
    if current and current.withdrawing:  # its create was answered in this moment
        services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, services.now() + policy.START_GRACE))
