"""The `azure-jobs` dialect: ``/video/generations/jobs``, two ids (job, generation), no progress, no cancel verb.

Wire format: Azure OpenAI v1 preview specification, and what live servers answered. Notable: create answers 201 (the
specification says 200); error bodies come flat and wrapped; a generation carries no URL, its file is at
``/video/generations/{generation id}/content/video`` - with ``/video`` at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.names import utc
from reelkeeper.providers.base import Abilities, Content, ProviderConfig
from reelkeeper.providers.http import ProviderHttp

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=24)
"""How long the service keeps a task and its files when it names no `expires_at`."""

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


class AzureJobs:
    """Adapter of one resource that speaks the dialect. See `Provider` for what the methods promise."""

    abilities = ABILITIES

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self.name, self.kind, self.model = config.name, config.kind, config.model
        self.place = f"{config.dialect} {config.base_url}"
        self._query = urlencode({"api-version": config.api_version}) if config.api_version else ""
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
        answer = self._http.exchange("POST", self._path("jobs"), _create_code, body)
        if not isinstance(answer.get("id"), str) or not answer["id"]:
            raise self._http.error("provider_error", "The provider's answer names no task id.", outcome_unknown=True)
        return self._task(answer, answer["id"])

    def look(self, task_id: str) -> Task:
        return self._task(self._http.exchange("GET", self._path("jobs", task_id), _look_code), task_id)

    def open_output(self, output: Output, offset: int = 0) -> Content:
        return self._http.stream(self._path(output.output_id, "content", "video"), _content_code, offset)

    def open_thumbnail(self, output: Output) -> Content | None:
        try:
            return self._http.stream(self._path(output.output_id, "content", "thumbnail"), _content_code)
        except ProviderError as error:
            if error.fault.code == "content_not_ready":
                return None
            raise

    def _path(self, *segments: str) -> str:
        path = "/".join(quote(segment, safe="") for segment in segments)
        return f"/video/generations/{path}{f'?{self._query}' if self._query else ''}"

    def _task(self, data: Mapping[str, Any], task_id: str) -> Task:
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
            expires_at=_time(data.get("expires_at")) or created + KEPT_FOR,
            outputs=tuple(_outputs(data)),
            fault=self._failure(data.get("failure_reason")) if state in ("failed", "cancelled") else None,
        )

    def _failure(self, reason: object) -> Fault:
        words = str(reason or "")
        code = "provider_error"
        if "moderation" in words.lower():
            code = "moderation_input" if "input" in words.lower() else "moderation_output"
        return self._http.fault(code, f"The task failed: {words or 'no reason given'}.")


def _outputs(data: Mapping[str, Any]) -> list[Output]:
    found = []
    for item in data.get("generations") or ():
        if not item.get("id"):
            continue
        size = {key: item.get(key) or data.get(key) or 0 for key in ("width", "height", "n_seconds")}
        found.append(Output(str(item["id"]), *(int(size[key]) for key in ("width", "height", "n_seconds"))))
    return found


def _time(value: object) -> datetime | None:
    return utc(value) if isinstance(value, int | float) and value > 0 else None


def _common_code(status: int, error: Mapping[str, Any], message: str) -> str:
    if status in (401, 403):
        return "invalid_credentials"
    if status == 429:
        return "too_many_running" if "running" in message or "concurren" in message else "rate_limited"
    if status in (408, 409, 425) or status >= 500:
        return "provider_error"
    return "invalid_request"


def _create_code(status: int, error: Mapping[str, Any], message: str) -> str:
    if 300 <= status < 400 or status == 405:
        return "endpoint_not_found"
    if status == 404:
        return "deployment_not_found" if "deployment" in message else "endpoint_not_found"
    if status == 410 or "retired" in message or "deprecated" in message:
        return "model_retired"
    inner = error.get("inner_error") or error.get("innererror") or {}
    words = f"{message} {error.get('code')} {inner.get('code') if isinstance(inner, dict) else inner}".lower()
    if status == 400 and any(mark in words for mark in ("moderation", "policy", "contentfilter", "content filter")):
        return "moderation_input"
    return _common_code(status, error, message)


def _look_code(status: int, error: Mapping[str, Any], message: str) -> str:
    return "task_lost" if status in (404, 410) else _common_code(status, error, message)


def _content_code(status: int, error: Mapping[str, Any], message: str) -> str:
    if status == 404:
        return "content_not_ready"
    if status == 410:
        return "content_expired"
    code = _common_code(status, error, message)
    return "content_invalid" if code == "invalid_request" else code
