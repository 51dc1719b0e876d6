"""The `azure-jobs` dialect: ``/video/generations/jobs``, two ids (job, generation), no progress, no cancel verb.

Wire format: Azure OpenAI v1 preview specification, and what live servers answered. Notable: create answers 201 (the
specification says 200); error bodies come flat and wrapped; a generation carries no URL, its file is at
``/video/generations/{generation id}/content/video`` - with ``/video`` at the end.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.names import utc
from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.answers import Envelope
from reelkeeper.providers.base import Content, ProviderConfig, Receive
from reelkeeper.providers.configured import Configured
from reelkeeper.providers.failures import CREATE, LIST, LOOK, code_of_failed_task
from reelkeeper.providers.http import File, ProviderHttp
from reelkeeper.providers.reading import is_listed, moment, number, path_of

log = logging.getLogger(__name__)

LIST_PAGE, MOST_PAGES = 100, 20
"""A busy resource makes far fewer than 2,000 tasks in the minutes that `find` looks back."""

HEIGHTS = {480: (480, 854), 720: (720, 1280), 854: (480,), 1080: (1080, 1920), 1280: (720,), 1920: (1080,)}
ABILITIES = Abilities(
    sizes=tuple((width, height) for width, heights in HEIGHTS.items() for height in heights),
    seconds=tuple(range(1, 21)),
    variants_by_pixels=((1080 * 1080, 1), (720 * 720, 2), (0, 4)),
    input_image=True,
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


class AzureJobs(Configured):
    """Adapter of one resource that speaks the dialect. See `Provider` for what the methods promise."""

    dialect = "azure-jobs"
    lists = True

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        super().__init__(config, ABILITIES)
        self._version = {"api-version": config.api_version} if config.api_version else {}
        self._http = ProviderHttp(config, now)
        self._now = now

    def submit(self, request: JobRequest, receive: Receive | None = None, picture: bytes | None = None) -> Task:
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "width": request.width,
            "height": request.height,
            "n_seconds": request.n_seconds,
            "n_variants": request.n_variants,
        }
        if request.input_image and picture:
            image = request.input_image
            file = File("files", image.file_name, image.media_type, picture)
            item = {"frame_index": 0, "type": "image", "file_name": file.name}
            form = {name: str(value) for name, value in body.items()} | {"inpaint_items": json.dumps([item])}
            answer, envelope = self._http.exchange(CREATE, self._path("jobs"), form=form, file=file)
        else:
            answer, envelope = self._http.exchange(CREATE, self._path("jobs"), body=body)
        if not isinstance(answer.get("id"), str) or not answer["id"]:
            raise self._http.error("provider_error", "The provider's answer names no task id.", outcome_unknown=True)
        return self._task(answer, answer["id"], envelope)

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        found, after = [], None
        for _ in range(MOST_PAGES):
            page = {"limit": str(LIST_PAGE)} | ({"after": after} if after else {})
            answer, envelope = self._http.exchange(LIST, self._path("jobs", **page))
            items = answer.get("data")
            if not isinstance(items, list) or not all(is_listed(item) for item in items):
                words = "The provider's list does not tell its tasks' ids, prompts and times."
                raise self._http.error("invalid_request", words)
            mine = [item for item in items if utc(item["created_at"]) >= since and _is_of(item, request)]
            found += [self._task(item, item["id"], envelope) for item in mine]
            # where it is not told whether there is more, a full page says so: half a list proves nothing
            if not items or not answer.get("has_more", len(items) >= LIST_PAGE):
                return sorted(found, key=lambda task: task.created_at)
            after = items[-1]["id"]
        raise self._http.error("provider_error", f"The provider's list is longer than {MOST_PAGES} pages.")

    def look(self, task_id: str) -> Task:
        answer, envelope = self._http.exchange(LOOK, self._path("jobs", task_id))
        return self._task(answer, task_id, envelope)

    def cancel(self, task_id: str) -> None:
        self._http.delete(self._path("jobs", task_id))

    def open_output(self, output: Output, offset: int = 0) -> Content:
        return self._http.stream(self._path(output.output_id, "content", "video"), offset)

    def open_thumbnail(self, output: Output) -> Content | None:
        try:
            return self._http.stream(self._path(output.output_id, "content", "thumbnail"))
        except ProviderError as error:
            if error.fault.code == "content_not_ready":
                return None
            raise

    def _path(self, *segments: str, **query: str) -> str:
        return path_of("/video/generations", *segments, **query, **self._version)

    def _task(self, data: Mapping[str, Any], task_id: str, envelope: Envelope) -> Task:
        word = str(data.get("status", "")).lower()
        if word not in STATES:
            # a word of a newer server: keep looking until the deadline rather than lose a paid task
            log.warning("task %s has the unknown status %r; watching on", task_id, word[:40])
        state = STATES.get(word, "running")
        created = moment(data.get("created_at")) or self._now()
        return Task(
            task_id=task_id,
            state=state,
            stage=word if word in STATES else "running",
            created_at=created,
            expires_at=moment(data.get("expires_at")),
            outputs=tuple(_outputs(data)),
            fault=self._failure(state, data.get("failure_reason"), envelope.request_id) if state in UNHAPPY else None,
            retry_after=envelope.retry_after,
        )

    def _failure(self, state: str, reason: object, request_id: str | None) -> Fault:
        words = f"The task {state}: {reason or 'no reason given'}."
        return self._http.fault(code_of_failed_task(reason, None), words, request_id=request_id)


def _outputs(data: Mapping[str, Any]) -> list[Output]:
    """The generations that can be fetched; figures that one does not tell are its task's."""
    generations = data.get("generations")
    found = []
    for item in generations if isinstance(generations, list) else ():
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]:
            width, height, seconds = (number(item.get(key), data.get(key)) for key in ("width", "height", "n_seconds"))
            found.append(Output(item["id"], width, height, seconds))
    return found


def _is_of(item: Mapping[str, Any], request: JobRequest) -> bool:
    """Whether this request can have made the task. What the list leaves out does not speak against it.

    The model is not compared: one task too many is passed over, because its job has claimed it; one that is overlooked,
    because the service calls its model by another name, is paid for again.
    """
    asked = {"width": request.width, "height": request.height, "n_seconds": request.n_seconds}
    asked |= {"n_variants": request.n_variants}
    return item["prompt"] == request.prompt and all(number(item.get(key)) in (0, told) for key, told in asked.items())
