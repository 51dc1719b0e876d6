"""A provider and a hand behind its counter: what the contract of `Provider` is run against.

`MemoryPlace` is the fake; `JobsPlace` and `VideosPlace` are the real adapters against the simulator, the latter under
each of its profiles. What a place cannot do by its nature stands in its attributes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Protocol

from emulator.sora.profiles import find_profile
from emulator.sora.simulator import Simulator
from emulator.sora.video_object import read_id
from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Provider, ProviderConfig
from reelkeeper.providers.endpoints import parse_endpoint
from reelkeeper.providers.memory import MemoryProvider, refusal
from reelkeeper.providers.openai_videos import OpenAIVideos

API_KEY = "key-of-the-contract"
SQUARE = JobRequest("a lighthouse at dusk", width=480, height=480, n_seconds=1, n_variants=1, model="sora")
TALL = JobRequest("a lighthouse at dusk", width=720, height=1280, n_seconds=4, n_variants=1, model="sora-2")

MODERATED = {"moderation_input": "input_moderation", "moderation_output": "output_moderation"}
REFUSED = {
    "invalid_request": "invalid",
    "invalid_credentials": "unauthorized",
    "endpoint_not_found": "wrong_route",
    "deployment_not_found": "deployment_not_found",
    "moderation_input": "moderated",
    "too_many_running": "too_many_running",
    "rate_limited": "rate_limited",
}


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Place(Protocol):
    """`request`: one that is served here. `others`: changes that make another task of it. `most_variants`: outputs of
    one task. `refuses`, `fails`: the codes that it can tell. `ranges`: whether downloads can begin in the middle.
    `lists`: whether it has a list to rely on. `has_thumbnails`: whether it has preview pictures."""

    provider: Provider
    request: JobRequest
    most_variants: int
    refuses: frozenset[str]
    fails: frozenset[str]
    ranges: bool
    lists: bool
    has_thumbnails: bool

    @property
    def others(self) -> list[dict[str, Any]]: ...

    def finish(self, task_id: str, outputs: int | None = None) -> None:
        """Let the task succeed now."""

    def fail(self, task_id: str, code: str) -> None:
        """Let the task fail now, for a reason that has this code."""

    def forget(self, task_id: str) -> None:
        """Lose the task."""

    def refuse_create(self, code: str) -> None:
        """Refuse the next create."""

    def lose_answer(self) -> None:
        """Make the next create's task, and lose the answer."""

    def cut(self, after: int) -> None:
        """Break the next download off behind this many bytes."""

    def drop_thumbnails(self, output: Output) -> None:
        """Have no preview picture of this output."""

    def accepted(self) -> int:
        """How many tasks were ever accepted here."""


class _Many:
    """What the jobs dialect and the fake have in common."""

    request, most_variants = SQUARE, 4
    ranges = lists = has_thumbnails = True
    refuses, fails = frozenset(REFUSED), frozenset({"moderation_input", "moderation_output", "provider_error"})

    @property
    def others(self) -> list[dict[str, Any]]:
        return [{"prompt": "another"}, {"width": 854}, {"n_seconds": 2}, {"n_variants": 2}]


class MemoryPlace(_Many):
    def __init__(self) -> None:
        self.provider: Provider
        self.provider = self._memory = MemoryProvider(utc_now)

    def finish(self, task_id: str, outputs: int | None = None) -> None:
        self._memory.finish(task_id, outputs)

    def fail(self, task_id: str, code: str) -> None:
        self._memory.fail(task_id, code)

    def forget(self, task_id: str) -> None:
        self._memory.forget(task_id)

    def refuse_create(self, code: str) -> None:
        self._memory.planned["submit"] = [refusal(code, retry_after=5 if code == "rate_limited" else None)]

    def lose_answer(self) -> None:
        self._memory.lose_answer = True

    def cut(self, after: int) -> None:
        self._memory.cut_at = after

    def drop_thumbnails(self, output: Output) -> None:
        del self._memory.thumbnails[output.output_id]

    def accepted(self) -> int:
        return len(self._memory.submitted)


class JobsPlace(_Many):
    """The jobs dialect."""

    def __init__(self, simulator: Simulator, key: str = API_KEY) -> None:
        self.simulator = simulator
        self.provider: Provider = self.adapter(key)
        self._before = self._all()

    def adapter(self, key: str) -> Provider:
        base_url, version = parse_endpoint(self.simulator.url)
        return AzureJobs(ProviderConfig("sora", "videos", "azure-jobs", base_url, version, key, "sora"), utc_now)

    def finish(self, task_id: str, outputs: int | None = None) -> None:
        self.simulator.force(self._own(task_id), "succeeded", generations=outputs)

    def fail(self, task_id: str, code: str) -> None:
        self.simulator.force(self._own(task_id), "failed", failure_reason=MODERATED.get(code, "internal_error"))

    def forget(self, task_id: str) -> None:
        self.simulator.force(self._own(task_id), "deleted")

    def refuse_create(self, code: str) -> None:
        self.simulator.fault("create", REFUSED[code])

    def lose_answer(self) -> None:
        self.simulator.fault("create", "drop_answer")

    def cut(self, after: int) -> None:
        self.simulator.fault("content", "truncate", after=after)

    def drop_thumbnails(self, output: Output) -> None:
        match = {"generation_id": self._own(output.output_id)}
        self.simulator.fault("thumbnail", "not_found", times=None, match=match)

    def accepted(self) -> int:
        return self._all() - self._before

    def _all(self) -> int:
        return int(self.simulator.stats()["creates_accepted"])

    def _own(self, shown_id: str) -> str:
        """The simulator's own id behind one that clients see."""
        return shown_id


class VideosPlace(JobsPlace):
    """The videos dialect as the server of one profile speaks it."""

    request, most_variants = TALL, 1

    def __init__(self, simulator: Simulator, profile: str, cloud: bool = False) -> None:
        simulator.set_profile(profile, cloud)
        simulator.forget()
        self._profile = find_profile(profile, cloud)
        self.ranges, self.lists = self._profile.ranges, not self._profile.list_needs_model
        self.has_thumbnails = self._profile.variants == "names"
        self.fails = frozenset({"moderation_input", "provider_error"})
        # Aquiles-Image answers what it does not like with a bare 500
        self.refuses = frozenset(REFUSED) - ({"invalid_request"} if profile == "aquiles" else set())
        super().__init__(simulator)
        if self._profile.form_only:
            # it takes forms only, which the first create finds out; a fault is to hit the form
            self.provider.submit(replace(TALL, prompt="the first one"))
            self._before = self._all()

    @property
    def others(self) -> list[dict[str, Any]]:
        return [{"prompt": "another"}, {"width": 1280, "height": 720}, {"n_seconds": 8}]

    def adapter(self, key: str) -> Provider:
        base_url, version = parse_endpoint(self.simulator.url, "openai-videos")
        config = ProviderConfig("sora", "videos", "openai-videos", base_url, version, key, "sora-2", auth="bearer")
        return OpenAIVideos(replace(config, thumbnails=self.has_thumbnails), utc_now)

    def _own(self, shown_id: str) -> str:
        return read_id(shown_id, self._profile)
