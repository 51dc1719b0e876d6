"""The submit ledger: what the record says of the one paid POST, as pure steps from one version of a job to the next.

    pending, queued -> begun -> named -> held         the way of a POST that is answered
                         |        '-> dismissed       the task is another job's: as if the answer were lost
                         |-> lost -> found (= named) | queued | parked
                         |-> refused                  for good: settled as failed
                         |-> moved | queued           begun anew later, elsewhere or here: no POST is under way
    any but an end -> cancelled -> found -> withdrawn

A *submission* lasts from one `begun` to what decides it; its run alone may POST. A task is named before it is claimed,
so that a job never claims two. A step returns the changed job, or None where the record has moved on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from reelkeeper import model, policy
from reelkeeper.errors import ADVICE, Fault
from reelkeeper.model import Job, JobRequest, Task

WAITING = frozenset({model.PENDING, model.QUEUED})
OPEN = frozenset({model.SUBMITTING, model.SUBMIT_UNKNOWN})

REFUSED, RECONCILING = "refused", "reconciling"
"""Stages of a submission: its refusal was final; its POST is over and what became of it is not known."""

LIST_PROVES = timedelta(hours=23)
"""How long a task that is not in the provider's list was never made. Providers forget theirs after 24 hours."""


def begun(job: Job, run: str, place: str | None, now: datetime) -> Job | None:
    """Give the run the right to POST to `place`, if the job waits for that and its time has come."""
    too_early = job.next_attempt_at is not None and now < job.next_attempt_at
    if job.status not in WAITING or place is None or job.attempts >= policy.MAX_CREATE_TRIES or too_early:
        return None
    mine = {"submit_run": run, "submitting_since": now, "place": place, "attempts": job.attempts + 1}
    return job.to(model.SUBMITTING, now, stage="submitting", next_attempt_at=None, **mine)


def since(job: Job) -> datetime:
    """When the submission began: nothing of it is older."""
    return job.submitting_since or job.created_at


def may_post(job: Job, now: datetime, grace: timedelta) -> bool:
    """Whether a POST that starts now, and takes 0.6 of the grace period at most, is over well before its end."""
    return now <= since(job) + grace / 4


def reconcile_at(job: Job, grace: timedelta) -> datetime:
    """From when on nothing of the POST is under way any more, and its task is in the provider's list."""
    if job.stage in (RECONCILING, model.WITHDRAWING) and job.next_attempt_at:
        return job.next_attempt_at
    ready = since(job) + grace
    return max(ready, job.next_attempt_at or ready) if job.status == model.SUBMITTING else ready


def undecided(current: Job, submission: Job) -> bool:
    """Whether the record still is about this submission, with nothing known of its outcome."""
    same = (current.submit_run, current.submitting_since) == (submission.submit_run, submission.submitting_since)
    return same and current.status in OPEN and current.task_id is None and current.stage != REFUSED


def holder(job: Job) -> str:
    """Whom the claim of the named task is for: a job's first task, second... One that failed is not found again."""
    return f"{job.job_id}/{job.creates}"


def named(current: Job, task: Task, place: str, now: datetime, deadline: timedelta) -> Job | None:
    """Write down the task that the POST made, whatever else has happened: it is paid for. Not yet held."""
    if current.task_id or current.status not in WAITING | OPEN | {model.CANCELLED}:
        return None
    # no later than now and no earlier than its POST, whatever the provider's clock says
    started = max(since(current), min(task.created_at, now))
    end = policy.kept_until(task.expires_at, started, deadline)
    known = {"task_id": task.task_id, "place": place, "creates": current.creates + 1, "outputs": task.outputs}
    times = {"generating_since": started, "expires_at": end, "next_attempt_at": None}
    if current.status == model.CANCELLED:
        return current.to(model.CANCELLED, now, stage=model.WITHDRAWING, **known, **times)
    return current.to(model.SUBMITTING, now, stage=task.stage, **known, **times)


def found(current: Job, submission: Job, task: Task, place: str, now: datetime, deadline: timedelta) -> Job | None:
    """Write down a task of the provider's list that may be this submission's. Not yet held: it may be another job's."""
    open_still = undecided(current, submission) or _still_sought(current, submission)
    return named(current, task, place, now, deadline) if open_still else None


def held(current: Job, claimer: Job, now: datetime) -> Job | None:
    """The named task is claimed for this job: go on to watch it, or to keep what it has made already."""
    if not _names(current, claimer) or current.withdrawing:
        return None
    watched = current.to(model.GENERATING, now, attempts=0, next_attempt_at=None, fault=None)
    return watched.to(model.DOWNLOADING, now, stage="downloading", progress=92) if watched.outputs else watched


def dismissed(current: Job, claimer: Job, now: datetime, again_at: datetime) -> Job | None:
    """The named task is another job's: go on as one whose answer was lost."""
    if not _names(current, claimer):
        return None
    forgotten = {"task_id": None, "expires_at": None, "generating_since": None, "creates": current.creates - 1}
    stage = model.WITHDRAWING if current.withdrawing else RECONCILING
    return current.to(current.status, now, stage=stage, next_attempt_at=again_at, outputs=(), **forgotten)


