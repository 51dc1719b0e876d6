"""create: submit the job to its provider, at most once.

1. A job that has a task already answers with it; a finished one stops the orchestration.
2. The record says `submitting`, since when and by which run, before the POST. Only that run may POST.
3. The answer's task is claimed for the job, then its id is written into the record.
4. A run that finds `submitting` without an id does not POST: it waits until that POST must be over, and reconciles.
5. A refusal is an answer: wait and come again, or settle as failed. A lost answer is case 4.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any

from reelkeeper import model, policy
from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.model import Job, Task
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services

log = logging.getLogger(__name__)

RETRIED = frozenset({"rate_limited", "too_many_running", "provider_error"})
FREE = frozenset({"rate_limited", "too_many_running"})
"""Refusals that cost no attempt: nothing is wrong with the job, it has to wait its turn."""

UNASKABLE = frozenset({"provider_error", "rate_limited", "too_many_running", "invalid_credentials"})
"""Why a list cannot be had just now; any other refusal means that this provider has no usable list."""


def create_task(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id}`` -> what comes next:

    ``{next: "watch"}`` | ``{next: "keep", outputs: n}`` | ``{next: "wait", seconds: s}`` | ``{next: "stop"}`` |
    ``{next: "settle", status, fault}``. Raises when our own storage fails: try again.
    """
    owner, job_id, run = work["owner"], work["job_id"], secrets.token_hex(8)
    job = services.jobs.get(owner, job_id)
    if job is None or job.finished:
        return {"next": "stop"}
    _watch(services, job, services.now())
    job = change(services.jobs, owner, job_id, lambda job: _begin(job, run, services.now()))
    if job is None or job.finished:
        return {"next": "stop"}
    if job.outputs:
        return {"next": "keep", "outputs": len(job.outputs)}
    if job.task_id:
        return {"next": "watch"}
    provider = services.providers.get(job.provider)
    if job.submit_run != run:
        return _reconcile(services, provider, job)
    if provider is None:
        words = f"The provider {job.provider!r} is no longer configured. Configure it again."
        return _failed(Fault("endpoint_not_found", words))
    if job.attempts > policy.MAX_CREATE_TRIES:
        return _failed(job.fault or Fault("provider_error", "The work on it broke off each time it was submitted."))
    if services.now() > _since(job) + services.settings.submit_grace / 4:
        # this process was asleep between the write and here: others may soon take the POST for over
        return _wait_for_grace(services, job)
    try:
        task = provider.submit(job.request)
    except ProviderError as error:
        if error.outcome_unknown:
            return _answer_lost(services, job, error.fault)
        return _answer_refusal(services, job, error)
    # before the writes: should they fail, the log names the paid task
    log.info("job %s: task %s created at %s", job_id, task.task_id, job.provider)
    return _adopt(services, provider, job, task) or _answer_lost(services, job, job.fault)


def _begin(job: Job, run: str, now: datetime) -> Job | None:
    if job.status == model.DOWNLOAD_FAILED:
        return job.to(model.DOWNLOADING, now, stage="downloading", next_attempt_at=None)
    if job.status not in (model.PENDING, model.QUEUED):
        return None
    mine = {"submit_run": run, "submitting_since": now, "attempts": job.attempts + 1, "next_attempt_at": None}
    return job.to(model.SUBMITTING, now, stage="submitting", **mine)


def _reconcile(services: Services, provider: Provider | None, job: Job) -> dict[str, Any]:
    """An earlier run may have POSTed and not lived to write the task down: ask the provider what it has.

    Not before the grace period is over: until then that POST may be under way, or its task not listed yet.
    """
    if services.now() < _since(job) + services.settings.submit_grace:
        return _wait_for_grace(services, job)
    if provider is None:
        return _unaskable(services, job, None)
    try:
        tasks = provider.find(job.request, _since(job) - policy.CLOCK_SKEW)
    except ProviderError as error:
        log.warning("job %s: the provider cannot be asked for its task: %s", job.job_id, error.fault.code)
        return _unaskable(services, job, error) if error.fault.code in UNASKABLE else _park(services, job)
    for task in tasks:
        if adopted := _adopt(services, provider, job, task):
            log.info("job %s: found its task %s at the provider", job.job_id, task.task_id)
            return adopted
    return _submit_again(services, job)


