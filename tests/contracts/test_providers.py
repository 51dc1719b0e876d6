"""The contract of `Provider`, on the fake and on the jobs dialect against the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import pytest

from emulator.sora.simulator import Simulator
from reelkeeper import media
from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Content, Provider, ProviderConfig
from reelkeeper.providers.endpoints import parse_endpoint
from reelkeeper.providers.memory import MemoryProvider, refusal

REQUEST = JobRequest("a lighthouse at dusk", width=480, height=480, n_seconds=1, n_variants=1, model="sora")
API_KEY = "key-of-the-contract"
MEDIA_BYTES = 300_000

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


class Place(Protocol):
    """A provider, and a hand behind its counter."""

    provider: Provider

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


class MemoryPlace:
    def __init__(self) -> None:
        self.provider: Provider
        self.provider = self._memory = MemoryProvider(lambda: datetime.now(timezone.utc))

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


@dataclass
class SimulatedPlace:
    simulator: Simulator

    def __post_init__(self) -> None:
        base_url, version = parse_endpoint(self.simulator.url)
        config = ProviderConfig("sora", "videos", "azure-jobs", base_url, version, API_KEY, "sora")
        self.provider: Provider = AzureJobs(config, lambda: datetime.now(timezone.utc))
        self._before = self._all()

    def finish(self, task_id: str, outputs: int | None = None) -> None:
        self.simulator.force(task_id, "succeeded", generations=outputs)

    def fail(self, task_id: str, code: str) -> None:
        self.simulator.force(task_id, "failed", failure_reason=MODERATED.get(code, "internal_error"))

    def forget(self, task_id: str) -> None:
        self.simulator.force(task_id, "deleted")

    def refuse_create(self, code: str) -> None:
        self.simulator.fault("create", REFUSED[code])

    def lose_answer(self) -> None:
        self.simulator.fault("create", "drop_answer")

    def cut(self, after: int) -> None:
        self.simulator.fault("content", "truncate", after=after)

    def drop_thumbnails(self, output: Output) -> None:
        self.simulator.fault("thumbnail", "not_found", times=None, match={"generation_id": output.output_id})

    def accepted(self) -> int:
        return self._all() - self._before

    def _all(self) -> int:
        return int(self.simulator.stats()["creates_accepted"])


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options: dict[str, Any] = {"generation_seconds": 3600, "api_key": API_KEY, "media": "tiny"}
    with Simulator(tmp_path_factory.mktemp("sora"), media_bytes=MEDIA_BYTES, **options) as running:
        yield running


@pytest.fixture(params=["memory", "azure-jobs"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "memory":
        yield MemoryPlace()
        return
    simulator: Simulator = request.getfixturevalue("simulator")
    yield SimulatedPlace(simulator)
    simulator.clear_faults()


def finished(place: Place, variants: int = 1) -> tuple[Output, ...]:
    """The outputs of a task that succeeded."""
    task = place.provider.submit(replace(REQUEST, n_variants=variants))
    place.finish(task.task_id)
    return place.provider.look(task.task_id).outputs


def read(content: Content | None) -> bytes:
    assert content is not None
    with content:
        return b"".join(content.chunks())


def refused(call: Callable[..., Any], *args: Any) -> ProviderError:
    """What the call raises; its fault must be fit for a person."""
    with pytest.raises(ProviderError) as caught:
        call(*args)
    fault = caught.value.fault
    assert fault.code in ADVICE
    assert fault.message.endswith(".")
    assert "{" not in fault.message
    return caught.value


def test_a_provider_says_who_it_is(place: Place) -> None:
    """Name, kind, model and place are there, and the place is the same for every instance of the same settings."""
    provider = place.provider
    assert (provider.name, provider.kind, provider.model) == ("sora", "videos", "sora")
    assert provider.place
    assert API_KEY not in provider.place
    assert provider.abilities.refusals(REQUEST) == ()


def test_a_submitted_task_is_alive_and_has_no_outputs(place: Place) -> None:
    """Submit answers with the task: an id of its own, a state before the end, a day to live unless nobody says."""
    before = datetime.now(timezone.utc)
    tasks = [place.provider.submit(REQUEST) for _ in range(2)]
    assert len({task.task_id for task in tasks}) == 2
    for task in tasks:
        assert task.state in ("queued", "running")
        assert (task.outputs, task.fault) == ((), None)
        assert abs(task.created_at - before) < timedelta(minutes=1)
        assert task.expires_at in (None, task.created_at + timedelta(hours=24))
    assert place.accepted() == 2


def test_a_look_finds_the_task_again(place: Place) -> None:
    """The id is enough to find a running task, as often as one likes."""
    task = place.provider.submit(REQUEST)
    for _ in range(2):
        seen = place.provider.look(task.task_id)
        assert (seen.task_id, seen.outputs, seen.fault) == (task.task_id, (), None)
        assert seen.state in ("queued", "running")
    assert place.accepted() == 1


@pytest.mark.parametrize("variants", [1, 3])
def test_a_finished_task_has_its_outputs(place: Place, variants: int) -> None:
    """One output for each variant, each with an id, a size and a length."""
    task = place.provider.submit(replace(REQUEST, n_variants=variants))
    place.finish(task.task_id)
    seen = place.provider.look(task.task_id)
    assert (seen.state, seen.fault) == ("succeeded", None)
    assert len({output.output_id for output in seen.outputs}) == variants
    assert {(output.width, output.height, output.n_seconds) for output in seen.outputs} == {(480, 480, 1)}
    assert seen.expires_at is not None
    assert seen.expires_at > datetime.now(timezone.utc) + timedelta(hours=23)


@pytest.mark.parametrize("made", [0, 2])
def test_fewer_outputs_than_asked_for_is_still_a_success(place: Place, made: int) -> None:
    """The provider decides how many variants succeed, down to none."""
    task = place.provider.submit(replace(REQUEST, n_variants=3))
    place.finish(task.task_id, outputs=made)
    seen = place.provider.look(task.task_id)
    assert (seen.state, len(seen.outputs)) == ("succeeded", made)


@pytest.mark.parametrize("code", ["moderation_input", "moderation_output", "provider_error"])
def test_a_failed_task_says_why(place: Place, code: str) -> None:
    """Refused content and a broken service are told apart, with words for a person."""
    task = place.provider.submit(REQUEST)
    place.fail(task.task_id, code)
    seen: Task = place.provider.look(task.task_id)
    assert (seen.state, seen.outputs) == ("failed", ())
    assert seen.fault is not None
    assert seen.fault.code == code
    assert seen.fault.message.startswith(ADVICE[code])
    assert seen.fault.provider_message


def test_a_file_is_read_whole(place: Place) -> None:
    """The stream tells its length and type, begins at 0, and is an MP4."""
    (output,) = finished(place)
    with place.provider.open_output(output) as content:
        assert (content.offset, content.media_type) == (0, "video/mp4")
        assert content.validator
        data = b"".join(content.chunks())
        assert content.total == len(data)
    assert media.refusal("video/mp4", data[: media.SNIFF_BYTES], "video/mp4") is None


def test_siblings_have_files_of_their_own(place: Place) -> None:
    """No output is handed out in place of another."""
    first, second = finished(place, variants=2)
    files = [read(place.provider.open_output(output)) for output in (first, second, first)]
    assert files[0] == files[2] != files[1]


@pytest.mark.parametrize("offset", [1, 4096, -1])
def test_a_file_is_read_from_the_middle(place: Place, offset: int) -> None:
    """From any byte on the rest follows, under the same validator and the whole file's length."""
    (output,) = finished(place)
    with place.provider.open_output(output) as content:
        whole, validator = b"".join(content.chunks()), content.validator
    offset %= len(whole)
    with place.provider.open_output(output, offset) as content:
        assert (content.offset, content.total, content.validator) == (offset, len(whole), validator)
        assert b"".join(content.chunks()) == whole[offset:]


