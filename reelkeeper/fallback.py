"""Where a job goes that its provider cannot take: to another one that the operator names for the case.

Only a job of which nothing was submitted moves. Whether that is so is the ledger's to say, see `ledger.moved`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reelkeeper.model import Job
from reelkeeper.providers.base import Provider
from reelkeeper.services import Services

MOVING = frozenset({"model_retired", "deployment_not_found", "endpoint_not_found", "invalid_credentials"})
"""Refusals that are about the provider, not about the job. A provider that is down is given several tries first."""


def takes_over(services: Services, job: Job, now: datetime) -> Provider | None:
    """The first of its provider's fallbacks that lives, can make what is asked for, and has not been tried."""
    if job.creates:  # a task failed, and that it was free is this provider's word: what is made anew is made here
        return None
    provider = services.providers.get(job.provider)
    named = [provider, *map(services.providers.get, reversed(job.moved_from))]
    for name in (name for one in named if one for name in one.fallback):
        other = services.providers.get(name)
        if other is None or name in (*job.moved_from, job.provider) or other.terms.retired(now):
            continue
        if not other.abilities.refusals(replace(job.request, model=other.model)):
            return other
    return None
