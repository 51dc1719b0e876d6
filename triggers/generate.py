"""POST /api/{kind}/generate: a validated request becomes a record, and only then anything else.

1. Validate everything; nothing exists until the request is right. A picture to begin with is fetched and judged, unless
   the idempotency key leads to a job that is there already.
2. Accept it (see `triggers.accepting`) and start it.
"""

from __future__ import annotations

import asyncio

import azure.durable_functions as df
import azure.functions as func

from reelkeeper import names
from reelkeeper.model import Job
from reelkeeper.services import Services
from triggers.accepting import accept, key_of, start
from triggers.answers import json_answer
from triggers.bodies import read_body
from triggers.offers import offer
from triggers.owner import owner_of
from triggers.views import Links, accepted_body, retry_after


async def generate(
    services: Services, req: func.HttpRequest, client: df.DurableOrchestrationClient, kind: str
) -> func.HttpResponse:
    body = read_body(req.headers.get("content-type", ""), req.get_body(), kind)
    owner = owner_of(req, body.user_id)
    offered, key = offer(services, kind, body), key_of(req)
    job = offered.job(names.new_job_id(services.now()), owner, kind, services.now())
    job, replayed = await asyncio.to_thread(accept, services, job, offered, key)
    if not replayed:
        await start(client, [job])
    return _accepted(services, req, job, replayed)


def _accepted(services: Services, req: func.HttpRequest, job: Job, replayed: bool) -> func.HttpResponse:
    body = accepted_body(job, Links(req.url, job.kind))
    headers = {"Location": body["status_url"], **retry_after(job, services.now())}
    if replayed:
        headers["Idempotent_Replayed"] = "true"
    return json_answer(body, 200 if replayed else 202, **headers)
