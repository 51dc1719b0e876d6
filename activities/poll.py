"""poll: look at the job's task once and say what comes next.

A provider that cannot be reached, or that now refuses our key, does not end a job: the task is paid for, so the watch
goes on until the provider's expiry. Only its own word ends it, or five times "unknown task" over two minutes.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from reelkeeper import model, policy
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import Job, Task, from_iso, to_iso
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services
from reelkeeper.withdrawal import withdraw

log = logging.getLogger(__name__)


def poll_task(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, misses?, first_miss?, failures?}`` -> the same with ``next`` and ``seconds`` set:

    ``next`` is "poll" (again in `seconds`), "keep" (with `outputs`: their number), "settle" (`status`, `fault`,
    `seen`), "wait" (the task failed uncharged; create anew in `seconds`) or "stop" (nothing left to do). A job that was
    cancelled meanwhile is withdrawn: "poll" again as long as that takes.

    Raises when our own storage fails.
    """
    owner, job_id = work["owner"], work["job_id"]
    job = services.jobs.get(owner, job_id)
    if job and job.withdrawing:
        return _withdraw(services, job)
    if job is None or job.finished:
        return {"next": "stop"}
    if job.outputs and job.status != model.SUBMITTING:
        return {"next": "keep", "outputs": len(job.outputs)}
    if job.task_id is None or job.status != model.GENERATING:
        # a run of this step that nobody heard of has forgotten the task; the next one is not held for the job yet
        return _wait(services, job)
    provider = services.provider_of(job)
    if provider is None:
        words = f"The task is at {job.place or job.provider!r}, which is not configured any more. Configure it again."
        return _unclear(services, job, work, ProviderError(Fault("provider_error", words)))
    try:
        task = provider.look(job.task_id)
    except ProviderError as error:
        return _unclear(services, job, work, error)
    if task.state == "succeeded" and task.outputs:
        return _succeeded(services, job, task)
    if task.state in ("succeeded", "failed", "cancelled"):
        return _ended(services, job, task)
    return _running(services, job, task)


def _withdraw(services: Services, job: Job) -> dict[str, Any]:
    """Cancelled meanwhile. Its task keeps a place at the provider until it is gone, so the watch lasts as long."""
    seconds = withdraw(services, job)
    return {"next": "stop"} if seconds is None else _once_more(job, seconds)


def _running(services: Services, job: Job, task: Task) -> dict[str, Any]:
    now, end = services.now(), _end(services, job, task)
    if now >= end:
        return _out_of_time(job)
    elapsed = (now - (job.generating_since or job.created_at)).total_seconds()

    def moved(job: Job) -> Job | None:
        told = policy.progress(task.stage, elapsed) if task.progress is None else min(task.progress, 90)
        progress = max(job.progress, told)
        unmoved = (job.stage, job.progress, job.fault) == (task.stage, progress, None)
        if unmoved or not _watches(job, task.task_id):
            return None
        return job.to(job.status, now, stage=task.stage, progress=progress, expires_at=end, fault=None)

    change(services.jobs, job.owner, job.job_id, moved)
    return _again(services, job, policy.poll_interval(elapsed, task.retry_after))


def _unclear(services: Services, job: Job, work: dict[str, Any], error: ProviderError) -> dict[str, Any]:
    now, fault, task_id = services.now(), error.fault, job.task_id
    log.warning("job %s: poll failed: %s (HTTP %s)", job.job_id, fault.code, fault.provider_status)
    misses = failures = 0
    first_miss = from_iso(work.get("first_miss")) or now
    if fault.code == "task_lost":
        misses = work.get("misses", 0) + 1
        if policy.is_lost(misses, first_miss, now):
            return _settle(job, model.FAILED, fault)
    else:
        failures = work.get("failures", 0) + 1
    if now >= _end(services, job):
        return _out_of_time(job)

    def noted(job: Job) -> Job | None:
        return job.to(job.status, now, fault=fault) if _watches(job, task_id) else None

    change(services.jobs, job.owner, job.job_id, noted)
    elapsed = (now - (job.generating_since or job.created_at)).total_seconds()
    again = _again(services, job, policy.unclear_poll_interval(elapsed, misses + failures, error.retry_after))
    return {**again, "misses": misses, "failures": failures} | ({"first_miss": to_iso(first_miss)} if misses else {})


