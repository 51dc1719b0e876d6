"""Who has to pass a gate, and the step `create` with the gate before it.

The rule stands where the POST is made, whoever started the orchestration: a job of a provider with limits is submitted
only by a run that says it was admitted. A job that needs no POST any more needs no gate either.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from reelkeeper import ledger, model, policy
from reelkeeper.gate import Limits
from reelkeeper.model import Job
from reelkeeper.records.base import change
from reelkeeper.services import Services

Activity = Callable[[Services, dict[str, Any]], dict[str, Any]]


def limits_of(services: Services, name: str) -> Limits:
    """What the provider allows; no limits when it is not configured."""
    provider = services.providers.get(name)
    return Limits(provider.terms.max_running, provider.terms.creates_per_minute) if provider else Limits()


def only_admitted(create: Activity) -> Activity:
    """`create`, behind the gate of a provider with limits. There its answers name the `gate`, and there is one more:

    ``{next: "admit", gate}``: ask that gate, then come again with its name as `admitted`. And "wait" says in `slot`
    what becomes of the place: ``stay``, since the POST may have had an effect, or ``back``, with the `code` why. The
    answer to a job that was admitted and had ended before anything was sent of it says ``waive``.
    """

    def create_admitted(services: Services, work: dict[str, Any]) -> dict[str, Any]:
        if not any(limits_of(services, name) for name in services.providers):
            return create(services, work)
        job = services.jobs.get(work["owner"], work["job_id"])
        if job is None:  # deleted, so it had ended before its turn came
            return {**create(services, work), **({"slot": "waive"} if work.get("admitted") else {})}
        if not limits_of(services, job.provider):
            return create(services, work)
        if _would_post(job):
            now = services.now()
            if work.get("admitted") != job.provider:
                return _wait_or_ask(job, now)
            if job.stage == model.IN_LINE:
                change(services.jobs, job.owner, job.job_id, lambda job: _out_of_line(job, now))
        step = {**create(services, work), "gate": job.provider}
        if job.finished and job.submit_run is None and work.get("admitted") == job.provider:
            return step | {"slot": "waive"}
        return step if step["next"] != "wait" else step | _slot(services, job)

    create_admitted.__doc__ = create.__doc__
    return create_admitted


def _would_post(job: Job) -> bool:
    return job.status in ledger.WAITING and job.attempts < policy.MAX_CREATE_TRIES


def _wait_or_ask(job: Job, now: datetime) -> dict[str, Any]:
    """No place is held while a refused create waits out the time that the provider asked for."""
    again_at = job.next_attempt_at
    if again_at is None or again_at <= now or job.stage == model.IN_LINE:
        return {"next": "admit", "gate": job.provider}
    return {"next": "wait", "seconds": (again_at - now).total_seconds()}


def _out_of_line(job: Job, now: datetime) -> Job | None:
    """Its turn may come before it was to ask again, and `create` keeps to that time."""
    early = job.stage == model.IN_LINE and job.next_attempt_at is not None and job.next_attempt_at > now
    return job.to(job.status, now, next_attempt_at=None) if early else None


def _slot(services: Services, job: Job) -> dict[str, Any]:
    after = services.jobs.get(job.owner, job.job_id)
    if after is None or after.provider != job.provider:
        return {}  # deleted, or it stands at another gate now
    if after.status not in ledger.WAITING:
        return {"slot": "stay"}
    fresh = after.fault if after.submitting_since != job.submitting_since else None
    return {"slot": "back", "code": fresh.code if fresh else ""}
