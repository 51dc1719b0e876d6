"""admit: write down what the gate said to a job that has to wait: that it is queued, where, and when it asks again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reelkeeper import ledger, model, policy
from reelkeeper.model import Job
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services


def admit_job(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, gate, seconds, position, estimate}`` -> ``{next: "line", seconds}``, or ``{next: "stop"}`` for
    a job that has ended, or ``{next: "wait", seconds: 0}`` for one that has no business at this gate any more: look at
    it anew.

    Raises when our own storage fails.
    """
    now = services.now()
    again_at = now + timedelta(seconds=work["seconds"])
    starts_at = None if work["estimate"] is None else now + timedelta(seconds=work["estimate"])

    def in_line(job: Job) -> Job | None:
        if job.status not in ledger.WAITING or job.provider != work["gate"]:
            return None
        place = {"stage": model.IN_LINE, "queue_position": work["position"], "next_attempt_at": again_at}
        return job.to(model.QUEUED, now, starts_at=starts_at, **place)

    job = change(services.jobs, work["owner"], work["job_id"], in_line)
    if job is None or job.finished:
        return {"next": "stop"}
    if job.stage != model.IN_LINE or job.provider != work["gate"]:
        return {"next": "wait", "seconds": 0.0}
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, again_at + policy.STEP_GRACE, job.expires_at))
    return {"next": "line", "seconds": work["seconds"]}