@pytest.mark.parametrize("behind", [0, 1000])
def test_there_is_nothing_behind_the_end(place: Place, behind: int) -> None:
    """An offset that no byte has is refused as such, so that the caller can step back."""
    (output,) = finished(place)
    size = len(read(place.provider.open_output(output)))
    error = refused(place.provider.open_output, output, size + behind)
    assert (error.fault.code, error.fault.provider_status) == ("content_invalid", 416)


def test_a_cut_transfer_goes_on_where_it_broke(place: Place) -> None:
    """What arrived before the cut is good, the cut is an error, and the rest completes the file."""
    (output,) = finished(place)
    whole = read(place.provider.open_output(output))
    place.cut(after=10_000)
    got = bytearray()

    def take() -> None:
        with place.provider.open_output(output) as content:
            for chunk in content.chunks():
                got.extend(chunk)

    assert refused(take).fault.code == "provider_error"
    assert len(got) <= 10_000
    assert got + read(place.provider.open_output(output, len(got))) == whole


def test_leaving_a_stream_early_is_no_error(place: Place) -> None:
    """Closing behind the first piece, or before it, leaves the provider usable."""
    (output,) = finished(place)
    with place.provider.open_output(output) as content:
        next(content.chunks())
    with place.provider.open_output(output):
        pass
    assert read(place.provider.open_output(output))


