"""The sweep: every unfinished job whose watchdog row is due is looked at, and `render` started again where nobody is.

1. Rows that are due, soonest provider expiry first.
2. A finished job loses its row, a vanished one what is stored of it as well. One whose orchestration lives is only
   pushed forward.
3. Everything else - a download to try again, a start that failed, a lost task hub, a cancelled job whose task is not
   withdrawn yet - is the same: start `render`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import azure.durable_functions as df

from reelkeeper import names, policy
from reelkeeper.closing import close_books
from reelkeeper.records.base import Watch
from reelkeeper.services import Services

log = logging.getLogger(__name__)

MOST_PER_SWEEP, LONGEST_SWEEP = 200, timedelta(minutes=4)
"""A sweep ends before the next one is due. What it leaves stays due, and the most urgent comes first again."""

FORGET_AFTER = timedelta(minutes=10)
"""A row this long overdue without a record: the POST that wrote it died before the record, or the DELETE after it."""

ALIVE = frozenset({"Running", "Pending", "ContinuedAsNew", "Suspended"})


async def sweep(services: Services, client: df.DurableOrchestrationClient) -> dict[str, int]:
    """Counts of what was done: ``{started, pushed, cleared, failed}``. One job's failure never stops the others."""
    counts = {"started": 0, "pushed": 0, "cleared": 0, "failed": 0}
    started_at = services.now()
    for watch in await asyncio.to_thread(services.watchdog.due, started_at, MOST_PER_SWEEP):
        if services.now() - started_at > LONGEST_SWEEP:
            log.warning("sweep: time is up; the rest stays due for the next one")
            break
        try:
            counts[await _look_after(services, client, watch)] += 1
        except Exception:
            log.exception("job %s: the sweep could not look after it; a later one will", watch.job_id)
            counts["failed"] += 1
    if any(counts.values()):
        log.info("sweep: %s", ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return counts


async def _look_after(services: Services, client: df.DurableOrchestrationClient, watch: Watch) -> str:
    job = await asyncio.to_thread(services.jobs.get, watch.owner, watch.job_id)
    now = services.now()
    if job is None and now - watch.due < FORGET_AFTER:
        return "pushed"
    if job is None:
        await asyncio.to_thread(_clear, services, watch)
        return "cleared"
    if job.finished and not job.withdrawing:
        await asyncio.to_thread(close_books, services, job)
        return "cleared"
    alive = await _is_alive(client, job.job_id)
    later = replace(watch, due=now + policy.STEP_GRACE, expires_at=job.expires_at)
    await asyncio.to_thread(services.watchdog.watch, later)  # before the start: what `render` writes must stay
    if alive:
        return "pushed"
    await client.start_new("render", job.job_id, {"owner": job.owner, "job_id": job.job_id})
    log.info("job %s: %s and nobody at work on it; started again", job.job_id, job.status)
    return "started"


def _clear(services: Services, watch: Watch) -> None:
    """The picture of a POST that died before its record, or what a DELETE that died had not come to."""
    services.clips.delete_all(names.job_prefix(watch.owner, watch.kind, watch.job_id))
    services.watchdog.unwatch(watch.job_id)
    if services.jobs.get(watch.owner, watch.job_id):  # a slow POST recorded it in this moment
        services.watchdog.watch(replace(watch, due=services.now() + policy.START_GRACE))


async def _is_alive(client: df.DurableOrchestrationClient, instance_id: str) -> bool:
    status = await client.get_status(instance_id)
    return bool(status) and status.runtime_status is not None and status.runtime_status.name in ALIVE
