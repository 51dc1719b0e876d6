"""Providers in memory: the fakes beside the real adapters. They pass the same contract tests, and tests steer them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType

from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.azure_jobs import ABILITIES
from reelkeeper.providers.base import Content, Receive, Terms
from reelkeeper.providers.openai_images import GPT_IMAGE_2

VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(range(256)) * 64
PICTURE = b"\xff\xd8\xff\xe0" + bytes(64)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


SETTINGS = {"endpoint_setting": "SORA_ENDPOINT", "key_setting": "SORA_KEY", "model_setting": "SORA_MODEL"}


def refusal(
    code: str, *, status: int | None = None, retry_after: float | None = None, outcome_unknown: bool = False
) -> ProviderError:
    """A ProviderError as an adapter would raise it for `code`."""
    fault = Fault(code, ADVICE[code].format(**SETTINGS), f"simulated {code}", status, "request-1")
    return ProviderError(fault, retry_after=retry_after, outcome_unknown=outcome_unknown)


class MemoryProvider:
    """`Provider` without a wire.

    `submitted`: every accepted request in order. `planned[method]`: errors that the next calls of that method raise
    instead of answering. `files`: the bytes of each output; `cut_at`: the next download breaks off after this many;
    `ranges`: whether it can begin in the middle. `opened_at`: the offset that each download asked for.
    `keeps`: how long from its creation it says to keep a task, None when it does not say.
    `silence`: the Retry-After of the next look; `progress`: the percent that looks report.
    `lose_answer`: the next submit makes its task, but is not answered.
    """

    kind = "videos"
    dialect = "memory"
    host = "memory"
    model = "sora"
    abilities = ABILITIES
    terms = Terms()
    grace = timedelta(seconds=60)
    lists = True
    fallback: tuple[str, ...] = ()

    def __init__(self, now: Callable[[], datetime], name: str = "sora") -> None:
        self.name, self.place = name, f"memory {name}"
        self.submitted: list[JobRequest] = []
        self.planned: dict[str, list[ProviderError]] = {}
        self.files: dict[str, bytes] = {}
        self.thumbnails: dict[str, bytes] = {}
        self.cut_at: int | None = None
        self.ranges = True
        self.lose_answer = False
        self.keeps: timedelta | None = timedelta(hours=24)
        self.silence: float | None = None
        self.progress: int | None = None
        self.media_type = "video/mp4"
        self.opened_at: list[int] = []
        self._now, self._numbers, self._lock = now, itertools.count(1), threading.Lock()
        self._tasks: dict[str, Task] = {}

    def finish(self, task_id: str, outputs: int | None = None) -> None:
        """Let the task succeed with its outputs (as many as asked for, unless told)."""
        request = self.submitted[int(task_id.removeprefix("task_")) - 1]
        made = []
        for number in range(request.n_variants if outputs is None else outputs):
            output_id = f"gen_{task_id}_{number}"
            made.append(Output(output_id, request.width, request.height, request.n_seconds))
            self.files.setdefault(output_id, VIDEO + output_id.encode())
            self.thumbnails.setdefault(output_id, PICTURE)
        task = self._tasks[task_id]
        self._tasks[task_id] = replace(task, state="succeeded", stage="succeeded", outputs=tuple(made))

    def fail(self, task_id: str, code: str) -> None:
        task = self._tasks[task_id]
        self._tasks[task_id] = replace(task, state="failed", stage="failed", fault=refusal(code).fault)

    def forget(self, task_id: str) -> None:
        del self._tasks[task_id]

    def submit(self, request: JobRequest, receive: Receive | None = None, picture: bytes | None = None) -> Task:
        self._raise_planned("submit")
        with self._lock:
            self.submitted.append(request)
            now = self._now()
            until = now + self.keeps if self.keeps else None
            task = Task(f"task_{next(self._numbers)}", "queued", "queued", now, until)
            self._tasks[task.task_id] = task
        if self.lose_answer:
            self.lose_answer = False
            raise refusal("provider_error", outcome_unknown=True)
        return task

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        self._raise_planned("find")
        with self._lock:
            made = {f"task_{number}": replace(asked, metadata={}) for number, asked in enumerate(self.submitted, 1)}
            wanted = replace(request, metadata={})  # our own, unknown to providers
            return [task for task in self._tasks.values() if task.created_at >= since and made[task.task_id] == wanted]

    def look(self, task_id: str) -> Task:
        self._raise_planned("look")
        if task_id not in self._tasks:
            raise refusal("task_lost")
        silence, self.silence = self.silence, None
        return replace(self._tasks[task_id], retry_after=silence, progress=self.progress)

    def cancel(self, task_id: str) -> None:
        self._raise_planned("cancel")
        if task := self._tasks.pop(task_id, None):
            for output in task.outputs:
                self.files.pop(output.output_id, None)

    def open_output(self, output: Output, offset: int = 0) -> Content:
        self._raise_planned("open_output")
        if output.output_id not in self.files:
            raise refusal("content_not_ready")
        self.opened_at.append(offset)
        offset = offset if self.ranges else 0
        if offset and offset >= len(self.files[output.output_id]):
            raise refusal("content_invalid", status=416)
        cut_at, self.cut_at = self.cut_at, None
        return MemoryContent(self.files[output.output_id], offset, self.media_type, cut_at)

    def open_thumbnail(self, output: Output) -> Content | None:
        self._raise_planned("open_thumbnail")
        picture = self.thumbnails.get(output.output_id)
        return None if picture is None else MemoryContent(picture, 0, "image/jpeg", None)

    def _raise_planned(self, method: str) -> None:
        if self.planned.get(method):
            raise self.planned[method].pop(0)


class MemoryImages:
    """`Provider` of images without a wire: each picture comes with the answer of its create.

    `submitted`: every accepted request in order. `planned[method]`: errors that the next calls of that method raise.
    `lose_after`: the next answer breaks off after this many pictures, all of which are made and paid for. `makes`: how
    many pictures the next answer holds, when not as many as asked for; `oddities`: what stands in place of the first.
    `by_address`: answers hold addresses, under which `files` has the bytes. `resubmits`: a lost create is made again.
    """

    kind = "images"
    dialect = "memory-images"
    host = "memory"
    model = "gpt-image-2"
    abilities = GPT_IMAGE_2
    terms = Terms()
    grace = timedelta(seconds=300)
    lists = False
    fallback: tuple[str, ...] = ()

    def __init__(self, now: Callable[[], datetime], name: str = "image") -> None:
        self.name, self.place = name, f"memory {name}"
        self.submitted: list[JobRequest] = []
        self.planned: dict[str, list[ProviderError]] = {}
        self.files: dict[str, bytes] = {}
        self.lose_after: int | None = None
        self.makes: int | None = None
        self.oddities: list[bytes] = []
        self.by_address = self.resubmits = False
        self._now = now

    def submit(self, request: JobRequest, receive: Receive, picture: bytes | None = None) -> Task:
        self._raise_planned("submit")
        self.submitted.append(request)
        began, outputs = self._now(), []
        made, self.makes = self.makes if self.makes is not None else request.n_variants, None
        lose_after, self.lose_after = self.lose_after, None
        for index in range(made):
            if index == lose_after:
                raise refusal("provider_error", outcome_unknown=True)
            file = self.oddities.pop() if self.oddities else PNG + f"{len(self.submitted)}-{index}".encode()
            address = f"https://pictures.example/{len(self.submitted)}-{index}?sig=secret"
            self.files[address] = file
            with suppress(ValueError):
                outputs.append(receive(index, address if self.by_address else file))
        if lose_after is not None:
            raise refusal("provider_error", outcome_unknown=True)
        if not outputs:
            raise refusal("content_invalid")
        end = began + timedelta(hours=1) if self.by_address else None
        return Task("", "succeeded", "succeeded", began, end, tuple(outputs))

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        self._raise_planned("find")
        if self.resubmits:
            return []
        raise refusal("invalid_request")

    def look(self, task_id: str) -> Task:
        raise refusal("task_lost")

    def cancel(self, task_id: str) -> None:
        """Nothing to stop."""

    def open_output(self, output: Output, offset: int = 0) -> Content:
        self._raise_planned("open_output")
        if output.address not in self.files:
            raise refusal("content_not_ready" if output.address else "content_expired")
        return MemoryContent(self.files[output.address], 0, "image/png", None)

    def open_thumbnail(self, output: Output) -> Content | None:
        return None

    def _raise_planned(self, method: str) -> None:
        if self.planned.get(method):
            raise self.planned[method].pop(0)


class MemoryContent:
    """An open download of `data` from `offset`, in odd pieces so that nobody relies on their size."""

    PIECE = 100_003

    def __init__(self, data: bytes, offset: int, media_type: str, cut_at: int | None) -> None:
        self.offset, self.media_type = offset, media_type
        self.total: int | None = len(data)
        self.validator = f"{len(data)}-{hash(data)}"
        self._data, self._cut_at = data, cut_at

    def chunks(self) -> Iterator[bytes]:
        end = len(self._data) if self._cut_at is None else min(self._cut_at, len(self._data))
        for start in range(self.offset, end, self.PIECE):
            yield self._data[start : min(start + self.PIECE, end)]
        if end < len(self._data):
            raise refusal("provider_error")

    def __enter__(self) -> MemoryContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data = b""