def _succeeded(services: Services, job: Job, task: Task) -> dict[str, Any]:
    def downloading(job: Job) -> Job | None:
        if not _watches(job, task.task_id):
            return None
        found = {"outputs": task.outputs, "expires_at": _end(services, job, task), "attempts": 0, "fault": None}
        return job.to(model.DOWNLOADING, services.now(), stage="downloading", progress=92, **found)

    current = change(services.jobs, job.owner, job.job_id, downloading)
    if current is None or current.finished or not current.outputs:
        return {"next": "stop"}
    log.info("job %s: task succeeded with %d output(s)", job.job_id, len(current.outputs))
    return {"next": "keep", "outputs": len(current.outputs)}


def _ended(services: Services, job: Job, task: Task) -> dict[str, Any]:
    fault = task.fault or Fault("provider_error", "The provider finished the task without any output.")
    log.warning("job %s: task ended as %s: %s", job.job_id, task.state, fault.code)
    if task.state == "failed" and fault.code == "provider_error" and job.creates < policy.MAX_CREATES:
        return _create_anew(services, job, fault)
    status = model.CANCELLED if task.state == "cancelled" else model.FAILED
    status = model.EXPIRED if fault.code == "content_expired" else status
    return _settle(job, status, fault)


def _create_anew(services: Services, job: Job, fault: Fault) -> dict[str, Any]:
    """The provider failed its own task and does not charge for it: forget it and submit again after a pause."""
    now, task_id = services.now(), job.task_id
    seconds = policy.create_wait(fault.code, job.creates, None)

    def queued(job: Job) -> Job | None:
        if not _watches(job, task_id):
            return None
        again_at = now + timedelta(seconds=seconds)
        forgotten = {"task_id": None, "expires_at": None, "generating_since": None, "progress": 0}
        return job.to(model.QUEUED, now, stage="waiting", next_attempt_at=again_at, fault=fault, **forgotten)

    current = change(services.jobs, job.owner, job.job_id, queued)
    return {"next": "stop"} if current is None else _wait(services, current)


def _wait(services: Services, job: Job) -> dict[str, Any]:
    """Until the create that `job` waits for."""
    now = services.now()
    return {"next": "wait", "seconds": max(((job.next_attempt_at or now) - now).total_seconds(), 0.0)}


def _watches(job: Job, task_id: str | None) -> bool:
    """Whether the job still waits for this task: what an older run of this step saw may not touch it otherwise."""
    return job.status == model.GENERATING and job.task_id == task_id


def _end(services: Services, job: Job, task: Task | None = None) -> datetime:
    """When the task is gone from the provider; counted from its creation, the job may have queued for long."""
    said = task.expires_at if task else job.expires_at
    return policy.kept_until(said, job.generating_since or job.created_at, services.settings.deadline)


def _out_of_time(job: Job) -> dict[str, Any]:
    words = "The task was not finished before the provider's time, or ours, was up. Submit the job again."
    return _settle(job, model.EXPIRED, Fault("content_expired", words))


def _settle(job: Job, status: str, fault: Fault) -> dict[str, Any]:
    return {"next": "settle", "status": status, "fault": fault.to_dict(), "seen": job.seen}


def _again(services: Services, job: Job, seconds: float) -> dict[str, Any]:
    due = services.now() + timedelta(seconds=seconds) + policy.STEP_GRACE
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, due, job.expires_at))
    return _once_more(job, seconds)


def _once_more(job: Job, seconds: float) -> dict[str, Any]:
    return {"next": "poll", "seconds": seconds, "owner": job.owner, "job_id": job.job_id}
