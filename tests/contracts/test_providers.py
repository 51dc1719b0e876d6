"""The contract of `Provider`: on the fake, on the jobs dialect, and on the videos dialect as six servers speak it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from places import API_KEY, REFUSED, JobsPlace, MemoryPlace, Place, VideosPlace

from emulator.sora.simulator import Simulator
from reelkeeper import media
from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import Output, Task
from reelkeeper.providers.base import Content

MEDIA_BYTES = 300_000
PLACES = [
    "memory", "azure-jobs", "videos azure", "videos openai", "videos vllm-omni", "videos sglang", "videos sglang cloud",
    "videos litellm", "videos aquiles",
]  # fmt: skip


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options: dict[str, Any] = {"generation_seconds": 3600, "api_key": API_KEY, "media": "tiny"}
    with Simulator(tmp_path_factory.mktemp("sora"), media_bytes=MEDIA_BYTES, **options) as running:
        yield running


def code_of(call: Callable[..., Any], *args: Any) -> str | None:
    """The code of its refusal; None when it answers."""
    try:
        call(*args)
    except ProviderError as error:
        return error.fault.code
    return None


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    name, *profile = request.param.split()
    if name == "memory":
        yield MemoryPlace()
        return
    simulator: Simulator = request.getfixturevalue("simulator")
    yield VideosPlace(simulator, profile[0], "cloud" in profile) if profile else JobsPlace(simulator)
    simulator.clear_faults()


def finished(place: Place, outputs: int = 1) -> tuple[Output, ...]:
    """Outputs of tasks that succeeded, of as few tasks as possible."""
    made: list[Output] = []
    while len(made) < outputs:
        task = place.provider.submit(replace(place.request, n_variants=min(outputs, place.most_variants)))
        place.finish(task.task_id)
        made += place.provider.look(task.task_id).outputs
    return tuple(made)


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
    assert (provider.name, provider.kind, provider.model) == ("sora", "videos", place.request.model)
    assert provider.place
    assert provider.dialect
    assert provider.host
    assert not provider.terms.retired(datetime.now(timezone.utc))
    assert API_KEY not in provider.place
    assert provider.abilities.refusals(place.request) == ()


def test_a_submitted_task_is_alive_and_has_no_outputs(place: Place) -> None:
    """Submit answers with the task: an id of its own, a state before the end, a day to live unless nobody says."""
    before = datetime.now(timezone.utc)
    tasks = [place.provider.submit(place.request) for _ in range(2)]
    assert len({task.task_id for task in tasks}) == 2
    for task in tasks:
        assert task.state in ("queued", "running")
        assert (task.outputs, task.fault) == ((), None)
        assert abs(task.created_at - before) < timedelta(minutes=1)
        assert task.expires_at in (None, task.created_at + timedelta(hours=24))
    assert place.accepted() == 2


def test_a_look_finds_the_task_again(place: Place) -> None:
    """The id is enough to find a running task, as often as one likes."""
    task = place.provider.submit(place.request)
    for _ in range(2):
        seen = place.provider.look(task.task_id)
        assert (seen.task_id, seen.outputs, seen.fault) == (task.task_id, (), None)
        assert seen.state in ("queued", "running")
    assert place.accepted() == 1


@pytest.mark.parametrize("variants", [1, 3])
def test_a_finished_task_has_its_outputs(place: Place, variants: int) -> None:
    """One output for each variant, each with an id, a size and a length; the end is not in the past."""
    asked = replace(place.request, n_variants=min(variants, place.most_variants))
    task = place.provider.submit(asked)
    place.finish(task.task_id)
    seen = place.provider.look(task.task_id)
    assert (seen.state, seen.fault) == ("succeeded", None)
    assert len({output.output_id for output in seen.outputs}) == asked.n_variants
    sizes = {(output.width, output.height, output.n_seconds) for output in seen.outputs}
    assert sizes == {(asked.width, asked.height, asked.n_seconds)}
    assert seen.expires_at is None or seen.expires_at > datetime.now(timezone.utc) + timedelta(minutes=59)


@pytest.mark.parametrize("made", [0, 2])
@pytest.mark.parametrize("place", ["memory", "azure-jobs"], indirect=True)
def test_fewer_outputs_than_asked_for_is_still_a_success(place: Place, made: int) -> None:
    """The provider decides how many variants succeed, down to none."""
    task = place.provider.submit(replace(place.request, n_variants=3))
    place.finish(task.task_id, outputs=made)
    seen = place.provider.look(task.task_id)
    assert (seen.state, len(seen.outputs)) == ("succeeded", made)


def test_a_failed_task_says_why(place: Place) -> None:
    """Refused content and a broken service are told apart, with words for a person."""
    for code in sorted(place.fails):
        task = place.provider.submit(place.request)
        place.fail(task.task_id, code)
        seen: Task = place.provider.look(task.task_id)
        assert (seen.task_id, seen.state, seen.outputs) == (task.task_id, "failed", ())
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
    first, second = finished(place, outputs=2)
    files = [read(place.provider.open_output(output)) for output in (first, second, first)]
    assert files[0] == files[2] != files[1]


@pytest.mark.parametrize("offset", [1, 4096, -1])
def test_a_file_is_read_from_the_middle(place: Place, offset: int) -> None:
    """From any byte on the rest follows, or all of it, under the same validator and the whole file's length."""
    (output,) = finished(place)
    with place.provider.open_output(output) as content:
        whole, validator = b"".join(content.chunks()), content.validator
    offset %= len(whole)
    with place.provider.open_output(output, offset) as content:
        assert content.offset == (offset if place.ranges else 0)
        assert (content.total, content.validator) == (len(whole), validator)
        assert b"".join(content.chunks()) == whole[content.offset :]


