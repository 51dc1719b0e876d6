"""POST /api/{kind}/{job_id}/cancel: the record is cancelled at once; what runs at the provider is withdrawn after that.

1. A job that ended in another way stays as it is: 409. A repeated cancel is answered like the first.
2. The record first: from here on every run of every step leaves the job alone, and the sweep knows what is left to do.
3. One try to delete its task. Where that cannot be done yet, the job's orchestration or the sweep does it.
"""

from __future__ import annotations

import logging

import azure.functions as func

from reelkeeper import ledger, model
from reelkeeper.errors import RequestRefused
from reelkeeper.model import Job
from reelkeeper.services import Services
from reelkeeper.steps import changed, watched
from reelkeeper.withdrawal import withdraw
from triggers.answers import json_answer
from triggers.owner import own_job
from triggers.views import Links, status_body

log = logging.getLogger(__name__)


def cancel_job(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    """202 with the status body; 409 ``job_finished``."""
    found = own_job(services, req, kind)
    job = changed(services, found, lambda job: ledger.cancelled(job, services.now()))
    job = job or own_job(services, req, kind)
    if job.status != model.CANCELLED:
        detail = f"The job is {job.status} already; only a job that has not ended can be cancelled."
        raise RequestRefused(409, "job_finished", detail)
    if job.withdrawing:
        job = try_to_withdraw(services, job)
    links = Links(req.url, kind)
    return json_answer(status_body(job, links, services.now()), 202, Location=links.of(job.job_id)["status_url"])


def try_to_withdraw(services: Services, job: Job) -> Job:
    """The job after one try. It is cancelled in any case, so no trouble with that is the caller's."""
    try:
        watched(services, job, services.now())
        withdraw(services, job)
        return services.jobs.get(job.owner, job.job_id) or job
    except Exception:
        log.exception("job %s: cancelled; what is left of it is withdrawn later", job.job_id)
        return job