def _names(current: Job, claimer: Job) -> bool:
    same = (current.task_id, current.creates) == (claimer.task_id, claimer.creates)
    return same and (current.status == model.SUBMITTING or current.withdrawing)


def lost(current: Job, submission: Job, now: datetime, again_at: datetime, fault: Fault) -> Job | None:
    """The POST is over without an answer: reconcile it at `again_at`. A job cancelled meanwhile is looked for then."""
    if _still_sought(current, submission):
        return later(current, now, again_at)
    if not undecided(current, submission):
        return None
    return current.to(current.status, now, stage=RECONCILING, next_attempt_at=again_at, fault=fault)


def troubled(current: Job, submission: Job, now: datetime, fault: Fault) -> Job | None:
    """The provider cannot be asked: let the status tell why, once."""
    said = current.fault and (current.fault.code, current.fault.message)
    told = said == (fault.code, fault.message) and current.stage == RECONCILING
    if told or current.status != model.SUBMITTING or not undecided(current, submission):
        return None
    return current.to(model.SUBMITTING, now, stage=RECONCILING, fault=fault)


def refused(current: Job, submission: Job, now: datetime, fault: Fault) -> Job | None:
    """No repetition will help: whoever comes next gives the same answer without asking."""
    if not undecided(current, submission):
        return None
    return current.to(model.SUBMITTING, now, stage=REFUSED, fault=fault)


def queued(
    current: Job, submission: Job, now: datetime, again_at: datetime, attempts: int, fault: Fault | None
) -> Job | None:
    """The POST had no effect, or never was: nobody may POST before the next `begun`."""
    if not undecided(current, submission):
        return None
    rest = {"attempts": attempts, "next_attempt_at": again_at, "submit_run": None, "fault": fault}
    return current.to(model.SUBMITTING, now).to(model.QUEUED, now, stage="waiting", **rest)


def moved(current: Job, seen: Job, name: str, request: JobRequest, now: datetime, fault: Fault | None) -> Job | None:
    """Nothing was submitted, and this provider cannot take the job: begin anew at the one called `name`.

    `seen`: the submission that was refused, or the job as it waited. `request`: the job's, as it is made there; from
    here on it is what is submitted and looked for.
    """
    waits = current.status in WAITING and current.provider == seen.provider and current.moved_from == seen.moved_from
    if not waits and not undecided(current, seen):
        return None
    there = replace(
        current if waits else current.to(model.SUBMITTING, now),
        provider=name,
        place=None,
        moved_from=(*current.moved_from, current.provider),
        request=request,
    )
    anew = {"attempts": 0, "next_attempt_at": None, "submit_run": None, "submitting_since": None}
    return there.to(model.QUEUED, now, stage="waiting", fault=fault, **anew)


def parked(current: Job, submission: Job, now: datetime, again_at: datetime) -> Job | None:
    """Nobody can tell whether the job is paid for: hold it for a person."""
    if not undecided(current, submission):
        return None
    fault = Fault("submit_unknown", ADVICE["submit_unknown"])
    return current.to(model.SUBMIT_UNKNOWN, now, stage="parked", next_attempt_at=again_at, fault=fault)


def cancelled(current: Job, now: datetime) -> Job | None:
    """The owner wants it no more. What may run at the provider is withdrawn next; None where the job has ended."""
    if current.finished:
        return None
    sure = current.status in WAITING or current.stage == REFUSED
    nothing_sent = {"submit_run": None, "submitting_since": None} if sure else {}
    # the task of a lost answer may be listed late: the cancel does not shorten the wait for it
    listed_at = current.next_attempt_at if current.stage == RECONCILING else None
    end = {"stage": model.WITHDRAWING, "finished_at": now, "next_attempt_at": listed_at, "fault": None, "warning": None}
    return current.to(model.CANCELLED, now, **end, **nothing_sent)


def withdrawn(current: Job, seen: Job, now: datetime, warning: str | None) -> Job | None:
    """Nothing of it runs any more, or nothing can be done about what does, as `warning` tells."""
    if not current.withdrawing or current.task_id != seen.task_id:
        return None
    return current.to(model.CANCELLED, now, stage="done", next_attempt_at=None, warning=warning)


def later(current: Job, now: datetime, again_at: datetime) -> Job | None:
    """Its task could not be withdrawn now: try again then."""
    return current.to(model.CANCELLED, now, next_attempt_at=again_at) if current.withdrawing else None


def not_made(current: Job, submission: Job, now: datetime) -> Job | None:
    """The POST of a job that was cancelled meanwhile is refused: there is no task to withdraw."""
    if not _still_sought(current, submission):
        return None
    return current.to(model.CANCELLED, now, submit_run=None, submitting_since=None)


def _still_sought(current: Job, submission: Job) -> bool:
    """Whether the job was cancelled while this submission was open, and no task of it has been found yet."""
    same = (current.submit_run, current.submitting_since) == (submission.submit_run, submission.submitting_since)
    return same and current.withdrawing and current.task_id is None
