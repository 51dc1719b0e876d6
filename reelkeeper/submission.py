"""One POST of a create, made by the run that the record gives the right to it, and what its answer means.

1. The answer's task id is written down, then claimed for the job. Only then it may be watched.
2. A refusal is an answer: wait and come again, move to a fallback, or settle as failed.
3. A lost answer is nobody's refusal: it is reconciled later.
4. An answer that holds the outputs themselves puts them into storage on the way.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from reelkeeper import ledger, policy
from reelkeeper.arrivals import Arrivals
from reelkeeper.clips.base import MissingBlob
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.fallback import MOVING
from reelkeeper.model import Job, Task
from reelkeeper.providers.base import Provider
from reelkeeper.services import Services
from reelkeeper.steps import LOOK_AGAIN, Answer, changed, failed, hold, move_on, queue, wait_until, watched
from reelkeeper.withdrawal import go_on_withdrawing

log = logging.getLogger(__name__)

RETRIED = frozenset({"rate_limited", "too_many_running", "provider_error"})
FREE = frozenset({"rate_limited", "too_many_running"})
"""Refusals that cost no attempt: nothing is wrong with the job, it has to wait its turn."""


def submit(services: Services, provider: Provider, job: Job) -> Answer:
    """`job` as it was begun by this very run. Raises when our own storage fails."""
    arrivals, image = Arrivals(services.clips, job), job.request.input_image
    try:
        picture = services.clips.read(image.path) if image else None
    except MissingBlob:
        words = "The picture that the video starts from is not in storage any more. Submit the job again."
        return _refused(services, job, ProviderError(Fault("invalid_request", words)))
    except Exception:
        queue(services, job, 0.0, job.attempts - 1, job.fault)  # nothing was sent
        raise
    if not ledger.may_post(job, services.now(), provider.grace):
        # this process was asleep between the write and here: others may soon take the POST for over
        return queue(services, job, policy.create_wait("provider_error", 1, None), job.attempts - 1, job.fault)
    if not provider.lists:  # its answer is the pictures themselves, and may take as long as the grace period allows
        watched(services, job, services.now() + provider.grace)
    try:
        task = provider.submit(job.request, arrivals.receive, picture)
        task = replace(task, task_id=task.task_id or arrivals.task_id)
    except ProviderError as error:
        return _lost(services, provider, job, error) if error.outcome_unknown else _refused(services, job, error)
    # before the writes: should they fail, the log names the paid task
    log.info("job %s: task %s created at %s", job.job_id, task.task_id, job.provider)
    return _named(services, provider, job, task)


def _named(services: Services, provider: Provider, job: Job, task: Task) -> Answer:
    now, deadline = services.now(), services.settings.deadline

    def named(current: Job) -> Job | None:
        after = ledger.named(current, task, provider.place, now, deadline)
        if after and after.withdrawing:  # it may have been done with long ago, and its row be gone
            watched(services, after, now)
        return after

    after = changed(services, job, named)
    if after is None or after.task_id != task.task_id:
        # the job cannot use the task, which is paid for: say so where a person looks
        state = "deleted" if after is None else f"{after.status} with task {after.task_id}"
        log.error("job %s: is %s by now; its task %s at %s is left over", job.job_id, state, task.task_id, job.provider)
        return LOOK_AGAIN
    if after.withdrawing:  # cancelled meanwhile
        watched(services, after, now)  # whoever was just closing its books may have taken the row
        return go_on_withdrawing(services, after)
    return hold(services, after)


def _lost(services: Services, provider: Provider, job: Job, error: ProviderError) -> Answer:
    """The POST may or may not have made a task, and the provider may take its time to list it: reconcile later.

    Without a list there is nothing to wait for: what has arrived is all that will be known.
    """
    where = "asking the provider later" if provider.lists else "what has arrived is in storage"
    log.warning("job %s: the outcome of its create is not known; %s", job.job_id, where)
    now = services.now()
    again_at = now + provider.grace if provider.lists else now
    after = changed(services, job, lambda current: ledger.lost(current, job, now, again_at, error.fault))
    if after and after.withdrawing:
        return go_on_withdrawing(services, after)
    return wait_until(services, job, again_at)


def _refused(services: Services, job: Job, error: ProviderError) -> Answer:
    code, now = error.fault.code, services.now()
    attempts = job.attempts - 1 if code in FREE else job.attempts
    too_late = now - job.created_at > services.settings.deadline
    log.warning("job %s: create refused: %s (HTTP %s)", job.job_id, code, error.fault.provider_status)
    after = changed(services, job, lambda current: ledger.not_made(current, job, now))
    if after and after.withdrawing:
        return go_on_withdrawing(services, after)
    if code in RETRIED and attempts < policy.MAX_CREATE_TRIES and not too_late:
        seconds = policy.create_wait(code, max(attempts, 1), error.retry_after)
        return queue(services, job, seconds, attempts, error.fault)
    if (code in MOVING or code == "provider_error") and (moved := move_on(services, job, error.fault)):
        return moved
    after = changed(services, job, lambda current: ledger.refused(current, job, now, error.fault))
    if after and after.submit_run == job.submit_run and after.stage == ledger.REFUSED:
        return failed(after, error.fault)
    return LOOK_AGAIN
