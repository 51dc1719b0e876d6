"""What every step of a submission ends in: the record as it is now, and the answer that tells `render` what comes next.

``{next: "watch"}`` | ``{next: "keep", outputs: n}`` | ``{next: "wait", seconds: s}`` | ``{next: "stop"}`` |
``{next: "settle", status, fault, seen}``, the last as `Job.seen`
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from reelkeeper import ledger, model, policy
from reelkeeper.errors import Fault
from reelkeeper.fallback import adapted, takes_over
from reelkeeper.model import Job
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services

log = logging.getLogger(__name__)

Answer = dict[str, Any]

STOP: Answer = {"next": "stop"}
LOOK_AGAIN: Answer = {"next": "wait", "seconds": 0.0}
"""The record moved on meanwhile: the next run sees what it says now."""


def grace_of(services: Services, job: Job) -> timedelta:
    """How long after a submission began nothing of it can be under way any more."""
    provider = services.provider_of(job)
    return provider.grace if provider else services.settings.submit_grace


def changed(services: Services, job: Job, step: Callable[[Job], Job | None]) -> Job | None:
    """The job after a step of the ledger, as it then is; None when it is gone."""
    return change(services.jobs, job.owner, job.job_id, step)


def watched(services: Services, job: Job, moment: datetime) -> None:
    """Let the sweep look when nothing has moved the job some minutes after `moment`."""
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, moment + policy.STEP_GRACE, job.expires_at))


def wait_until(services: Services, job: Job, moment: datetime) -> Answer:
    watched(services, job, moment)
    return {"next": "wait", "seconds": max((moment - services.now()).total_seconds(), 0.0)}


def queue(services: Services, job: Job, seconds: float, attempts: int, fault: Fault | None) -> Answer:
    """Nothing was made: begin anew in `seconds`."""
    now = services.now()
    again_at = now + timedelta(seconds=seconds)
    changed(services, job, lambda current: ledger.queued(current, job, now, again_at, attempts, fault))
    return wait_until(services, job, again_at)


def failed(job: Job, fault: Fault | None) -> Answer:
    fault = fault or Fault("provider_error", "The work on it broke off each time it was submitted.")
    return {"next": "settle", "status": model.FAILED, "fault": fault.to_dict(), "seen": job.seen}


def go_on(job: Job) -> Answer:
    """A job that holds its task: watch it, or keep what it has made."""
    return {"next": "keep", "outputs": len(job.outputs)} if job.outputs else {"next": "watch"}


def hold(services: Services, job: Job) -> Answer:
    """Claim the task that the record names, and go on with it."""
    if claim(services, job):
        return held(services, job)
    return wait_until(services, job, services.now() + grace_of(services, job))


def claim(services: Services, job: Job) -> bool:
    """Whether the named task is this job's; a twin with the same prompt that missed its own may have found it first."""
    holder, now = ledger.holder(job), services.now()
    if services.claims.claim(job.place or "", job.task_id or "", holder) == holder:
        return True
    log.info("job %s: task %s belongs to another job with the same prompt", job.job_id, job.task_id)
    again_at = now + grace_of(services, job)
    changed(services, job, lambda current: ledger.dismissed(current, job, now, again_at))
    return False


def held(services: Services, job: Job) -> Answer:
    """Go on with the task that is named and claimed."""
    now = services.now()
    after = changed(services, job, lambda current: ledger.held(current, job, now))
    return go_on(after) if after and after.task_id == job.task_id and not after.finished else LOOK_AGAIN


def move_on(services: Services, job: Job, fault: Fault | None) -> Answer | None:
    """Let another provider take the job over, if one is named that can. If none of those named can, the end says why.

    None: nobody is named, or the job may still be tried here.
    """
    now = services.now()
    other, why = takes_over(services, job, now)
    if other is None:
        return _not_taken(services, job, replace(fault, message=f"{fault.message} {why}")) if fault and why else None
    name, request, reason = other.name, adapted(job.request, other), fault.code if fault else "no answer"
    log.warning("job %s: %s cannot take it (%s); going on to %s", job.job_id, job.provider, reason, name)
    changed(services, job, lambda current: ledger.moved(current, job, name, request, now, fault))
    return LOOK_AGAIN


def _not_taken(services: Services, job: Job, fault: Fault) -> Answer | None:
    if job.status != model.SUBMITTING:
        return failed(job, fault) if job.attempts >= policy.MAX_CREATE_TRIES else None
    now = services.now()
    changed(services, job, lambda current: ledger.refused(current, job, now, fault))
    return LOOK_AGAIN
