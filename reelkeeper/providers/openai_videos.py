"""The `openai-videos` dialect: ``/videos``, one id for task and output, progress in percent, a poll hint.

Spoken by Azure and OpenAI (`sora-2`), vLLM-Omni, SGLang diffusion, Aquiles-Image, LiteLLM and other gateways. What
they do differently, and how this adapter lives with it:
forms instead of JSON (asked once, then remembered) · a look at a failed task answers 4xx/5xx with the task in it ·
another id in a look than in the create (ours is kept) · other status words · `variant` is refused (none is sent) ·
400 with the address of the file in place of the file · a list that is refused or does not tell prompts (no list).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.names import utc
from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.answers import Envelope
from reelkeeper.providers.base import Content, ProviderConfig, Receive
from reelkeeper.providers.configured import Configured
from reelkeeper.providers.endpoints import is_azure, is_openai
from reelkeeper.providers.failures import CREATE, LIST, LOOK, code_of_failed_task, error_object, message_of
from reelkeeper.providers.http import File, ProviderHttp
from reelkeeper.providers.reading import is_listed, moment, number, path_of, percent, size

log = logging.getLogger(__name__)

LIST_PAGE, MOST_PAGES = 100, 20

STATES = {
    "queued": "queued",
    "pending": "queued",
    "in_progress": "running",
    "processing": "running",
    "running": "running",
    "completed": "succeeded",
    "succeeded": "succeeded",
    "failed": "failed",
    "error": "failed",
    "expired": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "deleted": "cancelled",
}
UNHAPPY = frozenset({"failed", "cancelled"})

PORTRAIT, LANDSCAPE = (720, 1280), (1280, 720)
LARGER = ((1024, 1792), (1792, 1024), (1080, 1920), (1920, 1080))
OTHERS = Abilities((PORTRAIT, LANDSCAPE, *LARGER), tuple(range(1, 21)), ((0, 1),), 32_000, 4, input_image=True)
OPENAI = replace(OTHERS, seconds=(4, 8, 12, 16, 20))
AZURE = replace(OTHERS, sizes=(PORTRAIT, LANDSCAPE), seconds=(4, 8, 12))
"""Documented where there is a document; other servers make what their model can, which `PROVIDERS` may tell."""

_ADDRESS = re.compile(r"(?i)\burl\b\W{0,3}(https?://[^\s\"'<>]+)")


class OpenAIVideos(Configured):
    """Adapter of one server that speaks the dialect. See `Provider` for what the methods promise."""

    dialect = "openai-videos"
    lists = True

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        super().__init__(config, _documented(config.base_url, config.model))
        self._thumbnails = config.thumbnails
        self._takes_forms_only = False
        self._http = ProviderHttp(config, now)
        self._now = now

    def submit(self, request: JobRequest, receive: Receive | None = None, picture: bytes | None = None) -> Task:
        fields = {
            "model": request.model,
            "prompt": request.prompt,
            "seconds": str(request.n_seconds),
            "size": f"{request.width}x{request.height}",
        }
        image, file = request.input_image, None
        if image and picture:
            file = File("input_reference", image.file_name, image.media_type, picture)
        answer, envelope = self._create(fields, file)
        if not isinstance(answer.get("id"), str) or not answer["id"]:
            raise self._http.error("provider_error", "The provider's answer names no task id.", outcome_unknown=True)
        return self._task(answer, answer["id"], envelope)

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        found, after = [], None
        for _ in range(MOST_PAGES):
            page = {"limit": LIST_PAGE, "order": "desc"} | ({"after": after} if after else {})
            answer, envelope = self._http.exchange(LIST, path_of("/videos", **page))
            items = answer.get("data")
            if not isinstance(items, list) or not all(_is_usable(item, since) for item in items):
                words = "The provider's list does not tell its tasks' ids, prompts and times."
                raise self._http.error("invalid_request", words)
            times = [utc(item["created_at"]) for item in items]
            mine = [item for item, time in zip(items, times, strict=True) if time >= since and _is_of(item, request)]
            found += [self._task(item, item["id"], envelope) for item in mine]
            over = not items or not answer.get("has_more", len(items) >= LIST_PAGE)
            # the newest come first, unless the server does not know `order`
            if over or (times == sorted(times, reverse=True) and times[-1] < min(since, times[0])):
                return sorted(found, key=lambda task: task.created_at)
            after = items[-1]["id"]
        raise self._http.error("provider_error", f"The provider's list is longer than {MOST_PAGES} pages.")

    def look(self, task_id: str) -> Task:
        answer, envelope = self._http.exchange(LOOK, path_of("/videos", task_id), accept=_is_ended_task)
        return self._task(answer, task_id, envelope)

    def cancel(self, task_id: str) -> None:
        self._http.delete(path_of("/videos", task_id))

    def open_output(self, output: Output, offset: int = 0) -> Content:
        return self._http.stream(path_of("/videos", output.output_id, "content"), offset, given=_given_address)

    def open_thumbnail(self, output: Output) -> Content | None:
        if not self._thumbnails:
            return None
        try:
            return self._http.stream(path_of("/videos", output.output_id, "content", variant="thumbnail"))
        except ProviderError as error:
            if error.fault.code == "content_not_ready":
                return None
            raise

    def _create(self, fields: dict[str, str], file: File | None) -> tuple[dict[str, Any], Envelope]:
        """As JSON, or as a form: with a file, and where JSON was not read.

        A refusal made nothing, so the second try is no second task.

        Not a form from the start: other servers take one only together with a picture.
        """
        deadline = self._http.deadline()
        if file:
            return self._http.exchange(CREATE, "/videos", form=fields, file=file, deadline=deadline)
        if not self._takes_forms_only:
            try:
                return self._http.exchange(CREATE, "/videos", body=fields, deadline=deadline)
            except ProviderError as error:
                if not _wants_a_form(error):
                    raise
        answered = self._http.exchange(CREATE, "/videos", form=fields, deadline=deadline)
        self._takes_forms_only = True
        return answered

    def _task(self, data: Mapping[str, Any], task_id: str, envelope: Envelope) -> Task:
        word = str(data.get("status", "")).lower()
        if word not in STATES:
            # a word of a newer server: keep looking until the deadline rather than lose a paid task
            log.warning("task %s has the unknown status %r; watching on", task_id, word[:40])
        state = STATES.get(word, "running")
        outputs = (_output(data, task_id),) if state == "succeeded" else ()
        return Task(
            task_id=task_id,
            state=state,
            stage=word if word in STATES else "running",
            created_at=moment(data.get("created_at")) or self._now(),
            expires_at=moment(data.get("expires_at")),
            outputs=outputs,
            fault=self._failure(word, data.get("error"), envelope.request_id) if state in UNHAPPY else None,
            retry_after=envelope.retry_after,
            progress=percent(data.get("progress")),
        )

    def _failure(self, word: str, error: object, request_id: str | None) -> Fault:
        told = error if isinstance(error, dict) else {"message": error}
        reason = told.get("message") or told.get("code") or "no reason given"
        code = "content_expired" if word == "expired" else code_of_failed_task(told.get("code"), told.get("message"))
        return self._http.fault(code, f"The task {word}: {reason}", request_id=request_id)


def _documented(base_url: str, model: str) -> Abilities:
    if is_azure(base_url):
        return AZURE
    return OPENAI if is_openai(base_url) or model.startswith("sora-2") else OTHERS


def _output(data: Mapping[str, Any], task_id: str) -> Output:
    """The one output of a task, under the task's id."""
    width, height = size(data.get("size"))
    return Output(
        task_id, width or number(data.get("width")), height or number(data.get("height")), number(data.get("seconds"))
    )


