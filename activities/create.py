"""create: submit the job to its provider, at most once. What the record goes through is told in `reelkeeper.ledger`.

1. A job that has a task already answers with it; a finished one stops the orchestration.
2. One that was cancelled is withdrawn first, if that is not done yet.
3. The record says `submitting`, since when, where and by which run, before the POST. Only that run may POST.
4. A run that finds `submitting` without an id does not POST: it waits until that POST must be over, and reconciles.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from reelkeeper import ledger, model, policy
from reelkeeper.errors import Fault
from reelkeeper.model import Job
from reelkeeper.providers.base import Provider
from reelkeeper.reconciliation import reconcile
from reelkeeper.services import Services
from reelkeeper.steps import LOOK_AGAIN, STOP, Answer, changed, failed, go_on, hold, move_on, wait_until, watched
from reelkeeper.submission import submit
from reelkeeper.withdrawal import go_on_withdrawing


def create_task(services: Services, work: dict[str, Any]) -> Answer:
    """``{owner, job_id}`` -> what comes next, see `reelkeeper.steps`. Raises when our own storage fails: try again."""
    owner, job_id, run = work["owner"], work["job_id"], secrets.token_hex(8)
    job = services.jobs.get(owner, job_id)
    if job is None or job.finished:
        return go_on_withdrawing(services, job) if job and job.withdrawing else STOP
    provider = services.providers.get(job.provider)
    watched(services, job, services.now())
    if provider and job.status in ledger.WAITING and provider.terms.retired(services.now()):
        fault = Fault("model_retired", f"The provider {provider.name!r} retired after {provider.terms.retires_on}.")
        if moved := move_on(services, job, fault):
            return moved
    name, place = job.provider, provider.place if provider else None
    job = changed(services, job, lambda job: _begin(job, run, name, place, services.now()))
    if job is None or (job.finished and not job.withdrawing):
        return STOP
    if job.provider != name or job.withdrawing:
        return LOOK_AGAIN
    if job.status in ledger.WAITING:
        return _not_begun(services, provider, job)
    if job.status == model.SUBMITTING and job.task_id:
        return hold(services, job)
    if job.task_id or job.outputs:
        return go_on(job)
    if job.stage == ledger.REFUSED:
        return failed(job, job.fault)
    if provider is None or job.submit_run != run:
        return reconcile(services, job)
    return submit(services, provider, job)


def _begin(job: Job, run: str, provider: str, place: str | None, now: datetime) -> Job | None:
    if job.provider != provider:
        return None
    if job.status == model.DOWNLOAD_FAILED:
        return job.to(model.DOWNLOADING, now, stage="downloading", next_attempt_at=None)
    return ledger.begun(job, run, place, now)


def _not_begun(services: Services, provider: Provider | None, job: Job) -> Answer:
    if provider is None:
        words = f"The provider {job.provider!r} is no longer configured. Configure it again."
        return failed(job, Fault("endpoint_not_found", words))
    if job.attempts >= policy.MAX_CREATE_TRIES:
        return move_on(services, job, job.fault) or failed(job, job.fault)
    return wait_until(services, job, job.next_attempt_at or services.now())
