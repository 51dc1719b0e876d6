"""settle: write down how the job ended, or when its missing files are fetched next, and let the watchdog go or stay."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from reelkeeper import model, policy
from reelkeeper.closing import close_books
from reelkeeper.errors import Fault
from reelkeeper.model import Clip, Job
from reelkeeper.records.base import Watch, change
from reelkeeper.services import Services

log = logging.getLogger(__name__)


def settle_job(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, status, fault, seen}`` or ``{owner, job_id, kept: [{index, clip?, thumbnail?, fault?}]}`` ->
    ``{status}``. A finished job stays as it is. Raises when our own storage fails.
    """

    def settled(job: Job) -> Job | None:
        if job.finished:
            return None
        if work.get("seen", job.seen) != job.seen:
            return None  # another run has got further since this end was decided
        return _kept(services, job, work["kept"]) if "kept" in work else _ended(services, job, work)

    job = change(services.jobs, work["owner"], work["job_id"], settled)
    if job:  # the row of a deleted one, if there is any, is about what is left of it
        _tell_watchdog(services, job)
    status = job.status if job else "deleted"
    log.info("job %s: %s", work["job_id"], status)
    return {"status": status}


def _tell_watchdog(services: Services, job: Job) -> None:
    if job.withdrawing:  # cancelled while its files were fetched: the sweep sees that it is withdrawn
        services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, services.now() + policy.START_GRACE))
    elif job.finished:
        close_books(services, job)
    elif job.next_attempt_at is not None:
        services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, job.next_attempt_at, job.expires_at))


def _ended(services: Services, job: Job, work: dict[str, Any]) -> Job:
    now, fault = services.now(), Fault.from_dict(work["fault"])
    return job.to(work["status"], now, stage="done", fault=fault, finished_at=now, next_attempt_at=None)


def _kept(services: Services, job: Job, results: list[dict[str, Any]]) -> Job | None:
    now = services.now()
    clips = {clip.index: clip for clip in job.clips}
    faults = []
    for result in results:
        if "clip" in result:
            thumbnail = result.get("thumbnail")
            clips[result["index"]] = replace(Clip(**result["clip"]), thumbnail_path=thumbnail and thumbnail["path"])
        else:
            faults.append(Fault.from_dict(result["fault"]))
    kept = tuple(clips[index] for index in sorted(clips))
    waiting = [fault for fault in faults if fault.code != "content_expired"]
    if waiting and job.status == model.DOWNLOAD_FAILED:
        return None  # a second run of this step: the first has counted the attempt
    if waiting:
        attempts = job.attempts + 1
        again_at = policy.next_download_at(attempts, now, job.expires_at)
        held = {"clips": kept, "attempts": attempts, "next_attempt_at": again_at, "fault": waiting[0]}
        return job.to(model.DOWNLOAD_FAILED, now, stage="waiting", **held)
    end = {"stage": "done", "clips": kept, "finished_at": now, "next_attempt_at": None}
    if not kept:
        return job.to(model.EXPIRED, now, fault=faults[0], **end)
    return job.to(model.COMPLETED, now, progress=100, fault=None, warning=_warning(job, len(kept)), **end)


def _warning(job: Job, kept: int) -> str | None:
    asked, made, words = job.request.n_variants, len(job.outputs), []
    if kept < made:
        words.append(
            f"{kept} of {made} outputs were kept; the provider deleted the others before they could be fetched."
        )
    elif made < asked:
        words.append(f"The provider made {made} of the {asked} {job.kind} asked for.")
    if job.moved_from:
        words.append(f"Made by {job.provider}, because {' and '.join(job.moved_from)} could not take the job.")
    return " ".join(words) or None