@pytest.mark.parametrize("behind", [0, 1000])
@pytest.mark.parametrize("place", [place for place in PLACES if place != "videos litellm"], indirect=True)
def test_there_is_nothing_behind_the_end(place: Place, behind: int) -> None:
    """An offset that no byte has is refused as such, so that the caller can step back."""
    (output,) = finished(place)
    size = len(read(place.provider.open_output(output)))
    error = refused(place.provider.open_output, output, size + behind)
    assert (error.fault.code, error.fault.provider_status) == ("content_invalid", 416)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "videos sglang cloud"], indirect=True)
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
    with place.provider.open_output(output, len(got)) as content:
        assert bytes(got[: content.offset]) + b"".join(content.chunks()) == whole


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
    place.provider.submit(place.request)
    output = Output("gen_nobody", 480, 480, 1)
    assert refused(place.provider.open_output, output).fault.code == "content_not_ready"
    assert place.provider.open_thumbnail(output) is None


def test_a_thumbnail_is_a_picture_or_none(place: Place) -> None:
    """The preview is a picture; that there is none is an answer."""
    first, second = finished(place, outputs=2)
    place.drop_thumbnails(second)
    if picture := place.provider.open_thumbnail(first):
        data = read(picture)
        assert media.sniff(data[: media.SNIFF_BYTES]) in ("image/jpeg", "image/webp")
    assert (picture is not None) == place.has_thumbnails
    assert place.provider.open_thumbnail(second) is None


def test_an_unknown_task_is_lost(place: Place) -> None:
    """An id that was never given, and one that was forgotten, get the same answer; others are not affected."""
    kept, lost = place.provider.submit(place.request), place.provider.submit(place.request)
    place.forget(lost.task_id)
    for task_id in ("task_never_made", lost.task_id):
        error = refused(place.provider.look, task_id)
        assert (error.fault.code, error.outcome_unknown) == ("task_lost", False)
    assert place.provider.look(kept.task_id).task_id == kept.task_id


