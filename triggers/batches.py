"""POST /api/{kind}/batches and GET /api/{kind}/batches/{id}: up to 100 jobs with one request, all of them or none.

1. Validate every request; nothing exists until all are right. Pictures are judged and put before anything is recorded.
2. An idempotency key is bound to the batch's id. The jobs' ids follow from it, so a repeated POST makes the same jobs.
3. The watchdog rows of all jobs, then all records in one transaction: from here on no job can be lost.
4. Start `render` for each, a few at a time; what cannot be started in time the sweep starts.

A batch has no record of its own: it *is* its jobs.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial

import azure.durable_functions as df
import azure.functions as func

from reelkeeper import names
from reelkeeper.errors import FieldError, RecordExists, RequestRefused
from reelkeeper.model import Job, to_iso
from reelkeeper.records.base import IdempotencyClaim
from reelkeeper.services import Services
from triggers.accepting import check_claim, check_not_deleted, check_still_wanted, key_of, start, watch
from triggers.answers import json_answer, tagged_answer
from triggers.batch_bodies import read_batch
from triggers.batch_pictures import put_pictures, take_back
from triggers.offers import Offer
from triggers.owner import owner_of
from triggers.views import Links, accepted_body, batch_body, retry_after

ROWS_AT_ONCE = 8


async def create_batch(
    services: Services, req: func.HttpRequest, client: df.DurableOrchestrationClient, kind: str
) -> func.HttpResponse:
    jobs, replayed = await asyncio.to_thread(_accept, services, req, kind)
    if not replayed:
        await start(client, jobs)
    links = Links(req.url, kind)
    batch_id = str(jobs[0].batch_id)
    body = {
        "batch_id": batch_id,
        "jobs": [accepted_body(job, links) for job in jobs],
        "status_url": links.of_batch(batch_id),
        "created_at": to_iso(jobs[0].created_at),
    }
    headers = {"Location": links.of_batch(batch_id), **_soonest(services, jobs)}
    if replayed:
        headers["Idempotent_Replayed"] = "true"
    return json_answer(body, 200 if replayed else 202, **headers)


def get_batch(services: Services, req: func.HttpRequest, kind: str) -> func.HttpResponse:
    batch_id = req.route_params["batch_id"].lower()
    jobs = [job for job in services.jobs.batch(owner_of(req), batch_id) if job.kind == kind]
    if not jobs:
        detail = f"There is no batch {batch_id[:100]} of this owner among the {kind}."
        raise RequestRefused(404, "batch_not_found", detail)
    body = batch_body(jobs, Links(req.url, kind), services.now())
    return tagged_answer(req, body, 200, **_soonest(services, jobs))


def _soonest(services: Services, jobs: list[Job]) -> dict[str, str]:
    """The Retry-After header: when the first of the unfinished jobs is worth a look."""
    headers = [retry_after(job, services.now()) for job in jobs if not job.finished]
    return min(headers, key=lambda header: int(header["Retry_After"]), default={})


def _accept(services: Services, req: func.HttpRequest, kind: str) -> tuple[list[Job], bool]:
    """The jobs as recorded, in the order of the requests, and whether they were there before."""
    owner, offers = read_batch(services, req, kind)
    key = key_of(req)
    claimed = services.idempotency.get(owner, key) if key else None
    return _write(services, owner, kind, offers, key, claimed)


def _write(
    services: Services, owner: str, kind: str, offers: list[Offer], key: str | None, holds: IdempotencyClaim | None
) -> tuple[list[Job], bool]:
    """`holds`: the claim on the key, where there is one already."""
    digests = "\n".join(offer.body.digest() for offer in offers)
    ours = IdempotencyClaim(names.new_job_id(services.now()), hashlib.sha256(f"batch\n{digests}".encode()).hexdigest())
    if holds:
        check_claim(holds, ours.body_digest)
        if found := services.jobs.batch(owner, holds.job_id):
            return found, True
        check_not_deleted(holds)
    jobs = _jobs(owner, kind, offers, key, (holds or ours).job_id, services.now())
    try:
        put_pictures(services, jobs, offers)
    except Exception:
        if not holds:  # else a POST at the same time may be making the same jobs
            take_back(services, jobs)
        raise
    if key and not holds:
        holds = services.idempotency.claim(owner, key, ours)
        if holds != ours:  # a POST at the same time was faster
            take_back(services, jobs)
            return _write(services, owner, kind, offers, key, holds)
    jobs, replayed = _record(services, jobs)
    if key and not replayed:
        if holds != ours:  # the sweep may have taken the rows of the POST that died, and these with them
            _watch_all(services, jobs)
        check_still_wanted(services, jobs, key)
    return jobs, replayed


def _jobs(owner: str, kind: str, offers: list[Offer], key: str | None, batch_id: str, now: datetime) -> list[Job]:
    made = [offer.job(names.member_id(batch_id, index), owner, kind, now) for index, offer in enumerate(offers)]
    digest = names.key_digest(key) if key else None
    return [replace(job, batch_id=batch_id, key_digest=digest) for job in made]


def _record(services: Services, jobs: list[Job]) -> tuple[list[Job], bool]:
    """The jobs as recorded, and whether a POST at the same time with the same key was faster: that one starts them."""
    _watch_all(services, jobs)
    try:
        return services.jobs.insert_all(jobs), False
    except ValueError as error:  # text that takes six times its bytes as a record; what is written by now is swept away
        raise RequestRefused(413, "body_too_large", str(error), (FieldError("requests", str(error)),)) from None
    except RecordExists:
        twins = services.jobs.batch(jobs[0].owner, str(jobs[0].batch_id))
        if not twins:
            raise
        return twins, jobs[0].key_digest is not None  # without a key they are our own: storage was asked twice


def _watch_all(services: Services, jobs: list[Job]) -> None:
    with ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
        list(pool.map(partial(watch, services), jobs))
