"""How each server words a refusal: HTTP status, error body and headers.

Kinds are those of faults.KINDS, and: `api_version`, `not_ready` and `no_content` (content before the end, of a failed
video), `content_expired`, `no_variant`, `not_deletable`, `list_needs_model`, `in_cloud`. One function for each wording:
`azure` and `openai` as recorded or specified, the others as their sources show. OpenAI's words are the base of all but
Azure's; where a server's own words differ they stand in _OWN. Bodies nobody recorded are our guess in the same style.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

_POLICY = "Your task failed as a result of our safety system."
_POLICY_OUTPUT = "Generated image was filtered as a result of our safety system."
_BLOCKED = "Your request was blocked by our moderation system."


@dataclass(frozen=True)
class Words:
    """An error in OpenAI's form: {"error": {message, type, param, code, **more}}."""

    status: int
    message: str
    type: str | None = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def error(self) -> dict[str, Any]:
        """The error object."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code, **self.more}


def answer(style: str, kind: str, args: Mapping[str, Any], shape: str | None = None) -> web.Response:
    """Word a refusal. `shape`: flat (no wrapping `error`), html or empty instead of the server's own form.

    `args` are the fault kind's, and: `media` image for the image operations, `model`, `output` True when the filter
    refused what was made, `path` of a wrong route, `url` of content elsewhere, `where` query for a bad query parameter.
    """
    status, body = _STYLES[style](kind, args)
    after = args.get("retry_after")
    headers = {"Retry-After": str(after)} if kind == "rate_limited" and after is not None else {}
    if shape == "empty":
        return web.Response(status=status, headers=headers)
    inner = body.get("error", body) if isinstance(body, dict) else body
    if shape == "html":
        said = inner.get("message", inner.get("detail")) if isinstance(inner, dict) else inner
        text = f"<html><head><title>{status}</title></head><body><h1>{status} {said}</h1></body></html>"
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)
    if isinstance(body, str):
        return web.Response(status=status, text=body, headers=headers)
    return web.json_response(inner if shape == "flat" else body, status=status, headers=headers)


def failure(words: str, reason: str) -> dict[str, Any]:
    """The `error` of a failed video, from a failure_reason."""
    moderated = reason in ("input_moderation", "output_moderation", "moderation_blocked")
    message = _BLOCKED if moderated else f"The video could not be generated: {reason}."
    if words == "vllm":
        code = int(reason) if reason.isdecimal() and 400 <= int(reason) < 600 else 400 if moderated else 500
        return {"code": code, "message": message}
    if words == "sglang":
        return {"message": message}
    if words == "aquiles":
        return {"code": "generation_error", "message": message}
    return {"code": "moderation_blocked" if moderated else reason, "message": message}


def _openai(kind: str, args: Mapping[str, Any]) -> Words:
    model, image = args.get("model") or "this one", args.get("media") == "image"
    if kind == "wrong_route":
        return Words(404, f"Invalid URL ({args.get('path') or 'GET /v1'})")
    if kind == "not_found":
        return Words(404, f"Video with id '{args.get('id') or 'unknown'}' not found.")
    if kind == "not_ready":
        return Words(404, "Video is not ready yet, use GET /v1/videos/{video_id} to check status.")
    if kind == "no_content":
        return Words(404, "The video could not be generated: it has no content.")
    if kind == "content_expired":
        return Words(404, "The video is no longer available. Downloads expire after 1 hours.")
    if kind == "not_deletable":
        return Words(400, "The video is still being generated and cannot be deleted.", param="video_id")
    if kind == "deployment_not_found":
        text = f"The model '{model}' does not exist or you do not have access to it."
        return Words(404, text, code="model_not_found")
    if kind == "unauthorized":
        return Words(401, "Incorrect API key provided.", code="invalid_api_key")
    if kind == "forbidden":
        return Words(403, "You have insufficient permissions for this operation.", code="insufficient_permissions")
    if kind == "too_many_running":
        return Words(429, "Too many running tasks", "video_generation_user_error")
    if kind == "rate_limited":
        return Words(429, "Rate limit reached for requests.", "requests", code="rate_limit_exceeded")
    if kind == "invalid":
        message = args.get("message") or f"Invalid value for '{args.get('param')}'."
        return Words(400, message, param=args.get("param"), code=args.get("code", "invalid_value"))
    if kind == "moderated":
        words = _moderated_image(args) if image else Words(400, _BLOCKED, code="moderation_blocked")
        return Words(400, words.message, words.type, code=args.get("code") or words.code)
    return Words(int(args.get("status", 500)), "The server had an error while processing your request.", "server_error")


def _moderated_image(args: Mapping[str, Any]) -> Words:
    if "dall-e" in str(args.get("model")):
        text = "Your request was rejected as a result of our safety system. Your prompt may contain text not allowed."
        return Words(400, text, code="content_policy_violation")
    text = "Your request was rejected by the safety system. safety_violations=[violence]."
    return Words(400, text, "image_generation_user_error", code="moderation_blocked")


def _azure(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """As recorded from the service where a record exists: from the jobs API, and the same bodies from its successor."""

    def user_error(status: int, message: str, param: str | None = None, code: str | None = None) -> Words:
        return Words(status, message, "video_generation_user_error", param, code)

    def bare(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
        return status, {"error": {"code": code, "message": message}}

    media = args.get("media", "jobs")  # jobs, video or image: what the dialect makes
    if kind in ("wrong_route", "not_found"):
        return bare(404, "404", "Resource not found")
    if kind == "unauthorized":
        text = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for "
            "an active subscription and use a correct regional API endpoint for your resource."
        )
        return bare(401, "401", text)
    what = "image generation" if media == "image" else "video generation"
    if kind == "forbidden":
        text = f"The principal lacks the required data action to perform this operation on the {what} resource."
        return bare(403, "PermissionDenied", text)
    if kind == "rate_limited":
        text = f"Requests to the {what} operation have exceeded the call rate limit of your current tier."
        return bare(429, "429", f"{text} Please retry later.")
    if kind == "api_version":
        return bare(400, "BadRequest", "API version not supported")
    if kind == "server_error":
        status = int(args.get("status", 500))
        return bare(status, str(status), "The service is temporarily unable to process your request.")
    if kind == "deployment_not_found":
        text = (
            f"The API deployment '{args.get('model') or 'this one'}' for this resource does not exist. If you created "
            "the deployment within the last 5 minutes, please wait a moment and try again."
        )
        words = user_error(404, text)
        if media == "image":
            words = Words(404, text, None, code="DeploymentNotFound")
    elif kind == "too_many_running":
        words = user_error(429, "Too many running tasks")
    elif kind == "invalid" and media == "jobs":
        param = args.get("param")
        words = user_error(400, args.get("message") or f"Invalid value for '{param}'.", param, "invalid_value")
    elif kind == "moderated" and media == "jobs":
        text = "The prompt was blocked by the content filter: it may violate our content policy."
        details = {"code": "ResponsibleAIPolicyViolation", "revised_prompt": None, "error_details": None}
        error = user_error(400, text, "prompt", args.get("code") or "contentFilter").error()
        return 400, {"error": {**error, "inner_error": details}}
    elif kind == "moderated" and media == "image":
        words = _azure_filtered_image(args)
    elif kind == "moderated":
        words = user_error(400, _BLOCKED, code=args.get("code") or "moderation_blocked")
    else:
        words = _openai(kind, args)
    return words.status, {"error": words.error()}


def _azure_filtered_image(args: Mapping[str, Any]) -> Words:
    if "dall-e" in str(args.get("model")):  # the older shape
        hate = {"filtered": False, "severity": "safe"}
        results = {"hate": hate, "violence": {"filtered": True, "severity": "medium"}}
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": results, "revised_prompt": None}
        words = _moderated_image(args)
        code = args.get("code") or words.code
        return Words(400, words.message, words.type, code=code, more={"inner_error": inner})
    text = _POLICY_OUTPUT if args.get("output") else _POLICY
    return Words(400, text, None, code=args.get("code") or "contentFilter")


# Where a server's own words differ from OpenAI's: (style, kind) -> status, message.
_OWN: dict[tuple[str, str], tuple[int, str]] = {
    ("vllm", "wrong_route"): (404, "Not Found"),
    ("vllm", "not_found"): (404, "Video not found"),
    ("vllm", "not_ready"): (404, "Generation is still in-progress"),
    ("vllm", "no_content"): (422, "Video generation failed. Check job status for error details."),
    ("vllm", "content_expired"): (404, "Generated video file not found on disk"),
    ("vllm", "deployment_not_found"): (400, "Model mismatch: request specifies '{model}', server is running another."),
    ("sglang", "wrong_route"): (404, "Not Found"),
    ("sglang", "not_found"): (404, "Video not found"),
    ("sglang", "not_ready"): (404, "Generation is still in-progress"),
    ("sglang", "no_content"): (404, "Video variant {variant} not found"),
    ("sglang", "no_variant"): (404, "Video variant {variant} not found"),
    ("sglang", "in_cloud"): (400, "Video has been uploaded to cloud storage. Please use the cloud URL: {url}"),
    ("aquiles", "wrong_route"): (404, "Not Found"),
    ("aquiles", "not_found"): (404, "Video not found"),
    ("aquiles", "unauthorized"): (403, "Invalid API key"),
    ("aquiles", "too_many_running"): (503, "The limit of 1 concurrent tasks has been reached. Please try again later."),
}
_BARE_500 = frozenset({"invalid", "not_ready", "no_content"})  # Aquiles-Image: an exception nobody catches


def _own(style: str, kind: str, args: Mapping[str, Any]) -> tuple[int, str]:
    if (style, kind) in _OWN:
        status, message = _OWN[style, kind]
        shown = {"model": args.get("model") or "this one", "variant": args.get("variant"), "url": args.get("url")}
        return status, message.format(**shown)
    words = _openai(kind, args)
    return words.status, words.message


def _vllm(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    if kind == "unauthorized":
        return 401, {"error": "Unauthorized"}
    status, message = _own("vllm", kind, args)
    error = {"message": message, "type": HTTPStatus(status).phrase, "param": None, "code": status}
    return status, {"error": error}


def _sglang(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    if kind == "unauthorized":
        return 401, {"error": "Unauthorized"}
    status, message = _own("sglang", kind, args)
    if args.get("where") == "query":
        return _bad_query(args)
    return status, {"detail": f"Invalid request body: {message}" if kind == "invalid" else message}


def _bad_query(args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """As FastAPI says it."""
    return 422, {"detail": [{"type": "value_error", "loc": ["query", args["param"]], "msg": args["message"]}]}


def _aquiles(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any] | str]:
    if args.get("where") == "query":
        return _bad_query(args)
    if kind in _BARE_500:
        return 500, "Internal Server Error"
    status, message = _own("aquiles", kind, args)
    return status, {"detail": message}


_LITELLM = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


def _litellm(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The proxy's own refusals, and the upstream's body as text inside the message; codes are strings."""

    def error(status: int, message: str, sort: str | None, param: str | None = None) -> tuple[int, dict[str, Any]]:
        return status, {"error": {"message": message, "type": sort, "param": param, "code": str(status)}}

    if kind == "wrong_route":
        return 404, {"detail": "Not Found"}
    if kind == "unauthorized":
        text = (
            "Authentication Error, Invalid proxy server token passed. Unable to find token in cache or `LiteLLM_Verif"
        )
        return error(401, f"{text}icationTokenTable`", "token_not_found_in_db", "key")
    if kind == "deployment_not_found":
        text = (
            f"/videos: Invalid model name passed in model={args.get('model') or 'this one'}. Call `/v1/models` to view"
        )
        return error(400, f"{{'error': '{text} available models for your key.'}}", "None", "None")
    if kind == "list_needs_model":
        text = "LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model=None"
        return error(400, f"litellm.BadRequestError: {text}", None)
    words = _openai(kind, args)
    sort = _LITELLM.get(words.status, "InternalServerError")
    if kind == "moderated":
        sort += ": litellm.ContentPolicyViolationError"
    upstream = json.dumps({"error": words.error()})
    return error(words.status, f"litellm.{sort}: OpenAIException - {upstream}", words.type)


def _plain_openai(kind: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    words = _openai(kind, args)
    return words.status, {"error": words.error()}


_STYLES: dict[str, Callable[[str, Mapping[str, Any]], tuple[int, Any]]] = {
    "azure": _azure,
    "openai": _plain_openai,
    "vllm": _vllm,
    "sglang": _sglang,
    "aquiles": _aquiles,
    "litellm": _litellm,
}