def test_content_of_an_unknown_or_unfinished_output_is_not_ready(place: Place) -> None:
    """404 on content may heal: it is told as "not yet", and there is no preview picture of it either."""
    place.provider.submit(REQUEST)
    output = Output("gen_nobody", 480, 480, 1)
    assert refused(place.provider.open_output, output).fault.code == "content_not_ready"
    assert place.provider.open_thumbnail(output) is None


def test_a_thumbnail_is_a_picture_or_none(place: Place) -> None:
    """The preview is a JPEG; that there is none is an answer."""
    first, second = finished(place, variants=2)
    place.drop_thumbnails(second)
    picture = read(place.provider.open_thumbnail(first))
    assert media.refusal("image/jpeg", picture[: media.SNIFF_BYTES], "image/jpeg") is None
    assert place.provider.open_thumbnail(second) is None


def test_an_unknown_task_is_lost(place: Place) -> None:
    """An id that was never given, and one that was forgotten, get the same answer; others are not affected."""
    kept, lost = place.provider.submit(REQUEST), place.provider.submit(REQUEST)
    place.forget(lost.task_id)
    for task_id in ("task_never_made", lost.task_id):
        error = refused(place.provider.look, task_id)
        assert (error.fault.code, error.outcome_unknown) == ("task_lost", False)
    assert place.provider.look(kept.task_id).task_id == kept.task_id


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_create_made_nothing_and_says_so(place: Place, code: str) -> None:
    """A refusal has its code and a known outcome: nothing was paid; the next create works."""
    place.refuse_create(code)
    error = refused(place.provider.submit, REQUEST)
    assert (error.fault.code, error.outcome_unknown) == (code, False)
    assert error.retry_after == (5 if code == "rate_limited" else None)
    assert error.fault.request_id
    assert place.accepted() == 0
    assert place.provider.submit(REQUEST).task_id
    assert place.accepted() == 1


def test_a_create_whose_answer_is_lost_says_that_its_outcome_is_unknown(place: Place) -> None:
    """The task exists and may be paid for: nobody is told that the create failed, and a search finds it."""
    request = replace(REQUEST, prompt="the answer that was lost")
    since = datetime.now(timezone.utc) - timedelta(minutes=2)
    place.lose_answer()
    error = refused(place.provider.submit, request)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", True)
    assert place.accepted() == 1
    (found,) = place.provider.find(request, since)
    assert place.provider.look(found.task_id).task_id == found.task_id
    known = place.provider.submit(request)
    assert place.accepted() == 2
    assert {task.task_id for task in place.provider.find(request, since)} == {found.task_id, known.task_id}


def test_a_search_finds_what_the_request_can_have_made_and_nothing_else(place: Place) -> None:
    """Prompt, size, length, variants and time must fit; our own metadata is unknown there; finished ones count too."""
    request = replace(REQUEST, prompt="the one that is sought")
    since = datetime.now(timezone.utc) - timedelta(minutes=2)
    wanted = [place.provider.submit(replace(request, metadata={"number": str(number)})) for number in range(2)]
    place.finish(wanted[0].task_id)
    others: list[dict[str, Any]] = [{"prompt": "another"}, {"width": 854}, {"n_seconds": 2}, {"n_variants": 2}]
    for change in others:
        place.provider.submit(replace(request, **change))
    found = place.provider.find(request, since)
    assert {task.task_id for task in found} == {task.task_id for task in wanted}
    assert sorted(task.state == "succeeded" for task in found) == [False, True]
    assert place.provider.find(request, datetime.now(timezone.utc) + timedelta(minutes=2)) == []
    assert place.provider.find(replace(request, prompt="never sent"), since) == []


def test_only_the_configured_key_opens_the_door(simulator: Simulator, tmp_path: Path) -> None:
    """With another key every call is refused as such, naming the setting and not the key."""
    base_url, version = parse_endpoint(simulator.url)
    config = ProviderConfig("sora", "videos", "azure-jobs", base_url, version, "another-key", "sora")
    stranger = AzureJobs(config, lambda: datetime.now(timezone.utc))
    output = Output("gen_1", 480, 480, 1)
    for call, argument in (
        (stranger.submit, REQUEST),
        (stranger.look, "task_1"),
        (stranger.open_output, output),
        (stranger.open_thumbnail, output),
    ):
        fault = refused(call, argument).fault
        assert (fault.code, fault.provider_status) == ("invalid_credentials", 401)
        assert "AZURE_API_KEY" in fault.message
        assert "another-key" not in str(fault)
