"""POST /api/{kind}/generate: a validated request becomes a record, and only then anything else.

1. Validate everything; nothing exists until the request is right.
2. A picture to begin with is fetched and judged, unless the idempotency key leads to a job that is there already.
3. The idempotency key, if any, is bound to a job id before the job exists, so a repeated POST finds the same job.
4. The picture is put below the job's prefix. Without a record it is a harmless leftover.
5. Watchdog row, then record: from here on the job cannot be lost. A row without a record is swept away.
6. Start `render` under the job's id. If that fails, the job is accepted all the same: the sweep starts it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from reelkeeper import names, pictures, policy
from reelkeeper.errors import FieldError, RecordExists, RequestRefused
from reelkeeper.fetch import NotFetched, fetch_file
from reelkeeper.model import InputImage, Job, to_iso
from reelkeeper.parts import EXTENSIONS, IMAGES, VIDEOS
from reelkeeper.pictures import Picture, PictureRefused
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import IdempotencyClaim, Watch
from reelkeeper.services import Services
from triggers.answers import json_answer
from triggers.bodies import ImageBody, InputImageBody, VideoBody, read_body, refused, to_request
from triggers.owner import owner_of
from triggers.views import Links, retry_after

log = logging.getLogger(__name__)

START_SECONDS = 20.0
"""The job is safe by then: a caller need not wait longer for a host that does not answer."""

NO_PROVIDER = {
    VIDEOS: "No video provider is configured. Set AZURE_SORA_ENDPOINT and AZURE_API_KEY, or OPENAI_BASE_URL, or "
    "PROVIDERS, then restart the app.",
    IMAGES: "No image provider is configured. Set IMAGE_ENDPOINT and IMAGE_API_KEY, or PROVIDERS, then restart the "
    "app.",
}


async def generate(
    services: Services, req: func.HttpRequest, client: df.DurableOrchestrationClient, kind: str
) -> func.HttpResponse:
    body = read_body(req.headers.get("content-type", ""), req.get_body(), kind)
    owner = owner_of(req, body.user_id)
    provider, moved_from = _provider(services, kind, body)
    now = services.now()
    request = to_request(body, provider)
    job = Job(names.new_job_id(now), owner, kind, request, provider.name, now, now, moved_from=moved_from)
    key = _checked_key(req.headers.get("idempotency-key"))
    job, replayed = await asyncio.to_thread(_accept, services, job, body, provider, key)
    if not replayed:
        await _start(services, client, job)
    return _accepted(services, req, job, replayed)


def _provider(services: Services, kind: str, body: VideoBody | ImageBody) -> tuple[Provider, tuple[str, ...]]:
    """The one that is named, or the default, or who takes over from it; and those that have retired on the way."""
    offered = {provider.name: provider for provider in services.providers.values() if provider.kind == kind}
    if not offered:
        raise RequestRefused(503, "no_provider", NO_PROVIDER[kind])
    name = body.provider
    living = [one.name for one in offered.values() if not one.terms.retired(services.now())]
    allowed = f"allowed: {', '.join(living)}" if living else "no other is configured"
    if name is not None and name not in offered:
        raise refused(FieldError("provider", f"{name!r} is not configured; {allowed}"))
    first = offered[name] if name is not None else next(iter(offered.values()))
    provider, passed = _who_lives(first, offered, living)
    if provider is None:
        retired = FieldError("provider", f"{first.name!r} retired after {first.terms.retires_on}; {allowed}")
        raise RequestRefused(400, "model_retired", f"{retired.field}: {retired.message}", (retired,))
    if _image_of(body) and not provider.abilities.input_image:
        able = ", ".join(one for one in living if offered[one].abilities.input_image)
        words = f"name one that does in provider: {able}" if able else "no configured provider does"
        raise refused(FieldError("input_image", f"{provider.name!r} makes no video from a picture; {words}"))
    return provider, passed


def _who_lives(
    first: Provider, offered: dict[str, Provider], living: list[str]
) -> tuple[Provider | None, tuple[str, ...]]:
    """The provider itself, or the nearest of its fallbacks that has not retired; and the retired ones before it."""
    names_to_try, passed = [first.name], tuple[str, ...]()
    while names_to_try:
        name = names_to_try.pop(0)
        if name in living:
            return offered[name], passed
        if name not in passed:
            passed += (name,)
            names_to_try += [one for one in offered[name].fallback if one in offered]
    return None, passed


def _image_of(body: VideoBody | ImageBody) -> InputImageBody | None:
    return body.input_image if isinstance(body, VideoBody) else None


def _checked_key(key: str | None) -> str | None:
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise refused(FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    return key


def _accept(
    services: Services, job: Job, body: VideoBody | ImageBody, provider: Provider, key: str | None
) -> tuple[Job, bool]:
    """The job as recorded, and whether it was there before."""
    ours = IdempotencyClaim(job.job_id, body.digest())
    image, picture = _image_of(body), None
    if image:
        if key and (holds := services.idempotency.get(job.owner, key)):
            job, replayed = _held(services, job, ours, holds)
            if replayed:
                return job, True
        job, picture = _with_picture(services, job, body, provider, image)
    if key:
        holds = services.idempotency.claim(job.owner, key, replace(ours, job_id=job.job_id))
        job, replayed = _held(services, job, ours, holds)
        if replayed:
            return job, True
    if picture:
        job = _keep_picture(services, job, picture)
    return _record(services, job)


def _held(services: Services, job: Job, ours: IdempotencyClaim, holds: IdempotencyClaim) -> tuple[Job, bool]:
    """The job that holds the key, and whether it was there before. Raises RequestRefused (422) for another body."""
    if holds.body_digest != ours.body_digest:
        detail = "This Idempotency-Key was used with another body. Use a new key for a new job."
        raise RequestRefused(422, "idempotency_mismatch", detail, (FieldError("Idempotency-Key", detail),))
    found = services.jobs.get(job.owner, holds.job_id)
    # no record: the first POST died between its two writes, so this one finishes it under the same id
    return (found, True) if found else (replace(job, job_id=holds.job_id), False)


def _with_picture(
    services: Services, job: Job, body: VideoBody | ImageBody, provider: Provider, image: InputImageBody
) -> tuple[Job, Picture]:
    """The job with the size that its picture gives it, and the picture in that size. Raises RequestRefused."""
    try:
        data = image.base64 or fetch_file(image.url or "", pictures.MAX_PICTURE_BYTES, services.settings.allow_private)
        form = pictures.inspect(data, image.media_type)
        request = to_request(body, provider, (form.width, form.height))
        picture = pictures.adapt(data, form, (request.width, request.height), image.fit)
    except NotFetched as error:
        raise refused(FieldError("input_image.url", str(error))) from None
    except PictureRefused as error:
        raise refused(FieldError("input_image", str(error))) from None
    return replace(job, request=request), picture


def _keep_picture(services: Services, job: Job, picture: Picture) -> Job:
    # named by what it is: of two POSTs with one key, the slower must not replace the picture of the faster
    name = f"input-{picture.digest[:8]}.{EXTENSIONS[picture.media_type]}"
    path = f"{names.job_prefix(job.owner, job.kind, job.job_id)}{name}"
    services.clips.put(path, picture.data, content_type=picture.media_type)
    image = InputImage(path, picture.media_type, picture.width, picture.height, picture.digest)
    return replace(job, request=replace(job.request, input_image=image))


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
    links = Links(req.url, job.kind).of(job.job_id)
    body: dict[str, Any] = {
        "job_id": job.job_id, "status": job.status, **links, "created_at": to_iso(job.created_at),
    }  # fmt: skip
    headers = {"Location": links["status_url"], **retry_after(job, services.now())}
    if replayed:
        headers["Idempotent_Replayed"] = "true"
    return json_answer(body, 200 if replayed else 202, **headers)
