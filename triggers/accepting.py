"""A judged request becomes a job, in an order in which no crash loses anything or pays twice.

1. An idempotency key is bound to the id before anything else exists, so a repeated POST finds the same job.
2. Watchdog row: whatever is left of a POST that dies before its record is swept away.
3. The picture to begin with, below the job's prefix.
4. The record: from here on the job cannot be lost.
5. Start `render` under the job's id. If that fails, the job is accepted all the same: the sweep starts it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import replace

import azure.durable_functions as df
import azure.functions as func

from reelkeeper import names, pictures, policy
from reelkeeper.errors import FieldError, RecordExists, RequestRefused
from reelkeeper.model import InputImage, Job
from reelkeeper.outbound.base import FetcherBusy, NotFetched
from reelkeeper.parts import EXTENSIONS
from reelkeeper.pictures import Picture, PictureRefused
from reelkeeper.records.base import IdempotencyClaim, Watch
from reelkeeper.services import Services
from triggers.bodies import refused
from triggers.offers import Offer

log = logging.getLogger(__name__)

STARTS_AT_ONCE, START_SECONDS = 16, 20.0
"""The jobs are safe by then: a caller need not wait longer for a host that does not answer."""

BUSY, BUSY_SECONDS = "busy", 5
"""Code of the refusal when no picture more can be fetched at the moment, and when to come again."""


def key_of(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key. Raises RequestRefused (400)."""
    key: str | None = req.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise refused(FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    return key


def accept(services: Services, job: Job, offer: Offer, key: str | None) -> tuple[Job, bool]:
    """The job as recorded, and whether it was there before. Raises RequestRefused."""
    digest, picture, finishes = offer.body.digest(), None, False
    if key:
        job = replace(job, key_digest=names.key_digest(key))
    if offer.image:
        claimed = services.idempotency.get(job.owner, key) if key else None
        if claimed and (found := _held(services, job, claimed, digest)):
            return found, True
        job, picture = with_picture(services, job, offer)
    if key:
        holds = services.idempotency.claim(job.owner, key, IdempotencyClaim(job.job_id, digest))
        if found := _held(services, job, holds, digest):
            return found, True
        finishes, job = holds.job_id != job.job_id, replace(job, job_id=holds.job_id)
    watch(services, job)
    if picture:
        job = put_picture(services, job, picture)
    job, replayed = _record(services, job)
    if finishes and not replayed:
        watch(services, job)  # the sweep may have cleared what the POST that died had left, and this one's with it
        if picture:
            put_picture(services, job, picture)
    if key and not replayed:
        check_still_wanted(services, [job], key)
    return job, replayed


def check_still_wanted(services: Services, jobs: Sequence[Job], key: str) -> None:
    """Raises RequestRefused (410) where a faster POST made these jobs and its owner deleted them, before we did.

    One that has gone or changed since we recorded it is of the other kind: deleted after us, and no others with it.
    """
    holds = services.idempotency.get(jobs[0].owner, key)
    if holds and holds.deleted and all(_untouched(services, job) for job in jobs):
        for job in jobs:
            watch(services, job)
            services.jobs.delete(job)
        check_not_deleted(holds)


def _untouched(services: Services, job: Job) -> bool:
    current = services.jobs.get(job.owner, job.job_id)
    return current is not None and current.etag == job.etag


def _held(services: Services, job: Job, holds: IdempotencyClaim, digest: str) -> Job | None:
    """The job that holds the key. None: its POST died before the record, so this one finishes it under the same id."""
    check_claim(holds, digest)
    found = services.jobs.get(job.owner, holds.job_id)
    if found is None:
        check_not_deleted(holds)
    return found


def check_claim(holds: IdempotencyClaim, digest: str) -> None:
    """Raises RequestRefused (422) where the key stands for another body."""
    if holds.body_digest != digest:
        detail = "This Idempotency-Key was used with another body. Use a new key for a new job."
        raise RequestRefused(422, "idempotency_mismatch", detail, (FieldError("Idempotency-Key", detail),))


def check_not_deleted(holds: IdempotencyClaim) -> None:
    """Raises RequestRefused (410): nobody pays again for what was deleted."""
    if holds.deleted:
        detail = "What this Idempotency-Key made was deleted. Use a new key to make it anew."
        raise RequestRefused(410, "job_deleted", detail, (FieldError("Idempotency-Key", detail),))


def with_picture(services: Services, job: Job, offer: Offer) -> tuple[Job, Picture]:
    """The job with the size that its picture gives it, and the picture in that size. Raises RequestRefused."""
    image = offer.image
    assert image is not None  # callers look
    try:
        data = image.base64 or services.fetcher.fetch(image.url or "", pictures.MAX_PICTURE_BYTES)
        form = pictures.inspect(data, image.media_type)
        request = offer.for_picture((form.width, form.height))
        picture = pictures.adapt(data, form, (request.width, request.height), image.fit)
    except FetcherBusy as busy:
        raise RequestRefused(503, BUSY, f"input_image.url {busy}.", retry_after=BUSY_SECONDS) from None
    except NotFetched as error:
        raise refused(FieldError("input_image.url", str(error))) from None
    except PictureRefused as error:
        raise refused(FieldError("input_image", str(error))) from None
    return replace(job, request=request), picture


def put_picture(services: Services, job: Job, picture: Picture) -> Job:
    # named by what it is: of two POSTs with one key, the slower must not replace the picture of the faster
    name = f"input-{picture.digest[:8]}.{EXTENSIONS[picture.media_type]}"
    path = f"{names.job_prefix(job.owner, job.kind, job.job_id)}{name}"
    services.clips.put(path, picture.data, content_type=picture.media_type)
    image = InputImage(path, picture.media_type, picture.width, picture.height, picture.digest)
    return replace(job, request=replace(job.request, input_image=image))


def watch(services: Services, job: Job) -> None:
    services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, services.now() + policy.START_GRACE))


def _record(services: Services, job: Job) -> tuple[Job, bool]:
    """The job as recorded, and whether a POST at the same time with the same key was faster: that one starts it."""
    try:
        return services.jobs.insert(job), False
    except RecordExists:
        twin = services.jobs.get(job.owner, job.job_id)
        if twin is None:
            raise
        return twin, job.key_digest is not None  # without a key it is our own: storage was asked twice


async def start(client: df.DurableOrchestrationClient, jobs: Sequence[Job], seconds: float = START_SECONDS) -> None:
    """Start every job's `render`, a few at a time. What cannot be started in time is logged, and left to the sweep."""
    places = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start_one(job: Job) -> None:
        async with places:
            await client.start_new("render", job.job_id, {"owner": job.owner, "job_id": job.job_id})

    starts = [asyncio.create_task(start_one(job)) for job in jobs]
    await asyncio.wait(starts, timeout=seconds)
    for job, one in zip(jobs, starts, strict=True):
        if one.cancel():
            log.error("job %s: accepted, but not started within %g s; the sweep will", job.job_id, seconds)
        elif error := one.exception():
            log.error("job %s: accepted, but its orchestration could not be started; the sweep will", job.job_id,
                      exc_info=error)  # fmt: skip
        else:
            log.info("job %s: accepted", job.job_id)
