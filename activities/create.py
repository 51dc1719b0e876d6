"""create: submit the job to its provider, at most once. What the record goes through is told in `reelkeeper.ledger`.

1. A job that has a task already answers with it; a finished one stops the orchestration.
2. The record says `submitting`, since when, where and by which run, before the POST. Only that run may POST.
3. The answer's task id is written down, then claimed for the job. Only then it may be watched.
4. A run that finds `submitting` without an id does not POST: it waits until that POST must be over, and reconciles.
5. A refusal is an answer: wait and come again, or settle as failed. A lost answer is case 4.
6. An answer that holds the outputs themselves puts them into storage on the way; reconciling finds them there.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from reelkeeper import ledger, model, policy
from reelkeeper.arrivals import Arrivals
from reelkeeper.clips.base import MissingBlob
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.fallback import MOVING, takes_over
from reelkeeper.model import Job, Task
from reelkeeper.parts import IMAGES
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services

log = logging.getLogger(__name__)

Answer = dict[str, Any]

RETRIED = frozenset({"rate_limited", "too_many_running", "provider_error"})
FREE = frozenset({"rate_limited", "too_many_running"})
"""Refusals that cost no attempt: nothing is wrong with the job, it has to wait its turn."""

MOST_BLIND = 2
"""Creates of unknown outcome that one job may have where the operator allows to repeat them."""

UNASKABLE = frozenset({"provider_error", "rate_limited", "too_many_running", "invalid_credentials"})
"""Why a list cannot be had just now; any other refusal means that this provider has no usable list."""


def create_task(services: Services, work: dict[str, Any]) -> Answer:
    """``{owner, job_id}`` -> what comes next:

    ``{next: "watch"}`` | ``{next: "keep", outputs: n}`` | ``{next: "wait", seconds: s}`` | ``{next: "stop"}`` |
    ``{next: "settle", status, fault}``. Raises when our own storage fails: try again.
    """
    owner, job_id, run = work["owner"], work["job_id"], secrets.token_hex(8)
    job = services.jobs.get(owner, job_id)
    if job is None or job.finished:
        return {"next": "stop"}
    provider = services.providers.get(job.provider)
    _watch(services, job, services.now())
    if provider and job.status in ledger.WAITING and provider.terms.retired(services.now()):
        fault = Fault("model_retired", f"The provider {provider.name!r} retired after {provider.terms.retires_on}.")
        if moved := _move_on(services, job, fault):
            return moved
    name, place = job.provider, provider.place if provider else None
    job = change(services.jobs, owner, job_id, lambda job: _begin(job, run, name, place, services.now()))
    if job is None or job.finished:
        return {"next": "stop"}
    if job.provider != name:
        return _look_again()
    if job.status in ledger.WAITING:
        return _not_begun(services, provider, job)
    if job.status == model.SUBMITTING and job.task_id:
        return _hold(services, job)
    if job.outputs:
        return {"next": "keep", "outputs": len(job.outputs)}
    if job.task_id:
        return {"next": "watch"}
    if job.stage == ledger.REFUSED:
        return _failed(job.fault)
    if provider is None or job.submit_run != run:
        return _reconcile(services, job)
    return _submit(services, provider, job)


def _begin(job: Job, run: str, provider: str, place: str | None, now: datetime) -> Job | None:
    if job.provider != provider:
        return None
    if job.status == model.DOWNLOAD_FAILED:
        return job.to(model.DOWNLOADING, now, stage="downloading", next_attempt_at=None)
    return ledger.begun(job, run, place, now)


def _not_begun(services: Services, provider: Provider | None, job: Job) -> Answer:
    if provider is None:
        words = f"The provider {job.provider!r} is no longer configured. Configure it again."
        return _failed(Fault("endpoint_not_found", words))
    if job.attempts >= policy.MAX_CREATE_TRIES:
        return _move_on(services, job, job.fault) or _failed(job.fault)
    return _wait_until(services, job, job.next_attempt_at or services.now())


def _submit(services: Services, provider: Provider, job: Job) -> Answer:
    arrivals, image = Arrivals(services.clips, job), job.request.input_image
    try:
        picture = services.clips.read(image.path) if image else None
    except MissingBlob:
        words = "The picture that the video starts from is not in storage any more. Submit the job again."
        return _answer_refusal(services, job, ProviderError(Fault("invalid_request", words)))
    except Exception:
        _queue(services, job, 0.0, job.attempts - 1, job.fault)  # nothing was sent
        raise
    if not ledger.may_post(job, services.now(), provider.grace):
        # this process was asleep between the write and here: others may soon take the POST for over
        return _queue(services, job, policy.create_wait("provider_error", 1, None), job.attempts - 1, job.fault)
    if not provider.lists:  # its answer is the pictures themselves, and may take as long as the grace period allows
        _watch(services, job, services.now() + provider.grace)
    try:
        task = provider.submit(job.request, arrivals.receive, picture)
        task = replace(task, task_id=task.task_id or arrivals.task_id)
    except ProviderError as error:
        if error.outcome_unknown:
            return _answer_lost(services, provider, job, error)
        return _answer_refusal(services, job, error)
    # before the writes: should they fail, the log names the paid task
    log.info("job %s: task %s created at %s", job.job_id, task.task_id, job.provider)
    now, deadline = services.now(), services.settings.deadline
    after = _change(services, job, lambda current: ledger.named(current, task, provider.place, now, deadline))
    if after is None or after.task_id != task.task_id:
        return _leave(job, after, task)
    return _hold(services, after)


def _hold(services: Services, job: Job) -> Answer:
    """Claim the task that the record names, and go on to watch it."""
    if _claim(services, job):
        return _watch_task(services, job)
    return _wait_until(services, job, services.now() + _grace(services, services.providers.get(job.provider)))


def _claim(services: Services, job: Job) -> bool:
    """Whether the named task is this job's; a twin with the same prompt that missed its own may have found it first."""
    holder, now = ledger.holder(job), services.now()
    if services.claims.claim(job.place or "", job.task_id or "", holder) == holder:
        return True
    log.info("job %s: task %s belongs to another job with the same prompt", job.job_id, job.task_id)
    again_at = now + _grace(services, services.providers.get(job.provider))
    _change(services, job, lambda current: ledger.dismissed(current, job, now, again_at))
    return False


