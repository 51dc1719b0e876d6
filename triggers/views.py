"""A job as its owner sees it: the bodies of status, result, gallery and batch."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from reelkeeper import ledger, model, names, policy
from reelkeeper.model import Clip, Job, to_iso
from reelkeeper.parts import EXTENSIONS, IMAGES
from reelkeeper.services import Services
from triggers import placeholder

DOWNLOAD_WARNING = (
    "The generation exists, but its file could not be fetched yet. It is fetched by itself; "
    "until then this is a placeholder."
)


class Links:
    """Absolute URLs of a job's routes, on the host and below the prefix that the caller used."""

    def __init__(self, request_url: str, kind: str) -> None:
        parts = urlsplit(request_url)
        prefix = parts.path[: parts.path.lower().rindex(f"/{kind}/")]  # routes know no upper and lower case
        self._base = f"{parts.scheme}://{parts.netloc}{prefix}/{kind}"

    def of(self, job_id: str) -> dict[str, str]:
        return {f"{name}_url": f"{self._base}/{job_id}/{name}" for name in ("status", "result", "content")}

    def of_batch(self, batch_id: str) -> str:
        return f"{self._base}/batches/{batch_id}"


def accepted_body(job: Job, links: Links) -> dict[str, Any]:
    """What a POST tells of the job that it made."""
    return {
        "job_id": job.job_id, "status": job.status, **links.of(job.job_id), "created_at": to_iso(job.created_at),
    }  # fmt: skip


def status_body(job: Job, links: Links, now: datetime) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "batch_id": job.batch_id,
        "status": job.status,
        "stage": job.stage,
        "progress": _progress(job, now),
        "prompt": job.request.prompt,
        "created_at": to_iso(job.created_at),
        "updated_at": to_iso(job.updated_at),
        "finished_at": to_iso(job.finished_at),
        "provider": job.provider,
        "task_id": job.task_id,
        "output_ids": [output.output_id for output in job.outputs],
        "attempts": job.attempts,
        "next_attempt_at": to_iso(job.next_attempt_at),
        "expires_at": to_iso(job.expires_at),
        "queue_position": job.queue_position if job.stage == model.IN_LINE else None,
        "estimated_start_at": to_iso(job.starts_at) if job.stage == model.IN_LINE else None,
        "metadata": job.request.metadata,
        "error": _error(job),
        "warning": DOWNLOAD_WARNING if job.status == model.DOWNLOAD_FAILED else job.warning,
        **links.of(job.job_id),
    }


def batch_body(jobs: list[Job], links: Links, now: datetime) -> dict[str, Any]:
    """The jobs of one batch and how many are in which status. What has been deleted is not counted."""
    batch_id = str(jobs[0].batch_id)
    return {
        "batch_id": batch_id,
        "kind": jobs[0].kind,
        "total": len(jobs),
        "counts": dict(Counter(job.status for job in jobs)),
        "finished": all(job.finished for job in jobs),
        "created_at": to_iso(jobs[0].created_at),
        "jobs": [status_body(job, links, now) for job in jobs],
        "status_url": links.of_batch(batch_id),
    }


def retry_after(job: Job, now: datetime) -> dict[str, str]:
    """The Retry-After header of an unfinished job: as long as the pipeline itself waits; nothing for a finished one."""
    if job.finished:
        return {}
    seconds = policy.poll_interval((now - job.created_at).total_seconds())
    if job.next_attempt_at is not None:
        seconds = min(max(seconds, (job.next_attempt_at - now).total_seconds()), policy.LONGEST_WAIT)
    return {"Retry_After": str(round(seconds))}


def result_body(job: Job, services: Services) -> dict[str, Any]:
    """The clips of a completed job, or of one whose files are still missing with placeholders for those."""
    clips = {clip.index: clip for clip in job.clips}
    waiting = job.status == model.DOWNLOAD_FAILED
    indexes = range(len(job.outputs)) if waiting else sorted(clips)
    items = [
        _clip(job, clips[index], services) if index in clips else _placeholder(job, index, services)
        for index in indexes
    ]
    body: dict[str, Any] = {
        "job_id": job.job_id,
        "status": job.status,
        f"num_{job.kind}": len(items),
        "warning": DOWNLOAD_WARNING if waiting else job.warning,
        job.kind: items,
    }
    if waiting:
        body |= {
            "task_id": job.task_id,
            "output_ids": [output.output_id for output in job.outputs],
            "next_attempt_at": to_iso(job.next_attempt_at),
            "error": _error(job),
        }
    return body


def _progress(job: Job, now: datetime) -> int:
    """Percent. Images are made while their create is under way, and nobody writes anything down: then time tells it."""
    if job.kind != IMAGES or job.stage != "submitting":
        return job.progress
    return policy.progress("running", (now - ledger.since(job)).total_seconds())


def gallery_item(job: Job, links: Links, services: Services) -> dict[str, Any]:
    """The status body, and for a completed job fresh URLs of its first clip."""
    urls: dict[str, str | None] = {"file_url": None, "thumbnail_url": None}
    if job.status == model.COMPLETED:
        first = _clip(job, job.clips[0], services)
        urls = {name: first[name] for name in urls}
    return {**status_body(job, links, services.now()), **urls}


def _error(job: Job) -> dict[str, Any] | None:
    if job.fault is None:
        return None
    fault = job.fault
    return {
        "code": fault.code,
        "message": fault.message,
        "provider_message": fault.provider_message,
        "provider_status": fault.provider_status,
        "request_id": fault.request_id,
    }


def _clip(job: Job, clip: Clip, services: Services) -> dict[str, Any]:
    until = services.now() + policy.SIGNED_URL_LIFETIME
    thumbnail = services.clips.signed_url(clip.thumbnail_path, until) if clip.thumbnail_path else None
    return _item(job, clip, services.clips.signed_url(clip.path, until), until, thumbnail, placeholder=False)


def _placeholder(job: Job, index: int, services: Services) -> dict[str, Any]:
    output, card = job.outputs[index], placeholder.CARDS[job.kind]
    media_type = output.staged.media_type if output.staged else card.media_type
    clip = Clip(
        index=index,
        path=names.clip_path(job.owner, job.kind, job.job_id, index, EXTENSIONS[media_type]),
        size=placeholder.put_placeholder(services.clips, job.kind),
        content_type=card.media_type,
        digest="",
        output_id=output.output_id,
        width=output.width,
        height=output.height,
        n_seconds=output.n_seconds,
    )
    until = services.now() + policy.SIGNED_URL_LIFETIME
    return _item(job, clip, services.clips.signed_url(card.path, until), until, None, placeholder=True)


def _item(
    job: Job, clip: Clip, url: str, until: datetime, thumbnail_url: str | None, *, placeholder: bool
) -> dict[str, Any]:
    return {
        "filename": names.file_name(job.kind, job.job_id, clip.index, clip.path.rpartition(".")[2]),
        "file_path": clip.path,
        "file_url": url,
        "file_url_expires_at": to_iso(until),
        "file_size": clip.size,
        "content_type": clip.content_type,
        "digest": clip.digest or None,
        "width": clip.width,
        "height": clip.height,
        "n_seconds": clip.n_seconds or None,
        "output_id": clip.output_id,
        "thumbnail_url": thumbnail_url,
        "placeholder": placeholder,
    }
