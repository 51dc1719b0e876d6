"""What a provider's refusal means: (what we were doing, HTTP status, its words) -> code. Tables of data, all dialects.

The first row that fits counts. Words are looked for in the message and in every code and type of the error object, in
lower case: real servers put the telling one anywhere. Codes are explained in `reelkeeper.errors.ADVICE`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CREATE, LIST, LOOK, CANCEL, CONTENT, AWAY = "create", "list", "look", "cancel", "content", "away"
"""What we were doing. `AWAY`: fetching content from where the provider sent us, without its credentials."""

EVERY = (CREATE, LIST, LOOK, CANCEL, CONTENT, AWAY)
REFUSED_PROMPT = r"moderat|policy|filter|safety system"
REFUSED_CONTENT = r"moderat|content.?policy|policy.?violation|content.?filter|filtered|safety system"
"""A failed task may also tell of a video filter or of a retry policy, so its words are taken more exactly."""


@dataclass(frozen=True)
class Row:
    """`statuses`: a range of HTTP codes or some of them. `words`: patterns that must all be found."""

    code: str
    statuses: range | tuple[int, ...]
    words: tuple[str, ...] = ()
    doing: tuple[str, ...] = EVERY


REFUSALS: tuple[Row, ...] = (
    Row("model_retired", (410,), doing=(CREATE,)),
    Row("model_retired", (400, 404), ("model|deployment", "retired|deprecated"), (CREATE,)),
    Row("deployment_not_found", (404,), ("model|deployment",), (CREATE,)),
    Row(
        "deployment_not_found",
        (400,),
        ("invalid model name|model mismatch|model.{0,80}does not exist",),
        (CREATE,),
    ),
    Row("endpoint_not_found", (404,), doing=(CREATE,)),
    Row("moderation_output", (400,), (REFUSED_CONTENT, r"\boutput|generated"), (CREATE,)),
    Row("moderation_input", (400,), (REFUSED_PROMPT,), (CREATE,)),
    Row("endpoint_not_found", (404, 410, 501), doing=(LIST, CANCEL)),
    Row("task_lost", (404, 410), doing=(LOOK,)),
    Row("content_expired", (404,), ("no longer available|downloads expire|has expired",), (CONTENT,)),
    Row("content_expired", (410,), doing=(CONTENT,)),
    Row("content_not_ready", (404,), doing=(CONTENT,)),
    # away from home it is the address that ran out, not the video: the provider gives a new one the next time
    Row("content_not_ready", (404, 410), doing=(AWAY,)),
    Row("provider_error", (401, 403), doing=(AWAY,)),
    Row("invalid_credentials", (401, 402, 403)),
    Row("too_many_running", (429,), ("running|concurren",)),
    Row("too_many_running", (503,), ("limit of.{0,20}concurren",)),
    Row("rate_limited", (429,)),
    Row("provider_error", (408, 409, 425, *range(500, 600))),
    Row("content_invalid", range(100, 600), doing=(CONTENT, AWAY)),
    Row("endpoint_not_found", (*range(300, 400), 405)),
    Row("invalid_request", range(100, 600)),
)

FAILED_TASKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("moderation_output", (REFUSED_CONTENT, "output|generated")),
    ("moderation_input", (REFUSED_CONTENT, "input|prompt|request")),
    ("moderation_output", (REFUSED_CONTENT,)),
    ("invalid_request", (r"^(400|413|415|422)\b|^invalid_",)),
    ("provider_error", ()),
)
"""Code, and the patterns that must all be found in the failed task's own code and message."""


def code_of_refusal(doing: str, status: int, error: Mapping[str, Any]) -> str:
    """The code of an answer that is none; `error` as `error_object` reads it."""
    return refusal_row(doing, status, error).code


def refusal_row(doing: str, status: int, error: Mapping[str, Any]) -> Row:
    words = _words(error)
    return next(
        (row for row in REFUSALS if doing in row.doing and status in row.statuses and _all_found(row.words, words)),
        REFUSALS[-1],
    )


def code_of_failed_task(code: object, message: object) -> str:
    """The code of a task that the provider itself calls failed, from the reason that it gives."""
    words = f"{_text(code)} {_text(message)}".strip().lower()
    return next(ours for ours, patterns in FAILED_TASKS if _all_found(patterns, words))


def error_object(body: object) -> Mapping[str, Any]:
    """The error of an answer: ``{"error": {...}}``, ``{"error": "text"}`` or flat; {} for HTML and the like."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    return body if not error or "message" in body else {"message": error}


def message_of(error: Mapping[str, Any], status: int) -> str:
    return str(error.get("message") or error.get("detail") or f"HTTP {status} without a message")


def _words(error: Mapping[str, Any]) -> str:
    inner = error.get("inner_error") or error.get("innererror") or {}
    told = [error.get("message") or error.get("detail"), error.get("code"), error.get("type")]
    told.append(inner.get("code") if isinstance(inner, dict) else inner)
    return " ".join(_text(part) for part in told).lower()


def _all_found(patterns: tuple[str, ...], words: str) -> bool:
    return all(re.search(pattern, words) for pattern in patterns)


def _text(value: object) -> str:
    return "" if value is None else str(value)