def test_a_cancelled_task_is_gone_or_goes_on(place: Place) -> None:
    """Finished ones are deleted everywhere. One that runs is stopped, or the server says that it cannot be, yet."""
    (output,) = finished(place)
    done, running = place.provider.submit(place.request), place.provider.submit(place.request)
    place.finish(done.task_id)
    place.provider.cancel(done.task_id)
    assert refused(place.provider.look, done.task_id).fault.code == "task_lost"
    place.provider.cancel(done.task_id)  # again is as good
    place.provider.cancel("task_never_made")
    told, found = (code_of(call, running.task_id) for call in (place.provider.cancel, place.provider.look))
    assert (told, found) in ((None, "task_lost"), ("provider_error", None), ("invalid_request", None))
    assert read(place.provider.open_output(output))


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_create_made_nothing_and_says_so(place: Place, code: str) -> None:
    """A refusal has its code and a known outcome: nothing was paid; the next create works."""
    if code not in place.refuses:
        assert code == "invalid_request"  # a server that answers this with 500 cannot be understood
        return
    place.refuse_create(code)
    error = refused(place.provider.submit, place.request)
    assert (error.fault.code, error.outcome_unknown) == (code, False)
    assert error.retry_after == (5 if code == "rate_limited" else None)
    assert error.fault.request_id
    assert place.accepted() == 0
    assert place.provider.submit(place.request).task_id
    assert place.accepted() == 1


def test_a_create_whose_answer_is_lost_says_that_its_outcome_is_unknown(place: Place) -> None:
    """The task exists and may be paid for: nobody is told that the create failed, and a search finds it."""
    request = replace(place.request, prompt="the answer that was lost")
    since = datetime.now(timezone.utc) - timedelta(minutes=2)
    place.lose_answer()
    error = refused(place.provider.submit, request)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", True)
    assert place.accepted() == 1
    if not place.lists:
        # neither an outage nor a refused key: nobody takes this for "there is none", or asks for ever
        assert refused(place.provider.find, request, since).fault.code == "invalid_request"
        return
    (found,) = place.provider.find(request, since)
    assert place.provider.look(found.task_id).task_id == found.task_id
    known = place.provider.submit(request)
    assert place.accepted() == 2
    assert {task.task_id for task in place.provider.find(request, since)} == {found.task_id, known.task_id}


@pytest.mark.parametrize("place", [place for place in PLACES if place != "videos litellm"], indirect=True)
def test_a_search_finds_what_the_request_can_have_made_and_nothing_else(place: Place) -> None:
    """Prompt, size, length, variants and time must fit; our own metadata is unknown there; finished ones count too."""
    request = replace(place.request, prompt="the one that is sought")
    since = datetime.now(timezone.utc) - timedelta(minutes=2)
    wanted = [place.provider.submit(replace(request, metadata={"number": str(number)})) for number in range(2)]
    place.finish(wanted[0].task_id)
    for change in place.others:
        place.provider.submit(replace(request, **change))
    found = place.provider.find(request, since)
    assert {task.task_id for task in found} == {task.task_id for task in wanted}
    assert sorted(task.state == "succeeded" for task in found) == [False, True]
    assert place.provider.find(request, datetime.now(timezone.utc) + timedelta(minutes=2)) == []
    assert place.provider.find(replace(request, prompt="never sent"), since) == []


@pytest.mark.parametrize("place", [name for name in PLACES if name not in ("memory", "videos aquiles")], indirect=True)
def test_only_the_configured_key_opens_the_door(place: JobsPlace) -> None:
    """With another key every call is refused as such, naming the setting and not the key."""
    stranger = place.adapter("another-key")
    calls: list[tuple[Callable[..., Any], Any]] = [(stranger.submit, place.request), (stranger.look, "task_1")]
    calls.append((stranger.open_output, Output("gen_1", 480, 480, 1)))
    for call, argument in calls:
        fault = refused(call, argument).fault
        assert (fault.code, fault.provider_status) == ("invalid_credentials", 401)
        assert "AZURE_API_KEY" in fault.message
        assert "another-key" not in str(fault)
