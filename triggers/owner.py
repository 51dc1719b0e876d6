"""Who a request speaks for, and which job it is about.

With function keys the caller is a trusted backend and names the owner itself.
"""

from __future__ import annotations

import azure.functions as func

from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import Job
from reelkeeper.services import Services
from triggers.bodies import refused

DEFAULT_OWNER = "default"
MAX_OWNER = 256


def owner_of(req: func.HttpRequest, user_id: str | None = None) -> str:
    """`user_id` of the body, the header ``X-User-Id`` or the query's ``user_id``; else ``default``.

    Raises RequestRefused (400) when they disagree or are no usable text.
    """
    header, query = req.headers.get("x-user-id"), req.params.get("user_id")
    given = [name for name in (user_id, header, query) if name is not None]
    if len(set(given)) > 1:
        raise refused(FieldError("user_id", "differs between the body, the X-User-Id header and the query"))
    owner = given[0] if given else DEFAULT_OWNER
    if len(owner) > MAX_OWNER or not owner.isprintable() or not owner.strip():
        raise refused(FieldError("user_id", f"must be 1 to {MAX_OWNER} printable characters"))
    return owner


def own_job(services: Services, req: func.HttpRequest, kind: str) -> Job:
    """The caller's own job. Raises RequestRefused (404) alike for a missing one and for somebody else's."""
    job_id = req.route_params["job_id"].lower()
    job = services.jobs.get(owner_of(req), job_id)
    if job is None or job.kind != kind:
        raise RequestRefused(404, "job_not_found", f"There is no job {job_id[:100]} of this owner among the {kind}.")
    return job
