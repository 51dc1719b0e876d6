"""POST /api/videos/generate: a validated request becomes a record, and only then anything else.

1. Validate everything; nothing exists until the request is right.
2. The idempotency key, if any, is bound to a job id before the job exists, so a repeated POST finds the same job.
3. Watchdog row, then record: from here on the job cannot be lost. A row without a record is swept away.
4. Start `render` under the job's id. If that fails, the job is accepted all the same: the sweep starts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from dataclasses import replace
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from reelkeeper import names, policy
from reelkeeper.errors import FieldError, RecordExists, RequestRefused
from reelkeeper.model import Job, to_iso
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import IdempotencyClaim, Watch
from reelkeeper.services import Services
from triggers.answers import json_answer
from triggers.bodies import GenerateBody, read_body, refused, to_request
from triggers.owner import owner_of
from triggers.views import Links, retry_after

log = logging.getLogger(__name__)

KIND = "videos"
START_SECONDS = 20.0
"""The job is safe by then: a caller need not wait longer for a host that does not answer."""


async def generate(
    services: Services, req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    body = read_body(req.headers.get("content-type", ""), req.get_body())
    owner = owner_of(req, body.user_id)
    provider = _provider(services, body.provider)
    job = _new_job(services, body, owner, provider)
    key = req.headers.get("idempotency-key")
    replayed = False
    if key is not None:
        job, replayed = await asyncio.to_thread(_bind_key, services, job, _checked_key(key), body)
    if not replayed:
        job, replayed = await asyncio.to_thread(_record, services, job)
    if not replayed:
        await _start(services, client, job)
    return _accepted(services, req, job, replayed)


def _provider(services: Services, name: str | None) -> Provider:
    offered = {provider.name: provider for provider in services.providers.values() if provider.kind == KIND}
    if not offered:
        detail = (
            "No video provider is configured. Set AZURE_SORA_ENDPOINT and AZURE_API_KEY, or OPENAI_BASE_URL, or "
            "PROVIDERS, then restart the app."
        )
        raise RequestRefused(503, "no_provider", detail)
    living = [one.name for one in offered.values() if not one.terms.retired(services.now())]
    allowed = f"allowed: {', '.join(living)}" if living else "no other is configured"
    if name is not None and name not in offered:
        raise refused(FieldError("provider", f"{name!r} is not configured; {allowed}"))
    provider = offered[name] if name is not None else next(iter(offered.values()))
    if provider.name not in living:
        retired = FieldError("provider", f"{provider.name!r} retired after {provider.terms.retires_on}; {allowed}")
        raise RequestRefused(400, "model_retired", f"{retired.field}: {retired.message}", (retired,))
    return provider


def _new_job(services: Services, body: GenerateBody, owner: str, provider: Provider) -> Job:
    now = services.now()
    request = to_request(body, provider)
    return Job(names.new_job_id(now), owner, KIND, request, provider.name, created_at=now, updated_at=now)


def _checked_key(key: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise refused(FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    return key


def _bind_key(services: Services, job: Job, key: str, body: GenerateBody) -> tuple[Job, bool]:
    """The job that holds the key, and whether it was there before. Raises RequestRefused (422) for another body."""
    text = json.dumps(body.model_dump(exclude={"user_id"}), sort_keys=True)
    ours = IdempotencyClaim(job.job_id, hashlib.sha256(text.encode()).hexdigest())
    holds = services.idempotency.claim(job.owner, key, ours)
    if holds.body_digest != ours.body_digest:
        detail = "This Idempotency-Key was used with another body. Use a new key for a new job."
        raise RequestRefused(422, "idempotency_mismatch", detail, (FieldError("Idempotency-Key", detail),))
    found = services.jobs.get(job.owner, holds.job_id)
    # no record: the first POST died between its two writes, so this one finishes it under the same id
    return (found, True) if found else (replace(job, job_id=holds.job_id), False)


def _record(services: Services, job: Job) -> tuple[Job, bool]:
    """The job as recorded, and whether a POST at the same time with the same key was faster: that one starts it."""
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, services.now() + policy.START_GRACE))
    try:
        return services.jobs.insert(job), False
    except RecordExists:
        twin = services.jobs.get(job.owner, job.job_id)
        if twin is None:
            raise
        return twin, True


async def _start(services: Services, client: df.DurableOrchestrationClient, job: Job) -> None:
    start = client.start_new("render", job.job_id, {"owner": job.owner, "job_id": job.job_id})
    try:
        await asyncio.wait_for(start, START_SECONDS)
        log.info("job %s: accepted", job.job_id)
    except Exception:
        log.exception("job %s: accepted, but its orchestration could not be started; the sweep will", job.job_id)


def _accepted(services: Services, req: func.HttpRequest, job: Job, replayed: bool) -> func.HttpResponse:
    links = Links(req.url, KIND).of(job.job_id)
    body: dict[str, Any] = {
        "job_id": job.job_id, "status": job.status, **links, "created_at": to_iso(job.created_at),
    }  # fmt: skip
    headers = {"Location": links["status_url"], **retry_after(job, services.now())}
    if replayed:
        headers["Idempotent_Replayed"] = "true"
    return json_answer(body, 200 if replayed else 202, **headers)
