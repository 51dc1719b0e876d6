"""The `azure-jobs` dialect: ``/video/generations/jobs``, two ids (job, generation), no progress, no cancel verb.

Wire format: Azure OpenAI v1 preview specification, and what live servers answered. Notable: create answers 201 (the
specification says 200); error bodies come flat and wrapped; a generation carries no URL, its file is at
``/video/generations/{generation id}/content/video`` - with ``/video`` at the end.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.names import utc
from reelkeeper.providers.base import Abilities, Content, ProviderConfig
from reelkeeper.providers.http import Envelope, ProviderHttp

log = logging.getLogger(__name__)

LIST_PAGE, MOST_PAGES = 100, 20
"""A busy resource makes far fewer than 2,000 tasks in the minutes that `find` looks back."""

HEIGHTS = {480: (480, 854), 720: (720, 1280), 854: (480,), 1080: (1080, 1920), 1280: (720,), 1920: (1080,)}
ABILITIES = Abilities(
    sizes=tuple((width, height) for width, heights in HEIGHTS.items() for height in heights),
    seconds=(1, 20),
    variants_by_pixels=((1080 * 1080, 1), (720 * 720, 2), (0, 4)),
)

STATES = {
    "queued": "queued",
    "preprocessing": "queued",
    "running": "running",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
UNHAPPY = frozenset({"failed", "cancelled"})


class AzureJobs:
    """Adapter of one resource that speaks the dialect. See `Provider` for what the methods promise."""

    abilities = ABILITIES

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self.name, self.kind, self.model = config.name, config.kind, config.model
        self.place = f"{config.dialect} {config.base_url}"
        self._version = {"api-version": config.api_version} if config.api_version else {}
        self._http = ProviderHttp(config, now)
        self._now = now

    def submit(self, request: JobRequest) -> Task:
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "width": request.width,
            "height": request.height,
            "n_seconds": request.n_seconds,
            "n_variants": request.n_variants,
        }
        answer, envelope = self._http.exchange("POST", self._path("jobs"), _create_code, body)
        if not isinstance(answer.get("id"), str) or not answer["id"]:
            raise self._http.error("provider_error", "The provider's answer names no task id.", outcome_unknown=True)
        return self._task(answer, answer["id"], envelope)

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        found, after = [], None
        for _ in range(MOST_PAGES):
            page = {"limit": str(LIST_PAGE)} | ({"after": after} if after else {})
            answer, envelope = self._http.exchange("GET", self._path("jobs", **page), _list_code)
            items = answer.get("data")
            if not isinstance(items, list) or not all(_is_listed(item) for item in items):
                words = "The provider's list does not tell its tasks' ids, prompts and times."
                raise self._http.error("invalid_request", words)
            mine = [item for item in items if utc(item["created_at"]) >= since and _is_of(item, request)]
            found += [self._task(item, item["id"], envelope) for item in mine]
            if not items or not answer.get("has_more"):
                return sorted(found, key=lambda task: task.created_at)
            after = items[-1]["id"]
        raise self._http.error("provider_error", f"The provider's list is longer than {MOST_PAGES} pages.")

    def look(self, task_id: str) -> Task:
        answer, envelope = self._http.exchange("GET", self._path("jobs", task_id), _look_code)
        return self._task(answer, task_id, envelope)

    def open_output(self, output: Output, offset: int = 0) -> Content:
        return self._http.stream(self._path(output.output_id, "content", "video"), _content_code, offset)

    def open_thumbnail(self, output: Output) -> Content | None:
        try:
            return self._http.stream(self._path(output.output_id, "content", "thumbnail"), _content_code)
        except ProviderError as error:
            if error.fault.code == "content_not_ready":
                return None
            raise

    def _path(self, *segments: str, **query: str) -> str:
        path = "/".join(quote(segment, safe="") for segment in segments)
        text = urlencode(query | self._version)
        return f"/video/generations/{path}{f'?{text}' if text else ''}"

    def _task(self, data: Mapping[str, Any], task_id: str, envelope: Envelope) -> Task:
        word = str(data.get("status", "")).lower()
        if word not in STATES:
            # a word of a newer server: keep looking until the deadline rather than lose a paid task
            log.warning("task %s has the unknown status %r; watching on", task_id, word[:40])
        state = STATES.get(word, "running")
        created = _time(data.get("created_at")) or self._now()
        return Task(
            task_id=task_id,
            state=state,
            stage=word if word in STATES else "running",
            created_at=created,
            expires_at=_time(data.get("expires_at")),
            outputs=tuple(_outputs(data)),
            fault=self._failure(state, data.get("failure_reason"), envelope.request_id) if state in UNHAPPY else None,
            retry_after=envelope.retry_after,
        )

    def _failure(self, state: str, reason: object, request_id: str | None) -> Fault:
        words = str(reason or "")
        code = "provider_error"
        if "moderation" in words.lower():
            code = "moderation_input" if "input" in words.lower() else "moderation_output"
        return self._http.fault(code, f"The task {state}: {words or 'no reason given'}.", request_id=request_id)


# A task is paid for: whatever oddity its JSON holds, reading it never raises.


def _outputs(data: Mapping[str, Any]) -> list[Output]:
    generations = data.get("generations")
    found = []
    for item in generations if isinstance(generations, list) else ():
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]:
            width, height, seconds = (_count(item, data, key) for key in ("width", "height", "n_seconds"))
            found.append(Output(item["id"], width, height, seconds))
    return found


def _count(item: Mapping[str, Any], data: Mapping[str, Any], key: str) -> int:
    """A generation's number, or its task's; 0 when neither tells. Numbers come as strings too."""
    for value in (item.get(key), data.get(key)):
        if found := re.fullmatch(r"(\d{1,9})(\.0+)?", str(value), re.ASCII):
            return int(found[1])
    return 0


def _is_listed(item: object) -> bool:
    """Whether a listed task tells what `find` must know of it."""
    if not isinstance(item, dict) or _time(item.get("created_at")) is None:
        return False
    return isinstance(item.get("id"), str) and isinstance(item.get("prompt"), str)


def _is_of(item: Mapping[str, Any], request: JobRequest) -> bool:
    """Whether this request can have made the task. What the list leaves out does not speak against it."""
    asked = {"width": request.width, "height": request.height, "n_seconds": request.n_seconds}
    asked |= {"n_variants": request.n_variants}
    same_numbers = all(str(item.get(key) or number) == str(number) for key, number in asked.items())
    return same_numbers and item["prompt"] == request.prompt and item.get("model") in (None, request.model)


def _time(value: object) -> datetime | None:
    """Unix seconds within this age (2001 to 5138); None for anything else, such as milliseconds."""
    return utc(value) if isinstance(value, int | float) and 1e9 < value < 1e11 else None


def _words(error: Mapping[str, Any], message: str) -> str:
    """All that may tell what kind of refusal this is: message, code, inner code, in lower case."""
    inner = error.get("inner_error") or error.get("innererror") or {}
    return f"{message} {error.get('code')} {inner.get('code') if isinstance(inner, dict) else inner}".lower()


def _common_code(status: int, error: Mapping[str, Any], message: str) -> str:
    if status in (401, 403):
        return "invalid_credentials"
    if status == 429:
        words = _words(error, message)
        return "too_many_running" if "running" in words or "concurren" in words else "rate_limited"
    if status in (408, 409, 425) or status >= 500:
        return "provider_error"
    return "endpoint_not_found" if 300 <= status < 400 or status == 405 else "invalid_request"


def _create_code(status: int, error: Mapping[str, Any], message: str) -> str:
    words = _words(error, message)
    names_model = "model" in words or "deployment" in words
    if status == 410 or (status in (400, 404) and names_model and ("retired" in words or "deprecated" in words)):
        return "model_retired"
    if status == 404:
        return "deployment_not_found" if names_model else "endpoint_not_found"
    if status == 400 and any(mark in words for mark in ("moderation", "policy", "filter", "safety system")):
        return "moderation_input"
    return _common_code(status, error, message)


def _list_code(status: int, error: Mapping[str, Any], message: str) -> str:
    return "endpoint_not_found" if status in (404, 410, 501) else _common_code(status, error, message)


def _look_code(status: int, error: Mapping[str, Any], message: str) -> str:
    return "task_lost" if status in (404, 410) else _common_code(status, error, message)


def _content_code(status: int, error: Mapping[str, Any], message: str) -> str:
    if status == 404:
        return "content_not_ready"
    if status == 410:
        return "content_expired"
    code = _common_code(status, error, message)
    return "content_invalid" if code in ("invalid_request", "endpoint_not_found") else code
