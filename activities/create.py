"""create: submit the job to its provider, once.

1. A job that has a task already answers with it; a finished one stops the orchestration.
2. The record says `submitting` before the POST and holds the task's id right after it.
3. A refusal is an answer: wait and come again, or settle as failed.

Between the POST and the write of the task's id a crash loses the id; a run that finds `submitting` posts again, but
never more often than a refused create is tried.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from reelkeeper import model, policy
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import Job, Task
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services

log = logging.getLogger(__name__)

RETRIED = frozenset({"rate_limited", "too_many_running", "provider_error"})
FREE = frozenset({"rate_limited", "too_many_running"})
"""Refusals that cost no attempt: nothing is wrong with the job, it has to wait its turn."""


def create_task(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id}`` -> what comes next:

    ``{next: "watch"}`` | ``{next: "keep", outputs: n}`` | ``{next: "wait", seconds: s}`` | ``{next: "stop"}`` |
    ``{next: "settle", status, fault}``. Raises when our own storage fails: try again.
    """
    owner, job_id = work["owner"], work["job_id"]
    job = services.jobs.get(owner, job_id)
    if job is None or job.finished:
        return {"next": "stop"}
    services.watchdog.watch(Watch(job_id, owner, job.kind, services.now() + policy.STEP_GRACE, job.expires_at))
    job = change(services.jobs, owner, job_id, lambda job: _begin(job, services))
    if job is None or job.finished:
        return {"next": "stop"}
    if job.outputs:
        return {"next": "keep", "outputs": len(job.outputs)}
    if job.task_id:
        return {"next": "watch"}
    provider = services.providers.get(job.provider)
    if provider is None:
        words = f"The provider {job.provider!r} is no longer configured. Configure it again."
        return _failed(Fault("endpoint_not_found", words))
    if job.attempts > policy.MAX_CREATE_TRIES:
        return _failed(job.fault or Fault("provider_error", "The work on it broke off each time it was submitted."))
    try:
        task = provider.submit(job.request)
    except ProviderError as error:
        return _answer_refusal(services, job, error)
    # before the write: should that fail, the log is the only place that still knows the paid task
    log.info("job %s: task %s created at %s", job_id, task.task_id, job.provider)
    job = change(services.jobs, owner, job_id, lambda job: _submitted(job, task, provider.place, services))
    if job is not None and job.task_id != task.task_id:
        log.warning("job %s: goes on with task %s; task %s is a second one", job_id, job.task_id, task.task_id)
    return {"next": "watch"}


def _begin(job: Job, services: Services) -> Job | None:
    now = services.now()
    if job.status == model.DOWNLOAD_FAILED:
        return job.to(model.DOWNLOADING, now, stage="downloading", next_attempt_at=None)
    if job.finished or job.task_id:
        return None
    return job.to(
        model.SUBMITTING, now, stage="submitting", submitting_since=now, attempts=job.attempts + 1, next_attempt_at=None
    )


def _submitted(job: Job, task: Task, place: str, services: Services) -> Job | None:
    if job.task_id:
        return None
    now = services.now()
    # by way of submitting: a second run of this step may have put the job back into the queue meanwhile
    return job.to(model.SUBMITTING, now).to(
        model.GENERATING,
        now,
        stage=task.stage,
        task_id=task.task_id,
        place=place,
        creates=job.creates + 1,
        attempts=0,
        generating_since=now,
        expires_at=task.expires_at,
        next_attempt_at=None,
        fault=None,
    )


def _answer_refusal(services: Services, job: Job, error: ProviderError) -> dict[str, Any]:
    code, now = error.fault.code, services.now()
    attempts = job.attempts - 1 if code in FREE else job.attempts
    too_late = now - job.created_at > services.settings.deadline
    log.warning("job %s: create refused: %s (HTTP %s)", job.job_id, code, error.fault.provider_status)
    if code not in RETRIED or attempts >= policy.MAX_CREATE_TRIES or too_late:
        current = services.jobs.get(job.owner, job.job_id)
        # a second run of this step may have been accepted meanwhile: its task is paid for
        return {"next": "watch"} if current and current.task_id else _failed(error.fault)
    seconds = policy.create_wait(code, max(attempts, 1), error.retry_after)
    again_at = now + timedelta(seconds=seconds)

    def wait(job: Job) -> Job | None:
        if job.status != model.SUBMITTING:
            return None
        waiting = {"stage": "waiting", "attempts": attempts, "next_attempt_at": again_at, "fault": error.fault}
        return job.to(model.QUEUED, now, **waiting)

    change(services.jobs, job.owner, job.job_id, wait)
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, again_at + policy.STEP_GRACE))
    return {"next": "wait", "seconds": seconds}


def _failed(fault: Fault) -> dict[str, Any]:
    return {"next": "settle", "status": model.FAILED, "fault": fault.to_dict()}
