"""What became of a POST that nobody heard the end of: look for its task, and adopt it, submit again, or park the job.

1. Nothing is looked for before the POST must be over.
2. Images have no list; what has arrived of them is in storage.
3. A task of the provider's list is written down, then claimed; one that another job holds is passed over.
4. No task in a list that can be relied on: nothing was made. No such list: nobody can tell.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from reelkeeper import ledger, model, policy
from reelkeeper.arrivals import Arrivals
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import Job, Task
from reelkeeper.parts import IMAGES
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import Watch
from reelkeeper.services import Services
from reelkeeper.steps import LOOK_AGAIN, STOP, Answer, changed, claim, grace_of, held, hold, queue, wait_until

log = logging.getLogger(__name__)

MOST_BLIND = 2
"""Creates of unknown outcome that one job may have where the operator allows to repeat them."""

UNASKABLE = frozenset({"provider_error", "rate_limited", "too_many_running", "invalid_credentials"})
"""Why a list cannot be had just now; any other refusal means that this provider has no usable list."""


TOO_NEW = timedelta(hours=1)
"""No POST, and no clock, is late by as much: a task that is younger by more is somebody else's."""


class MovedOn(Exception):
    """The record is about something else by now."""


def reconcile(services: Services, job: Job) -> Answer:
    """An earlier run may have POSTed and not lived to write the task down."""
    ready = ledger.reconcile_at(job, grace_of(services, job))
    if services.now() < ready:
        return wait_until(services, job, ready)
    try:
        if job.kind == IMAGES and (arrived := _arrived(services, job)):
            return hold(services, arrived)
        provider = services.provider_of(job)
        if provider is None:
            words = f"It may be at {job.place or job.provider!r}, which is not configured any more. Configure it again."
            return _unaskable(services, job, ProviderError(Fault("provider_error", words)))
        found = seek(services, provider, job)
    except MovedOn:
        return LOOK_AGAIN
    except ProviderError as error:
        log.warning("job %s: the provider cannot be asked for its task: %s", job.job_id, error.fault.code)
        return _unaskable(services, job, error) if error.fault.code in UNASKABLE else _park(services, job)
    if found:
        return held(services, found)
    too_late = services.now() - ledger.since(job) > ledger.LIST_PROVES
    if too_late or (not provider.lists and job.attempts >= MOST_BLIND):
        return _park(services, job)
    log.info("job %s: the provider has no task of it; submitting again", job.job_id)
    fault = None if job.status == model.SUBMIT_UNKNOWN else job.fault
    return queue(services, job, 0.0, job.attempts, fault)


def seek(services: Services, provider: Provider, job: Job) -> Job | None:
    """The job with its task of the provider's list, named and claimed; None when it has none there.

    Raises ProviderError where the list cannot be had, and MovedOn.
    """
    for task in provider.find(job.request, ledger.since(job) - policy.CLOCK_SKEW):
        if job.withdrawing and task.created_at > ledger.since(job) + TOO_NEW:
            continue  # what is to be deleted must be its own
        named = _found(services, job, task, provider.place)
        if claim(services, named):
            log.info("job %s: found its task %s at the provider", job.job_id, task.task_id)
            return named
    return None


def _arrived(services: Services, job: Job) -> Job | None:
    """The job with the outputs that came with the answer of a run that did not live to write them down, if any did."""
    arrivals = Arrivals(services.clips, job)
    outputs = arrivals.found()
    if not outputs:
        return None
    log.info("job %s: %d output(s) of its create are in storage already", job.job_id, len(outputs))
    task = Task(arrivals.task_id, "succeeded", "succeeded", ledger.since(job), outputs=outputs)
    return _found(services, job, task, job.place or "")


def _found(services: Services, job: Job, task: Task, place: str) -> Job:
    """Write a task that was found down, to be claimed."""
    now, deadline = services.now(), services.settings.deadline
    after = changed(services, job, lambda current: ledger.found(current, job, task, place, now, deadline))
    if after is None or after.task_id != task.task_id:
        raise MovedOn
    return after


def _unaskable(services: Services, job: Job, error: ProviderError) -> Answer:
    """The provider does not answer the question now: ask on for as long as its answer would prove anything."""
    now = services.now()
    waited = now - ledger.since(job)
    if waited > ledger.LIST_PROVES or job.status == model.SUBMIT_UNKNOWN:
        return _park(services, job)
    changed(services, job, lambda current: ledger.troubled(current, job, now, error.fault))
    seconds = policy.unclear_poll_interval(waited.total_seconds(), 1, error.retry_after)
    return wait_until(services, job, now + timedelta(seconds=seconds))


def _park(services: Services, job: Job) -> Answer:
    now = services.now()
    again_at = now + policy.PARKED_LOOK
    after = changed(services, job, lambda current: ledger.parked(current, job, now, again_at))
    if after is None or after.status != model.SUBMIT_UNKNOWN:
        return LOOK_AGAIN
    log.error("job %s: whether it was submitted is not known and cannot be asked; parked", job.job_id)
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, again_at))
    return STOP
