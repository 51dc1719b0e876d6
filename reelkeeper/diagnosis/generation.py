"""One real generation, the smallest and shortest that a provider makes: submitted, followed, and opened.

The only part of a diagnosis that costs money, so it is made only when somebody asks for it, once per provider. Its file
is opened and its first bytes are read; nothing is kept. Every exchange is told as it happens, without secrets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.media import sniff
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.answers import Exchange
from reelkeeper.providers.base import Provider, ProviderConfig
from reelkeeper.services import build_services
from reelkeeper.settings import Settings

PROMPT = "A red ball on a white table"
LONGEST_SECONDS = 1800.0
READY_SECONDS = 120.0
MOST_FAILED_LOOKS = 5
USUAL_PAUSE, SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 0.5, 20.0

PORTAL = "Look at the task in the provider's portal."
FIXES = {
    "provider_error": "Look at the server's log or status page, or run doctor without --create.",
    "rate_limited": "Wait a minute and run it again; creates_per_minute in PROVIDERS keeps within it.",
    "too_many_running": "Wait until a task has ended and run it again; max_running in PROVIDERS keeps within it.",
    "content_not_ready": "The file is not handed out though the task is done: look at it in the provider's portal.",
    "content_invalid": "Look at what the server sends in place of the file: a proxy may be in the way.",
}
"""Where the advice of `errors.ADVICE` is about a job, which goes on by itself, and not about a person's next step."""

Tell = Callable[[str], None]
Build = Callable[[ProviderConfig], Provider]


@dataclass
class Generation:
    """`tell`: takes each line of the story. `pause`: waits; handed in by tests."""

    config: ProviderConfig
    build: Build
    tell: Tell
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    _arrived: dict[int, bytes] = field(default_factory=dict)

    def run(self) -> Check:
        """Make it and follow it to its file. Raises nothing but what interrupts the program."""
        name = f"provider {self.config.name}: generation"
        provider = self.build(replace(self.config, observe=lambda exchange: self.tell(told(exchange))))
        began = self.now()
        try:
            request, task = self._submit(provider)
            self.tell(f"task {task.task_id or '(none: the answer holds the outputs)'} is {task.stage}")
            task = self._follow(provider, task)
            if task.state != "succeeded" or not task.outputs:
                words = task.fault.provider_message if task.fault else f"the task ended as {task.state} without outputs"
                fix = _fix(task.fault) if task.fault else PORTAL
                return bad(name, str(words), fix)
            what = self._open(provider, task.outputs[0])
        except ProviderError as error:
            return self._failed(name, error)
        with suppress(ProviderError):  # it has served its purpose; where it cannot be deleted it expires by itself
            provider.cancel(task.task_id)
        size = f"{request.width}x{request.height}" if request.width else "of the provider's choice"
        length = f", {request.n_seconds} s" if request.n_seconds else ""
        paid = f"one paid generation, {size}{length}, of {self.config.model}"
        return good(name, f"made and opened within {self.now() - began:.0f} s: {what}; cost: {paid}")

    def _submit(self, provider: Provider) -> tuple[JobRequest, Task]:
        """The shortest; where the server does not make that, and so made nothing, the usual length."""
        request = smallest(provider)
        try:
            return request, provider.submit(request, self._receive)
        except ProviderError as error:
            usual = provider.abilities.usual_seconds
            if error.fault.code != "invalid_request" or error.outcome_unknown or usual == request.n_seconds:
                raise
            self.tell(f"{request.n_seconds} s is refused; trying {usual} s")
            request = replace(request, n_seconds=usual)
            return request, provider.submit(request, self._receive)

    def _receive(self, index: int, data: bytes | str) -> Output:
        if isinstance(data, str):
            return Output(f"{index}", 0, 0, 0, address=data)
        self._arrived[index] = data
        return Output(f"{index}", 0, 0, 0)

    def _follow(self, provider: Provider, task: Task) -> Task:
        deadline, failed = self.now() + LONGEST_SECONDS, 0
        while task.state in ("queued", "running"):
            if self.now() > deadline:
                words = f"not finished within {LONGEST_SECONDS / 60:.0f} minutes; the task {task.task_id} goes on."
                raise _stuck(words)
            self.pause(min(max(task.retry_after or USUAL_PAUSE, SHORTEST_PAUSE), LONGEST_PAUSE))
            try:
                task, failed = provider.look(task.task_id), 0
                percent = f", {task.progress} %" if task.progress is not None else ""
                self.tell(f"  {task.stage}{percent}")
            except ProviderError as error:
                failed += 1
                if failed >= MOST_FAILED_LOOKS or error.fault.code == "invalid_credentials":
                    raise
        return task

    def _open(self, provider: Provider, output: Output) -> str:
        """The media type and size of the file, by its first bytes."""
        if (index := int(output.output_id) if output.output_id.isdigit() else -1) in self._arrived:
            data = self._arrived[index]
            return self._sniffed(data, len(data))
        deadline = self.now() + READY_SECONDS
        while True:
            try:
                with provider.open_output(output) as content:
                    head = next(content.chunks(), b"")
                    return self._sniffed(head, content.total)
            except ProviderError as error:
                if error.fault.code != "content_not_ready" or self.now() > deadline:
                    raise
            self.pause(USUAL_PAUSE)

    def _sniffed(self, head: bytes, size: int | None) -> str:
        media = sniff(head)
        if media is None:
            raise _stuck("the file is neither a video nor a picture, by its first bytes.")
        return f"{media}, {size if size is not None else 'unknown'} bytes"

    def _failed(self, name: str, error: ProviderError) -> Check:
        fault = error.fault
        status = f"HTTP {fault.provider_status}: " if fault.provider_status else ""
        request = f" (request id {fault.request_id})" if fault.request_id else ""
        unknown = " It may have been made and charged: look in the provider's portal." if error.outcome_unknown else ""
        return bad(name, f"{status}{fault.provider_message or fault.message}{request}{unknown}", _fix(fault))


def smallest(provider: Provider) -> JobRequest:
    """The smallest and shortest that this provider says it makes."""
    can = provider.abilities
    width, height = min(can.sizes, key=lambda size: size[0] * size[1]) if can.sizes else (0, 0)
    low = "low" if "low" in can.qualities else None
    return JobRequest(PROMPT, width, height, min(can.seconds, default=0), 1, provider.model, quality=low)


def told(exchange: Exchange) -> str:
    """``POST /openai/v1/video/generations/jobs -> 201 in 0.2 s (request id 7f...)``"""
    came = f"{exchange.status}" if exchange.status is not None else f"no answer: {exchange.words}"
    request = f" (request id {exchange.request_id})" if exchange.request_id else ""
    return f"{exchange.method} {exchange.target} -> {came} in {exchange.seconds:.1f} s{request}"


def _stuck(words: str) -> ProviderError:
    return ProviderError(Fault("", PORTAL, words))


def _fix(fault: Fault) -> str:
    return FIXES.get(fault.code, fault.message)


def builder(settings: Settings, now: Callable[[], datetime]) -> Build:
    """Makes the real adapter of a provider, as the app does."""
    return lambda config: build_services(replace(settings, providers=(config,)), now).providers[config.name]
