"""HTTP answers: JSON with an ETag, and RFC 9457 problems. Nothing here knows what a job is."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import azure.functions as func

from reelkeeper.errors import FieldError, RequestRefused

log = logging.getLogger(__name__)


def json_answer(body: Any, status: int = 200, **headers: str) -> func.HttpResponse:
    """JSON, escaped to ASCII: a provider's message may end in half a surrogate pair, which UTF-8 cannot hold.

    Not to be kept by anybody, unless `headers` say so: it may hold signed URLs, and depends on the owner.
    """
    named = {"Cache-Control": "no-store", **_named(headers)}
    return func.HttpResponse(json.dumps(body), status_code=status, mimetype="application/json", headers=named)


def tagged_answer(req: func.HttpRequest, body: Any, status: int = 200, **headers: str) -> func.HttpResponse:
    """JSON with an ETag of its content; 304 without a body when the caller has it already."""
    headers = {"Cache_Control": "private, no-cache", **headers}
    etag = f'"{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]}"'
    known = {tag.strip().removeprefix("W/") for tag in req.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return func.HttpResponse(status_code=304, headers={**_named(headers), "ETag": etag})
    return json_answer(body, status, ETag=etag, **headers)


def redirect(location: str, **headers: str) -> func.HttpResponse:
    return func.HttpResponse(
        status_code=302, headers={**_named(headers), "Location": location, "Cache-Control": "no-store"}
    )


def problem(
    status: int, code: str, detail: str, errors: tuple[FieldError, ...] = (), headers: dict[str, str] | None = None,
    **more: Any,
) -> func.HttpResponse:  # fmt: skip
    """``application/problem+json`` (RFC 9457) with our `code`, and for the caller's mistakes the fields.

    Not to be kept: what is missing now may be there in a moment.
    """
    body: dict[str, Any] = {
        "type": f"urn:reelkeeper:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    if errors:
        body["errors"] = [{"field": error.field, "message": error.message} for error in errors]
    named = {"Cache-Control": "no-store", **(headers or {})}
    text = json.dumps(body)  # ASCII: it may quote what cannot be written as UTF-8
    return func.HttpResponse(text, status_code=status, mimetype="application/problem+json", headers=named)


def answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a refusal into its problem, a failure of the storage into a 503, a bug into a 500 that keeps our insides."""

    def failed(error: Exception) -> func.HttpResponse:
        if isinstance(error, RequestRefused):
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
            return problem(error.status, error.code, error.detail, error.errors, headers)
        log.error("%s failed", function.__name__, exc_info=error)
        from azure.core.exceptions import AzureError  # only now: it would slow the start of every worker

        if isinstance(error, AzureError):
            detail = "Our storage did not answer as it should. Try again in a moment; nothing is lost."
            return problem(503, "storage_unavailable", detail, headers={"Retry-After": "10"})
        return problem(500, "internal_error", "This is our mistake, not yours. The log of the app tells the cause.")

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def answer_async(*args: Any, **kwargs: Any) -> func.HttpResponse:
            try:
                return await function(*args, **kwargs)  # type: ignore[no-any-return]
            except Exception as error:
                return failed(error)

        return answer_async

    @functools.wraps(function)
    def answer(*args: Any, **kwargs: Any) -> func.HttpResponse:
        try:
            return function(*args, **kwargs)  # type: ignore[no-any-return]
        except Exception as error:
            return failed(error)

    return answer


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
