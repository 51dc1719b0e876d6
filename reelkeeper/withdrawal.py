"""A cancelled job's task is taken back: deleted at the provider, so that nothing of it runs or is kept there.

1. A job of which nothing was sent has no task. One whose POST nobody heard the end of is looked for first, as ever.
2. The task is claimed before it is deleted: it may be a twin's.
3. Some providers delete only what has ended, or nothing: come again until it has ended, or expires by itself. The job
   holds its place at the gate as long.
4. What was stored of it goes as well. Then the books are closed.

The record is cancelled from the start. Whoever finds it withdrawing (its own orchestration, or the sweep's) goes on.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from reelkeeper import ledger, names, policy
from reelkeeper.closing import close_books
from reelkeeper.errors import ProviderError
from reelkeeper.model import Job
from reelkeeper.parts import IMAGES
from reelkeeper.providers.base import Provider
from reelkeeper.reconciliation import UNASKABLE, MovedOn, seek
from reelkeeper.services import Services
from reelkeeper.steps import STOP, Answer, changed, claim, grace_of, watched

log = logging.getLogger(__name__)

GIVE_UP = timedelta(minutes=10)
"""How long after the cancel the delete of an ended task is tried."""

NEVER = frozenset({"invalid_request", "endpoint_not_found"})
"""Refusals of a delete that time does not heal, once the task has ended."""

RUNS, ENDED, GONE, UNCLEAR = "runs", "ended", "gone", "unclear"

MAY_BE_CHARGED = "The provider could not be told to stop it in time, so it may charge for it."


class _Later(Exception):
    """Not now: `again_at` is when it makes sense."""

    def __init__(self, again_at: datetime) -> None:
        self.again_at = again_at


def withdraw(services: Services, job: Job) -> float | None:
    """Try once. Returns after how many seconds to try again; None when it is over. Raises when our storage fails."""
    if not job.withdrawing:
        return None
    try:
        seen, warning = _stopped(services, job)
    except MovedOn:
        return 0.0
    except _Later as later:
        return _again(services, job, later.again_at)
    services.clips.delete_all(names.job_prefix(job.owner, job.kind, job.job_id))
    after = changed(services, job, lambda current: ledger.withdrawn(current, seen, services.now(), warning))
    if after is None:
        return None
    if after.withdrawing:
        return 0.0  # its POST was answered in this moment
    close_books(services, after)
    log.info("job %s: cancelled%s", job.job_id, " and its task withdrawn" if seen.task_id and not warning else "")
    return None


def go_on_withdrawing(services: Services, job: Job) -> Answer:
    """The same as the answer of a step."""
    seconds = withdraw(services, job)
    return STOP if seconds is None else {"next": "wait", "seconds": seconds}


def _stopped(services: Services, job: Job) -> tuple[Job, str | None]:
    """The job, with its task if one was found, once nothing of it runs any more; and what its owner should know."""
    if job.task_id is None and job.submit_run is None:
        return job, None
    try:
        if job.task_id is None:
            return _sought(services, job)
        if claim(services, job):
            return job, _deleted(services, job)
        raise _Later(services.now() + grace_of(services, job))
    except _Later:
        if services.now() < _end(services, job):
            raise
        return job, MAY_BE_CHARGED


def _sought(services: Services, job: Job) -> tuple[Job, str | None]:
    """Look for the task of a POST whose answer is not known, once that must be over."""
    ready = ledger.reconcile_at(job, grace_of(services, job))
    if services.now() < ready:
        raise _Later(ready)
    provider = services.provider_of(job)
    if job.kind == IMAGES or (provider and not provider.lists):
        return job, MAY_BE_CHARGED
    if provider is None:
        raise _gone(services, job)
    try:
        found = seek(services, provider, job)
    except ProviderError as error:
        if error.fault.code in UNASKABLE:
            raise _Later(_pause(services, job, error)) from None
        return job, MAY_BE_CHARGED
    return (found, _deleted(services, found)) if found else (job, None)


def _deleted(services: Services, job: Job) -> str | None:
    """Delete the claimed task. Returns a warning where that is impossible, and raises _Later as long as it may run."""
    provider, task_id = services.provider_of(job), job.task_id or ""
    if job.kind == IMAGES or (provider and not provider.lists):
        return MAY_BE_CHARGED
    if provider is None:
        raise _gone(services, job)
    refusal = _refusal(provider, task_id)
    state = _state(provider, task_id)
    if refusal and state == ENDED:
        refusal = _refusal(provider, task_id)  # it may have ended since, and now it can be deleted
    if state == GONE or (refusal is None and state != RUNS):
        return None
    code = refusal.fault.code if refusal else "it runs on"
    log.info("job %s: its task is not deleted yet: %s", job.job_id, code)
    refused_long = services.now() - (job.finished_at or services.now()) > GIVE_UP
    if state == ENDED and (code in NEVER or refused_long):
        return MAY_BE_CHARGED
    raise _Later(_pause(services, job, refusal))


def _refusal(provider: Provider, task_id: str) -> ProviderError | None:
    try:
        provider.cancel(task_id)
    except ProviderError as error:
        return error
    return None


def _state(provider: Provider, task_id: str) -> str:
    try:
        return RUNS if provider.look(task_id).state in ("queued", "running") else ENDED
    except ProviderError as error:
        return GONE if error.fault.code == "task_lost" else UNCLEAR


def _gone(services: Services, job: Job) -> _Later:
    log.warning("job %s: its task is at %s, which is not configured any more", job.job_id, job.place)
    return _Later(services.now() + policy.PARKED_LOOK)


def _pause(services: Services, job: Job, error: ProviderError | None) -> datetime:
    """As a watch does it; not sooner than some seconds where the provider is in trouble."""
    now = services.now()
    elapsed = (now - (job.finished_at or now)).total_seconds()
    trouble = error is not None and error.fault.code not in NEVER
    interval = policy.poll_interval(elapsed, error.retry_after if error else None)
    return now + timedelta(seconds=max(interval, policy.UNCLEAR_PAUSE if trouble else 0.0))


def _again(services: Services, job: Job, again_at: datetime) -> float:
    now = services.now()
    changed(services, job, lambda current: ledger.later(current, now, again_at))
    watched(services, job, again_at)
    return max((again_at - now).total_seconds(), 0.0)


def _end(services: Services, job: Job) -> datetime:
    """When the provider has deleted it by itself; or, while no task is known, when its list proves nothing more."""
    if job.task_id is None:
        return ledger.since(job) + ledger.LIST_PROVES
    return policy.kept_until(job.expires_at, job.generating_since or ledger.since(job), services.settings.deadline)