def _watch_task(services: Services, job: Job) -> Answer:
    now = services.now()
    after = _change(services, job, lambda current: ledger.held(current, job, now))
    if after is None or after.task_id != job.task_id:
        return _look_again()
    return {"next": "keep", "outputs": len(after.outputs)} if after.outputs else {"next": "watch"}


def _answer_lost(services: Services, provider: Provider, job: Job, error: ProviderError) -> Answer:
    """The POST may or may not have made a task, and the provider may take its time to list it: reconcile later.

    Without a list there is nothing to wait for: what has arrived is all that will be known.
    """
    where = "asking the provider later" if provider.lists else "what has arrived is in storage"
    log.warning("job %s: the outcome of its create is not known; %s", job.job_id, where)
    now = services.now()
    again_at = now + provider.grace if provider.lists else now
    _change(services, job, lambda current: ledger.lost(current, job, now, again_at, error.fault))
    return _wait_until(services, job, again_at)


def _answer_refusal(services: Services, job: Job, error: ProviderError) -> Answer:
    code, now = error.fault.code, services.now()
    attempts = job.attempts - 1 if code in FREE else job.attempts
    too_late = now - job.created_at > services.settings.deadline
    log.warning("job %s: create refused: %s (HTTP %s)", job.job_id, code, error.fault.provider_status)
    if code in RETRIED and attempts < policy.MAX_CREATE_TRIES and not too_late:
        seconds = policy.create_wait(code, max(attempts, 1), error.retry_after)
        return _queue(services, job, seconds, attempts, error.fault)
    if (code in MOVING or code == "provider_error") and (moved := _move_on(services, job, error.fault)):
        return moved
    after = _change(services, job, lambda current: ledger.refused(current, job, now, error.fault))
    if after and after.submit_run == job.submit_run and after.stage == ledger.REFUSED:
        return _failed(error.fault)
    return _look_again()


def _move_on(services: Services, job: Job, fault: Fault | None) -> Answer | None:
    """Let another provider take the job over, if one is named that can."""
    now = services.now()
    other = takes_over(services, job, now)
    if other is None:
        return None
    name, model_name, reason = other.name, other.model, fault.code if fault else "no answer"
    log.warning("job %s: %s cannot take it (%s); going on to %s", job.job_id, job.provider, reason, name)
    _change(services, job, lambda current: ledger.moved(current, job, name, model_name, now, fault))
    return _look_again()


