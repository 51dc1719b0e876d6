"""DELETE /api/{kind}/{job_id}: an ended job, and everything that is kept of it, goes.

1. A job that runs, or whose cancelled task still runs at the provider, is refused: 409.
2. The watchdog row comes back first: should this break off, the sweep deletes the rest.
3. Its idempotency key remembers that it was deleted, so that a repeated POST does not pay for it again.
4. The record, then the files: from here on nobody finds the job, and `store` keeps nothing for it any more.
"""

from __future__ import annotations

from datetime import timedelta

import azure.functions as func

from reelkeeper import names, policy
from reelkeeper.errors import RecordConflict
from reelkeeper.model import Job
from reelkeeper.records.base import Watch
from reelkeeper.services import Services
from triggers.answers import problem
from triggers.cancel import try_to_withdraw
from triggers.owner import own_job
from triggers.views import retry_after


def delete_job(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    """204; 409 ``job_running``."""
    job = own_job(services, req, kind)
    if job.withdrawing:
        job = try_to_withdraw(services, job)
    if not job.finished:
        return _refused(services, job, f"The job is {job.status}. Cancel it first, or wait until it has ended.")
    if job.withdrawing:
        return _refused(services, job, "The job is cancelled, but its task still runs at the provider. Try again soon.")
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, services.now() + policy.START_GRACE))
    services.outcomes.note(job)  # its last step may not have come to that yet
    if job.key_digest:
        services.idempotency.mark_deleted(job.owner, job.key_digest)
    try:
        services.jobs.delete(job)
    except RecordConflict:
        return _refused(services, job, "The job changed at this moment. Try again.")
    services.clips.delete_all(names.job_prefix(job.owner, job.kind, job.job_id))
    services.watchdog.unwatch(job.job_id)
    return func.HttpResponse(status_code=204)


def _refused(services: Services, job: Job, detail: str) -> func.HttpResponse:
    now = services.now()
    soon = max((job.next_attempt_at or now) - now, timedelta(seconds=1)).total_seconds()
    seconds = str(round(soon)) if job.finished else retry_after(job, now)["Retry_After"]
    headers = {"Retry-After": seconds}
    return problem(409, "job_running", detail, headers=headers, job_id=job.job_id, job_status=job.status)
