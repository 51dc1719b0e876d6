"""The contract of `Provider` for images: on the fake, and on the images dialect as the simulator's servers speak it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from places import API_KEY, REFUSED

from emulator.sora.simulator import Simulator
from reelkeeper import media
from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import JobRequest, Output, Staged, Task
from reelkeeper.providers.base import Provider, ProviderConfig
from reelkeeper.providers.endpoints import parse_endpoint
from reelkeeper.providers.memory import MemoryImages, refusal
from reelkeeper.providers.openai_images import OpenAIImages

REQUEST = JobRequest("a lighthouse", width=1024, height=1024, n_seconds=0, n_variants=1, model="gpt-image-1.5")
SERVERS = ["azure", "openai", "vllm-omni", "sglang", "litellm", "aquiles"]


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Desk:
    """Takes what comes with an answer. `files`: the bytes by index; `addresses` likewise."""

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}
        self.addresses: dict[int, str] = {}

    def receive(self, index: int, what: bytes | str) -> Output:
        if isinstance(what, str):
            self.addresses[index] = what
            return Output(f"image_{index}", 0, 0, 0, address=what)
        media_type = media.sniff(what)
        if media_type is None:
            raise ValueError("no picture")
        self.files[index] = what
        return Output(f"image_{index}", 0, 0, 0, staged=Staged("run", 1, len(what), media_type))


class MemoryPlace:
    refuses = frozenset(REFUSED)

    def __init__(self) -> None:
        self.memory = MemoryImages(utc_now)

    def provider(self, **config: Any) -> Provider:
        self.memory.resubmits = config.get("resubmit_unknown", False)
        return self.memory

    def refuse_create(self, code: str) -> None:
        self.memory.planned["submit"] = [refusal(code, retry_after=5 if code == "rate_limited" else None)]

    def lose_answer(self) -> None:
        self.memory.lose_after = 0

    def accepted(self) -> int:
        return len(self.memory.submitted)


class ServerPlace:
    """The images dialect of one of the simulator's profiles."""

    def __init__(self, simulator: Simulator, profile: str) -> None:
        self.simulator = simulator
        simulator.set_profile(profile)
        self.refuses = frozenset(REFUSED) - ({"invalid_request"} if profile == "aquiles" else set())
        self._before = self._all()

    def provider(self, **config: Any) -> Provider:
        base_url, version = parse_endpoint(self.simulator.url, "openai-images")
        given = ProviderConfig("image", "images", "openai-images", base_url, version, API_KEY, REQUEST.model)
        return OpenAIImages(replace(given, auth="bearer", **config), utc_now)

    def refuse_create(self, code: str) -> None:
        self.simulator.fault("create", REFUSED[code])

    def lose_answer(self) -> None:
        self.simulator.fault("create", "drop_answer")

    def accepted(self) -> int:
        return self._all() - self._before

    def _all(self) -> int:
        return int(self.simulator.stats()["creates_accepted"])


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("sora")
    with Simulator(folder, image_seconds=0.0, api_key=API_KEY, media="tiny") as running:
        yield running


@pytest.fixture(params=["memory", *SERVERS])
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryPlace()
        return
    simulator: Simulator = request.getfixturevalue("simulator")
    yield ServerPlace(simulator, request.param)
    simulator.clear_faults()


def make(place: Any, desk: Desk | None = None, **changes: Any) -> Task:
    task: Task = place.provider().submit(replace(REQUEST, **changes), (desk or Desk()).receive)
    return task


def bytes_of(place: Any, desk: Desk, output: Output, index: int) -> bytes:
    """The output's file, from the desk or from where its address leads."""
    if output.staged:
        return desk.files[index]
    with place.provider().open_output(output) as content:
        return b"".join(content.chunks())


def refused(place: Any, desk: Desk | None = None, **changes: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        make(place, desk, **changes)
    assert caught.value.fault.code in ADVICE
    assert API_KEY not in f"{caught.value} {caught.value.fault}"
    return caught.value


@pytest.mark.parametrize("count", [1, 3])
def test_the_answer_of_a_create_holds_every_picture(place: Any, count: int) -> None:
    """The task has succeeded when it is known, each output is received in order, and its file is a picture."""
    desk, before = Desk(), utc_now()
    task = make(place, desk, n_variants=count)
    assert (task.task_id, task.state, len(task.outputs), place.accepted()) == ("", "succeeded", count, 1)
    assert before - timedelta(seconds=1) <= task.created_at <= utc_now()
    files = [bytes_of(place, desk, output, index) for index, output in enumerate(task.outputs)]
    assert [media.sniff(file) for file in files] == ["image/png"] * count
    assert len(set(files)) == count
    by_address = any(output.address for output in task.outputs)
    assert (task.expires_at is not None) is by_address


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_create_made_nothing(place: Any, code: str) -> None:
    """Its code tells why, and that nothing was paid for is certain."""
    if code not in place.refuses:
        pytest.skip("this server answers a wrong field by a bare 500")
    place.refuse_create(code)
    error = refused(place)
    wanted = {code, "rate_limited"} if code == "too_many_running" else {code}
    assert error.fault.code in wanted
    assert (error.outcome_unknown, place.accepted()) == (False, 0)
    assert error.retry_after == (5 if code == "rate_limited" else None)


def test_a_lost_answer_is_told_from_a_refusal(place: Any) -> None:
    """The pictures are made and paid for, and nobody knows."""
    place.lose_answer()
    assert refused(place).outcome_unknown
    assert place.accepted() == 1


def test_there_is_no_list_to_look_into(place: Any) -> None:
    """A search is refused, unless the operator wants lost creates made again: then it finds nothing."""
    provider = place.provider()
    assert not provider.lists
    with pytest.raises(ProviderError) as caught:
        provider.find(REQUEST, utc_now())
    assert caught.value.fault.code == "invalid_request"
    assert place.provider(resubmit_unknown=True).find(REQUEST, utc_now()) == []


def test_nothing_is_left_to_look_at(place: Any) -> None:
    """No task can be watched, no preview be had, and an output without an address is nowhere but here."""
    provider = place.provider()
    provider.cancel("image_1")
    with pytest.raises(ProviderError) as caught:
        provider.look("image_1")
    assert caught.value.fault.code == "task_lost"
    output = Output("image_1_0", 1024, 1024, 0)
    assert provider.open_thumbnail(output) is None
    with pytest.raises(ProviderError) as caught:
        provider.open_output(output)
    assert caught.value.fault.code == "content_expired"