def _reconcile(services: Services, job: Job) -> Answer:
    """An earlier run may have POSTed and not lived to write the task down: ask the provider what it has."""
    provider = services.provider_of(job)
    ready = ledger.reconcile_at(job, _grace(services, provider))
    if services.now() < ready:
        return _wait_until(services, job, ready)
    if job.kind == IMAGES and (arrived := _arrived(services, job)):
        return arrived
    if provider is None:
        words = f"It may be at {job.place or job.provider!r}, which is not configured any more. Configure it again."
        return _unaskable(services, job, ProviderError(Fault("provider_error", words)))
    try:
        tasks = provider.find(job.request, ledger.since(job) - policy.CLOCK_SKEW)
    except ProviderError as error:
        log.warning("job %s: the provider cannot be asked for its task: %s", job.job_id, error.fault.code)
        return _unaskable(services, job, error) if error.fault.code in UNASKABLE else _park(services, job)
    for task in tasks:
        named = _find(services, job, task, provider.place)
        if named is None:
            return _look_again()
        if _claim(services, named):
            log.info("job %s: found its task %s at the provider", job.job_id, task.task_id)
            return _watch_task(services, named)
    if services.now() - ledger.since(job) > ledger.LIST_PROVES:
        return _park(services, job)
    if not provider.lists and job.attempts >= MOST_BLIND:
        return _park(services, job)
    log.info("job %s: the provider has no task of it; submitting again", job.job_id)
    fault = None if job.status == model.SUBMIT_UNKNOWN else job.fault
    return _queue(services, job, 0.0, job.attempts, fault)


def _arrived(services: Services, job: Job) -> Answer | None:
    """Go on with the outputs that came with the answer of a run that did not live to write them down, if any did."""
    arrivals = Arrivals(services.clips, job)
    outputs = arrivals.found()
    if not outputs:
        return None
    log.info("job %s: %d output(s) of its create are in storage already", job.job_id, len(outputs))
    task = Task(arrivals.task_id, "succeeded", "succeeded", ledger.since(job), outputs=outputs)
    named = _find(services, job, task, job.place or "")
    return _hold(services, named) if named else _look_again()


def _find(services: Services, job: Job, task: Task, place: str) -> Job | None:
    """Write a task that was found down, to be claimed; None when the record is about something else by now."""
    now, deadline = services.now(), services.settings.deadline
    after = _change(services, job, lambda current: ledger.found(current, job, task, place, now, deadline))
    return after if after and after.task_id == task.task_id else None


def _leave(job: Job, after: Job | None, task: Task) -> Answer:
    """The job cannot use the task, which is paid for: say so where a person looks."""
    state = "deleted" if after is None else f"{after.status} with task {after.task_id}"
    log.error("job %s: is %s by now; its task %s at %s is left over", job.job_id, state, task.task_id, job.provider)
    return _look_again()


def _queue(services: Services, job: Job, seconds: float, attempts: int, fault: Fault | None) -> Answer:
    now = services.now()
    again_at = now + timedelta(seconds=seconds)
    _change(services, job, lambda current: ledger.queued(current, job, now, again_at, attempts, fault))
    _watch(services, job, again_at)
    return {"next": "wait", "seconds": seconds}


def _unaskable(services: Services, job: Job, error: ProviderError) -> Answer:
    """The provider does not answer the question now: ask on for as long as its answer would prove anything."""
    now = services.now()
    waited = now - ledger.since(job)
    if waited > ledger.LIST_PROVES or job.status == model.SUBMIT_UNKNOWN:
        return _park(services, job)
    _change(services, job, lambda current: ledger.troubled(current, job, now, error.fault))
    seconds = policy.unclear_poll_interval(waited.total_seconds(), 1, error.retry_after)
    return _wait_until(services, job, now + timedelta(seconds=seconds))


def _park(services: Services, job: Job) -> Answer:
    now = services.now()
    again_at = now + policy.PARKED_LOOK
    after = _change(services, job, lambda current: ledger.parked(current, job, now, again_at))
    if after is None or after.status != model.SUBMIT_UNKNOWN:
        return _look_again()
    log.error("job %s: whether it was submitted is not known and cannot be asked; parked", job.job_id)
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, again_at))
    return {"next": "stop"}


def _grace(services: Services, provider: Provider | None) -> timedelta:
    return provider.grace if provider else services.settings.submit_grace


def _change(services: Services, job: Job, step: Callable[[Job], Job | None]) -> Job | None:
    return change(services.jobs, job.owner, job.job_id, step)


def _wait_until(services: Services, job: Job, moment: datetime) -> Answer:
    _watch(services, job, moment)
    return {"next": "wait", "seconds": max((moment - services.now()).total_seconds(), 0.0)}


def _watch(services: Services, job: Job, moment: datetime) -> None:
    """Let the sweep look when nothing has moved the job some minutes after `moment`."""
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, moment + policy.STEP_GRACE, job.expires_at))


def _look_again() -> Answer:
    """The record moved on meanwhile: the next run sees what it says now."""
    return {"next": "wait", "seconds": 0.0}


def _failed(fault: Fault | None) -> Answer:
    fault = fault or Fault("provider_error", "The work on it broke off each time it was submitted.")
    return {"next": "settle", "status": model.FAILED, "fault": fault.to_dict()}