def _adopt(services: Services, provider: Provider, job: Job, task: Task) -> dict[str, Any] | None:
    """Make the task this job's own; None when it belongs to another job.

    A twin with the same prompt that lost its own answer may have taken it: then its task, or none, is left for us.
    """
    if services.claims.claim(provider.place, task.task_id, job.job_id) != job.job_id:
        log.info("job %s: task %s belongs to another job with the same prompt", job.job_id, task.task_id)
        return None
    now = services.now()

    def submitted(job: Job) -> Job | None:
        if job.task_id or job.finished:
            return None
        found = {"task_id": task.task_id, "place": provider.place, "creates": job.creates + 1}
        clean = {"attempts": 0, "next_attempt_at": None, "fault": None}
        end = policy.kept_until(task.expires_at, now, services.settings.deadline)
        until = {"generating_since": now, "expires_at": end}
        # by way of submitting: a second run of this step may have put the job back into the queue meanwhile
        return job.to(model.SUBMITTING, now).to(model.GENERATING, now, stage=task.stage, **found, **clean, **until)

    current = change(services.jobs, job.owner, job.job_id, submitted)
    if current is not None and current.task_id != task.task_id:
        log.error("job %s: goes on with task %s; task %s is a second one", job.job_id, current.task_id, task.task_id)
    return {"next": "watch"}


def _answer_lost(services: Services, job: Job, fault: Fault | None) -> dict[str, Any]:
    """The POST may or may not have made a task: leave the POST to nobody and reconcile after the grace period."""
    log.warning("job %s: the outcome of its create is not known; asking the provider later", job.job_id)

    def unknown(current: Job) -> Job | None:
        if current.submit_run != job.submit_run or current.task_id:
            return None
        ready = _since(job) + services.settings.submit_grace
        return current.to(
            current.status, services.now(), stage="reconciling", submit_run=None, next_attempt_at=ready, fault=fault
        )

    change(services.jobs, job.owner, job.job_id, unknown)
    return _wait_for_grace(services, job)


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
    return _queue(services, job, seconds, attempts, error.fault)


def _submit_again(services: Services, job: Job) -> dict[str, Any]:
    """The provider's list does not have the task, so the POST never took effect."""
    log.info("job %s: the provider has no task of it; submitting again", job.job_id)
    return _queue(services, job, 0.0, job.attempts, job.fault)


def _queue(services: Services, job: Job, seconds: float, attempts: int, fault: Fault | None) -> dict[str, Any]:
    now = services.now()
    again_at = now + timedelta(seconds=seconds)

    def waiting(current: Job) -> Job | None:
        if current.submit_run != job.submit_run or current.submitting_since != job.submitting_since:
            return None
        if current.status == model.SUBMIT_UNKNOWN:
            current = current.to(model.SUBMITTING, now)
        if current.status != model.SUBMITTING or current.task_id:
            return None
        rest = {"stage": "waiting", "attempts": attempts, "next_attempt_at": again_at, "fault": fault}
        return current.to(model.QUEUED, now, submit_run=None, **rest)

    change(services.jobs, job.owner, job.job_id, waiting)
    _watch(services, job, again_at)
    return {"next": "wait", "seconds": seconds}


def _wait_for_grace(services: Services, job: Job) -> dict[str, Any]:
    ready = _since(job) + services.settings.submit_grace
    _watch(services, job, ready)
    return {"next": "wait", "seconds": max((ready - services.now()).total_seconds(), 1.0)}


def _unaskable(services: Services, job: Job, error: ProviderError | None) -> dict[str, Any]:
    """The provider does not answer the question now; it keeps its tasks for a day, so ask on for as long."""
    waited = services.now() - _since(job)
    if waited > services.settings.deadline:
        return _park(services, job)
    seconds = policy.unclear_poll_interval(waited.total_seconds(), 1, error.retry_after if error else None)
    _watch(services, job, services.now() + timedelta(seconds=seconds))
    return {"next": "wait", "seconds": seconds}


def _park(services: Services, job: Job) -> dict[str, Any]:
    """Nobody can tell whether the job is paid for: hold it for a person, and ask again now and then."""
    now = services.now()
    again_at = now + policy.PARKED_LOOK

    def parked(current: Job) -> Job | None:
        if current.task_id or current.status not in (model.SUBMITTING, model.SUBMIT_UNKNOWN):
            return None
        fault = Fault("submit_unknown", ADVICE["submit_unknown"])
        return current.to(model.SUBMIT_UNKNOWN, now, stage="parked", next_attempt_at=again_at, fault=fault)

    change(services.jobs, job.owner, job.job_id, parked)
    log.error("job %s: whether it was submitted is not known and cannot be asked; parked", job.job_id)
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, again_at))
    return {"next": "stop"}


def _watch(services: Services, job: Job, moment: datetime) -> None:
    """Let the sweep look when nothing has moved the job some minutes after `moment`."""
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, moment + policy.STEP_GRACE, job.expires_at))


def _since(job: Job) -> datetime:
    return job.submitting_since or job.created_at


def _failed(fault: Fault) -> dict[str, Any]:
    return {"next": "settle", "status": model.FAILED, "fault": fault.to_dict()}
