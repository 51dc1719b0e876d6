"""A cancelled job's task is taken back: deleted at the provider, so that nothing of it runs or is kept there.

1. A job of which nothing was sent has no task. One whose POST nobody heard the end of is looked for first, as ever.
2. The task is claimed before it is deleted: it may be a twin's.
3. Some providers delete only what has ended: come again until then, or until it expires there by itself.
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
from reelkeeper.providers.base import Provider
from reelkeeper.reconciliation import UNASKABLE, MovedOn, seek
from reelkeeper.services import Services
from reelkeeper.steps import STOP, Answer, changed, claim, grace_of, watched

log = logging.getLogger(__name__)

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
    provider, now = services.provider_of(job), services.now()
    if now >= _end(services, job):
        return job, MAY_BE_CHARGED
    if provider is None:
        log.warning("job %s: its task is at %s, which is not configured any more", job.job_id, job.place)
        raise _Later(now + policy.PARKED_LOOK)
    if not provider.lists and job.task_id is None:
        return job, MAY_BE_CHARGED
    if job.task_id is None:
        return _sought(services, provider, job)
    if not claim(services, job):
        raise _Later(now + grace_of(services, job))
    return job, _deleted(services, provider, job)


def _sought(services: Services, provider: Provider, job: Job) -> tuple[Job, str | None]:
    ready = ledger.reconcile_at(job, provider.grace)
    if services.now() < ready:
        raise _Later(ready)
    try:
        found = seek(services, provider, job)
    except ProviderError as error:
        if error.fault.code in UNASKABLE:
            raise _Later(_pause(services, job, error, unclear=True)) from None
        return job, MAY_BE_CHARGED
    return (found, _deleted(services, provider, found)) if found else (job, None)


def _deleted(services: Services, provider: Provider, job: Job) -> str | None:
    """Delete the claimed task. Returns a warning where that is not possible, and raises _Later where not yet."""
    task_id = job.task_id or ""
    try:
        provider.cancel(task_id)
    except ProviderError as error:
        code = error.fault.code
        log.info("job %s: its task cannot be deleted now: %s", job.job_id, code)
        if code == "endpoint_not_found" or (code == "invalid_request" and _has_ended(provider, task_id)):
            return MAY_BE_CHARGED
        raise _Later(_pause(services, job, error, unclear=code != "invalid_request")) from None
    return None if provider.lists else MAY_BE_CHARGED


def _has_ended(provider: Provider, task_id: str) -> bool:
    try:
        return provider.look(task_id).state not in ("queued", "running")
    except ProviderError as error:
        return error.fault.code == "task_lost"


def _pause(services: Services, job: Job, error: ProviderError, *, unclear: bool) -> datetime:
    now = services.now()
    elapsed = (now - (job.finished_at or now)).total_seconds()
    interval = policy.poll_interval(elapsed, error.retry_after)
    return now + timedelta(seconds=max(interval, policy.UNCLEAR_PAUSE if unclear else 0.0))


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