def _is_ended_task(answer: dict[str, Any]) -> bool:
    """Whether a refusal is in truth a task that ended badly (vLLM-Omni answers with the status that fits its error)."""
    return isinstance(answer.get("id"), str) and STATES.get(str(answer.get("status")).lower()) in UNHAPPY


def _wants_a_form(error: ProviderError) -> bool:
    """Whether the server says that it found no prompt, although there was one: it does not read JSON."""
    status, words = error.fault.provider_status, (error.fault.provider_message or "").lower()
    return status == 415 or (status in (400, 422) and "prompt" in words and bool(re.search("required|missing", words)))


def _given_address(status: int, answer: object) -> str | None:
    """The file's own address, with which SGLang answers in its place once it is in cloud storage."""
    if status != 400:
        return None
    found = _ADDRESS.search(message_of(error_object(answer), status))
    return found[1].rstrip(".,;)") if found else None


def _is_usable(item: object, since: datetime) -> bool:
    """Whether a listed task tells what `find` must know. Where prompts are missing, none may be missing in our time."""
    if is_listed(item):
        return True
    created = moment(item.get("created_at")) if isinstance(item, Mapping) else None
    return created is not None and created < since and isinstance(item, Mapping) and isinstance(item.get("id"), str)


def _is_of(item: Mapping[str, Any], request: JobRequest) -> bool:
    """Whether this request can have made the task. What the list leaves out does not speak against it.

    The model is not compared: gateways and Azure tell another name than the one that was asked for.
    """
    same_size = size(item.get("size")) in ((0, 0), (request.width, request.height))
    return same_size and number(item.get("seconds")) in (0, request.n_seconds) and item["prompt"] == request.prompt
