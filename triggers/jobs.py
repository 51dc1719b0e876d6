"""GET status, result, content and gallery: read the record, never the orchestration's history."""

from __future__ import annotations

from typing import Any

import azure.functions as func

from reelkeeper import model, policy
from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import Job, to_iso
from reelkeeper.services import Services
from triggers import placeholder
from triggers.answers import json_answer, problem, redirect, tagged_answer
from triggers.bodies import refused
from triggers.owner import own_job, owner_of
from triggers.views import Links, gallery_item, result_body, retry_after, status_body

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
ENDED = {model.FAILED: 409, model.CANCELLED: 409, model.EXPIRED: 410}


def get_status(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    job = own_job(services, req, kind)
    now = services.now()
    return tagged_answer(req, status_body(job, Links(req.url, kind), now), 200, **retry_after(job, now))


def get_result(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    job = own_job(services, req, kind)
    if job.status in ENDED:
        return _ended(job)
    if job.status in (model.COMPLETED, model.DOWNLOAD_FAILED):
        return json_answer(result_body(job, services), 200, **retry_after(job, services.now()))
    now = services.now()
    return json_answer(status_body(job, Links(req.url, kind), now), 202, **retry_after(job, now))


def get_content(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    job = own_job(services, req, kind)
    index = _whole_number(req, "index", 0, 0, 99)
    if job.status in ENDED:
        return _ended(job)
    until = services.now() + policy.SIGNED_URL_LIFETIME
    clip = next((clip for clip in job.clips if clip.index == index), None)
    if clip is not None:
        return redirect(services.clips.signed_url(clip.path, until), X_Job_Status=job.status)
    expected = [clip.index for clip in job.clips] if job.finished else range(len(job.outputs) or job.request.n_variants)
    if index not in expected:
        detail = f"The job has no output {index}; there is index {', '.join(map(str, expected))}."
        raise RequestRefused(404, "output_not_found", detail, (FieldError("index", detail),))
    placeholder.put_placeholder(services.clips, kind)
    location = services.clips.signed_url(placeholder.CARDS[kind].path, until)
    return redirect(location, X_Job_Status=job.status, **retry_after(job, services.now()))


def get_gallery(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    owner = owner_of(req)
    limit = _whole_number(req, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    status = req.params.get("status")
    if status is not None and status not in model.STATUSES:
        raise refused(FieldError("status", f"must be one of {', '.join(model.STATUSES)}"))
    try:
        jobs, cursor = services.jobs.page(owner, kind, limit=limit, cursor=req.params.get("cursor"), status=status)
    except ValueError:
        raise refused(FieldError("cursor", "is not a cursor that this gallery gave out; start without one")) from None
    links = Links(req.url, kind)
    return json_answer({"items": [gallery_item(job, links, services) for job in jobs], "next_cursor": cursor})


def _ended(job: Job) -> func.HttpResponse:
    fault = job.fault
    code = fault.code if fault else job.status
    detail = fault.message if fault else f"The job is {job.status}."
    more: dict[str, Any] = {
        "job_id": job.job_id,
        "job_status": job.status,
        "finished_at": to_iso(job.finished_at),
        "provider_message": fault.provider_message if fault else None,
        "request_id": fault.request_id if fault else None,
    }
    return problem(ENDED[job.status], code, detail, **more)


def _whole_number(req: func.HttpRequest, name: str, default: int, low: int, high: int) -> int:
    text = req.params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not low <= int(text) <= high:
        raise refused(FieldError(name, f"must be a whole number from {low} to {high}"))
    return int(text)
