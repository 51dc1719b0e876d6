"""Where a job goes that its provider cannot take: to another one that the operator names for the case.

Only a job of which nothing was submitted moves. Whether that is so is the ledger's to say, see `ledger.moved`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reelkeeper.model import Job, JobRequest
from reelkeeper.providers.base import Provider
from reelkeeper.services import Services

MOVING = frozenset({"model_retired", "deployment_not_found", "endpoint_not_found", "invalid_credentials"})
"""Refusals that are about the provider, not about the job. A provider that is down is given several tries first."""


def takes_over(services: Services, job: Job, now: datetime) -> tuple[Provider | None, str]:
    """The first of its provider's fallbacks that lives, can make what is asked for, and has not been tried.

    Or None, and for each that was passed over a sentence why.
    """
    if job.creates:  # a task failed, and that it was free is this provider's word: what is made anew is made here
        return None, ""
    provider = services.providers.get(job.provider)
    named = [provider, *map(services.providers.get, reversed(job.moved_from))]
    reasons = {}
    for name in (name for one in named if one for name in one.fallback):
        other = services.providers.get(name)
        if other is None or name in (*job.moved_from, job.provider):
            continue
        if other.terms.retired(now):
            reasons[name] = f"{name} retired after {other.terms.retires_on}."
        elif refusals := other.abilities.refusals(adapted(job.request, other)):
            words = "; ".join(f"{refusal.field} {refusal.message}" for refusal in refusals)
            reasons[name] = f"{name} cannot take it over: {words}."
        else:
            return other, ""
    return None, " ".join(reasons.values())


def adapted(request: JobRequest, other: Provider) -> JobRequest:
    """The request as it is made of `other`: with its model, and its usual size and length where nobody chose one."""
    can, size, seconds = other.abilities, (request.width, request.height), request.n_seconds
    if "size" in request.left_open:
        size = can.usual_size(size)
    if "n_seconds" in request.left_open:
        seconds = can.usual_seconds
    return replace(request, model=other.model, width=size[0], height=size[1], n_seconds=seconds)
